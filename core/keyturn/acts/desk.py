"""What every act needs at hand, made once per process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from keyturn import ownfile, reading
from keyturn.activity import Act, Activity
from keyturn.aws.ports import AwsFactory
from keyturn.awsfiles.store import SharedFiles
from keyturn.clock import Clock
from keyturn.errors import KeyturnError, NeedsPerson, NotFound, WrongMfaCode
from keyturn.index import IndexFile
from keyturn.model import Credentials, Failure, VaultState
from keyturn.places import Places
from keyturn.secret import Secret
from keyturn.vault.vault import Vault

#: A source may be asked for this long by another process before the wait ends; Go kills a credential_process at 60 s.
SOURCE_LOCK_SECONDS = 45.0


@dataclass(frozen=True)
class Desk:
    """Places, clock, vault, shared files, index, AWS."""

    places: Places
    environ: Mapping[str, str]
    clock: Clock
    vault: Vault
    files: SharedFiles
    index: IndexFile
    activity: Activity
    aws: AwsFactory
    program: Callable[[], str]
    """The `keyturn` that a credential_process line shall call, as an absolute path."""

    winner: Callable[[str], tuple[str, str]]
    """Which of botocore's providers answers for a profile, and the line where it is a process."""

    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Sections of each shared file when this process last read it, so that the writer knows a truncated file."""

    def read(self) -> reading.Reading:
        """Reads everything anew."""
        found = reading.read(self.places, self.environ, self.clock())
        for document in (found.shared.config, found.shared.credentials):
            if document is not None:
                self.seen[document.path] = tuple(section.name for section in document.sections)
        return found

    def require_open(self) -> None:
        """Makes sure that the vault is there and open in this process.

        :raises NeedsVault: there is none yet.
        :raises NeedsUnlock: it is closed.
        :raises VaultCorrupt: it cannot be read.
        """
        if self.vault.state() is not VaultState.OPEN:
            self.vault.generation()

    def lock(self, name: str) -> AbstractContextManager[None]:
        return ownfile.locked(
            self.places.locks_dir / name, what="waiting for another refresh", seconds=SOURCE_LOCK_SECONDS
        )

    def key(self, entry: str) -> Credentials:
        """The long-term key of a vault entry.

        :raises NotFound: the vault holds none by that name.
        """
        found = self.vault.key(key_entry(entry))
        if found is None:
            raise NotFound(
                f"key of {entry}",
                "the vault holds none by that name",
                f"Adopt it again: keyturn adopt {entry}",
            )
        return Credentials(found["key_id"], Secret(found["secret"]))

    def plain_key(self, at: reading.Reading, name: str) -> Credentials | None:
        """The static credentials that stand in the shared files for a native profile."""
        found = at.settings(name)
        key_id, secret = found.get("aws_access_key_id"), found.get("aws_secret_access_key")
        if not isinstance(key_id, str) or not isinstance(secret, str):
            return None
        token = found.get("aws_security_token") or found.get("aws_session_token")
        return Credentials(
            key_id, Secret(secret), Secret(token) if isinstance(token, str) and token else None
        )

    def record(self, profile: str, event: str, result: str) -> None:
        self.activity.add(Act(self.clock(), profile, event, result, ok=True))

    @contextmanager
    def recording(self, profile: str, event: str) -> Iterator[None]:
        """Keeps a failure of the act inside with the profile and in the activity log, and lets it go on up."""
        try:
            yield
        except (NeedsPerson, WrongMfaCode):
            raise
        except KeyturnError as error:
            failure = Failure(self.clock(), error.line())
            self.index.change(lambda index: index.update(profile, failure=failure))
            self.activity.add(Act(failure.at, profile, event, failure.line, ok=False))
            raise


def key_entry(name: str) -> str:
    """The vault's name of a long-term key."""
    return f"key/{name}"


def taken_entry(name: str) -> str:
    """The vault's name of what adopt took out for a profile."""
    return f"taken/{name}"
