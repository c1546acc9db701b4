"""What every act needs at hand, made once per process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from keyturn.aws.api import AwsFactory
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import AwsError, KeyturnError, NeedsInteraction, NotFound, UsageError, WrongMfaCode
from keyturn.model.profile import Credentials, Failure, VaultState
from keyturn.model.redaction import redacted
from keyturn.model.secret import Secret
from keyturn.profiles import inventory
from keyturn.storage.activity import ActivityEntry, ActivityLog
from keyturn.storage.index import Index, IndexFile, ProfileState
from keyturn.storage.paths import Paths
from keyturn.system import files
from keyturn.system.clock import Clock
from keyturn.system.file_fingerprint import CachedDocument
from keyturn.vault.vault import Vault

#: A source may be asked for this long by another process before the wait ends; Go kills a credential_process at 60 s.
SOURCE_LOCK_SECONDS = 45.0
#: Adopt and release of many profiles write several files, each after a stable read.
STATE_LOCK_SECONDS = 30.0

#: A key that is being made has its answer by then, or is asked for no more.
SECRETS_SAVED_SECONDS = 45.0

#: An act by the name it has in the activity log, as a person calls it.
_EVENT_NAMES = {"credential-process": "credentials"}


@dataclass(frozen=True)
class Context:
    """Places, clock, vault, shared files, index, AWS.

    Locks are taken in this order: a source (:meth:`lock`), the acts (:meth:`exclusive`), the vault, a shared file. AWS is
    asked under a source's lock only.
    """

    paths: Paths
    environ: Mapping[str, str]
    clock: Clock
    vault: Vault
    files: SharedFiles
    index: IndexFile
    activity: ActivityLog
    aws: AwsFactory
    program: Callable[[], str]
    """The `keyturn` that a credential_process line shall call, as an absolute path."""
    resolved_provider: Callable[[str], tuple[str, str]]
    """Which of botocore's providers answers for a profile, and the line where it is a process."""
    serves_others: bool = False
    """This process is the agent: its environment is not that of whoever asks."""
    known_sections: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Sections of each shared file when this process last read it, so that the writer knows a truncated file."""

    unsaved_secret_lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while a secret may be in this process's memory alone: the process must not be ended meanwhile."""

    sleep: Callable[[float], None] = time.sleep
    """Waits for so many seconds."""
    documents: dict[str, CachedDocument] = field(default_factory=dict)
    """Documents that this process made, by profile (:mod:`keyturn.operations.credentials.document_cache`)."""

    def read(self) -> inventory.Inventory:
        """Reads everything anew."""
        result = inventory.read(self.paths, self.environ, self.clock())
        for document in (result.shared.config, result.shared.credentials):
            if document is not None:
                self.known_sections[document.path] = tuple(section.name for section in document.sections)
        return result

    def require_open(self) -> None:
        """Makes sure that the vault is there and open in this process.

        :raises NeedsVault: there is none yet.
        :raises NeedsUnlock: it is closed.
        :raises VaultCorrupt: it cannot be read.
        """
        if self.vault.state() is not VaultState.OPEN:
            self.vault.generation()

    def source_lock(self, name: str, seconds: float = SOURCE_LOCK_SECONDS) -> AbstractContextManager[None]:
        """Holds one source for as long as AWS is asked for it, in all processes of this person."""
        path = self.paths.locks_dir / name
        return files.hold_lock(path, what="waiting for another refresh", seconds=max(0.0, seconds))

    def state_lock(self) -> AbstractContextManager[None]:
        """Holds everything that keyturn changes together: definitions, deliveries, adopt, release. Look again at what
        was read before, once it is held. Not reentrant; AWS is not asked under it."""
        path = self.paths.locks_dir / "acts"
        return files.hold_lock(path, what="waiting for another change", seconds=STATE_LOCK_SECONDS)

    def key(self, entry: str) -> Credentials:
        """The long-term key of a vault entry.

        :raises NotFound: the vault holds none by that name.
        """
        record = self.vault.key(key_entry(entry))
        if record is None:
            why = "the vault holds none by that name"
            raise NotFound(
                f"key of {entry}",
                why,
                "profiles.toml asks for it: correct `key` there, or put the vault back that has it",
            )
        return credentials_in(record)

    def update_index(self, edit: Callable[[Index], Index | None]) -> None:
        """Writes into the index where that is possible; what is only noted must not keep anybody from credentials."""
        with contextlib.suppress(OSError, KeyturnError):
            self.index.change(edit)

    def profile_state(self, name: str) -> ProfileState:
        """What the index holds of a profile at this moment."""
        return self.index.load().of(name)

    def log_success(self, profile: str, event: str, result: str) -> None:
        """Writes an act that went well into the activity log."""
        self.activity.add(ActivityEntry(self.clock(), profile, event, result, ok=True))

    def record_failure(self, profile: str, event: str, error: KeyturnError) -> None:
        """Keeps a failure with the profile, and writes it into the activity log unless it is there already."""
        failure = Failure(self.clock(), redacted(error.line()))
        previous = self.profile_state(profile).failure
        self.update_index(lambda index: index.update(profile, failure=failure))
        if previous is None or previous.line != failure.line:
            self.activity.add(ActivityEntry(failure.at, profile, event, failure.line, ok=False))

    @contextmanager
    def log_failure(self, profile: str, event: str) -> Iterator[None]:
        """Records a failure of the act inside, and lets it go on up. What only waits for a person is no failure, and
        neither is an order in words that mean nothing."""
        try:
            yield
        except KeyturnError as error:
            if isinstance(error, AwsError) and not error.what.endswith(f" of {profile}"):
                error.what = f"{_EVENT_NAMES.get(event, event)} of {profile}: {error.what}"
            if isinstance(error, (NeedsInteraction, WrongMfaCode, NotFound)):
                raise
            if isinstance(error, UsageError) and event != "refresh":
                raise
            self.record_failure(profile, event, error)
            raise

    def clear_failure(self, profile: str, *events: str) -> None:
        """Forgets the failure of a profile if it was of one of these acts, which has gone well by now."""
        failure = self.profile_state(profile).failure
        if failure is not None and any(f"{event} of {profile}" in failure.line for event in events):
            self.update_index(lambda index: index.update(profile, failure=None))

    def wait_until_secrets_saved(self) -> None:
        """Waits until no secret is in this process's memory alone, for as long as AWS may take at most."""
        if self.unsaved_secret_lock.acquire(timeout=SECRETS_SAVED_SECONDS):
            self.unsaved_secret_lock.release()

    @staticmethod
    def run_in_background(task: Callable[[], None], wait: float) -> None:
        """Does `act` in a thread of its own and waits for it for `wait` seconds at most."""
        thread = threading.Thread(target=task, daemon=True)
        thread.start()
        if wait:
            thread.join(wait)


def credentials_in(entry: Mapping[str, Any]) -> Credentials:
    """The long-term key of a vault entry."""
    return Credentials(entry["key_id"], Secret(entry["secret"]))


def key_entry(name: str) -> str:
    """The vault's name of a long-term key."""
    return f"key/{name}"


def removed_entry(name: str) -> str:
    """The vault's name of what adopt took out for a profile."""
    return f"taken/{name}"
