"""A user with one adopted key, and an AWS in the same process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from keyturn.aws.api import AwsFactory
from keyturn.aws.client import BotoClientFactory
from keyturn.model.errors import VaultError
from keyturn.model.profile import Credentials, Key, Kind
from keyturn.model.secret import Secret
from keyturn.operations.context import key_entry
from keyturn.operations.rotation import journal
from keyturn.operations.rotation.record_store import records
from keyturn.service import CredentialService
from keyturn.storage import managed_profiles
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.vault import files, passphrase
from keyturn_sandbox.id_generator import IdGenerator
from keyturn_sandbox.policy.principals import User
from keyturn_sandbox.state import SandboxState
from tests.core.operations.rotation.direct_iam import Crash, FaultyAws
from tests.core.vault import weak_age

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROFILE = "ci-deploy"


@dataclass
class SharedClock:
    """The single clock of this machine and of AWS."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Home:
    """A service whose process can be killed and started again."""

    folder: Path
    time: SharedClock = field(default_factory=SharedClock)
    on_write: Callable[[str], str] = lambda _name: ""
    """Called before each write of the journal; returns `crash-before`, `crash-after`, `refuse`, `refuse-all`,
    or nothing."""

    def __post_init__(self) -> None:
        self.state = SandboxState(self.time, IdGenerator(fixed=False))
        self.user: User = self.state.add_user("444455556666", PROFILE, age=timedelta(days=94))
        first = self.state.add_key(self.user, age=timedelta(days=94))
        self.line = FaultyAws(self.state)
        self._create_user(Credentials(first.key_id, first.secret))

    def _create_user(self, first: Credentials) -> None:
        self._environ = {
            "HOME": str(self.folder),
            "KEYTURN_HOME": str(self.folder / "keyturn"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
        }
        (self.folder / "run").mkdir(mode=0o700)
        with mock.patch.object(passphrase, "seal", weak_age.seal):
            self.service = self._new_service()
            self.recovery_key = self.service.create_vault("passphrase", Secret("three small words"))
        self.service.paths.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pair = {"key_id": first.access_key_id, "secret": first.secret_access_key.reveal()}
        generation = self.service.context.vault.change_keys(
            lambda entries: entries.update({key_entry(PROFILE): pair})
        )
        self.line.served.add(first.access_key_id)
        definition = ManagedProfile(PROFILE, Kind.IAM_KEY, key=PROFILE)
        managed_profiles.change(
            self.service.paths.profiles_file, lambda table: table.update({PROFILE: definition})
        )

        def note(index: Index) -> Index:
            index.keys[PROFILE] = Key(first.access_key_id)
            return replace(index, vault_generation=generation)

        self.service.context.index.change(note)

    def _new_service(self) -> CredentialService:
        found = CredentialService.from_environ(self._environ, use_agent=False, aws=self._aws())
        return CredentialService(
            replace(found.context, clock=self.time, sleep=self.time.sleep), use_agent=False
        )

    def _aws(self) -> AwsFactory:
        return self.line

    def restart(self) -> None:
        """Start a new process after this one was killed."""
        self.service = self.other_process()

    def other_process(self) -> CredentialService:
        """Return a second process of the same user, as far as files and locks can show."""
        found = self._new_service()
        found.unlock_here(recovery_key=self.recovery_key)
        return found

    @contextlib.contextmanager
    def run_service(self) -> Iterator[None]:
        """Run the service with a journal whose writes may fail. A crash is followed by a new process."""
        put = files.put

        def faulty(path: Path, content: bytes) -> None:
            order = self.on_write("refuge" if path.name.startswith("rotation-") else "journal")
            if order:
                self.line.lost_replies += self.line.calls[-1][0] == "CreateAccessKey"
            if order == "crash-before":
                raise Crash(path.name)
            if order == "refuse":
                raise VaultError("writing", "No space left on device", "Make room")
            put(path, content)
            if order == "crash-after":
                raise Crash(path.name)

        with mock.patch.object(journal, "put", faulty):
            try:
                yield
            except Crash:
                self.restart()
        self.line.served.add(self.service.context.key(PROFILE).access_key_id)

    def keys_on_disk(self) -> dict[str, Secret]:
        """Return every key whose secret can be read after all memory is lost."""
        fresh = self.other_process()
        found = {}
        for name, entry in fresh.context.vault.keys().items():
            if name.startswith(key_entry("")):
                found[entry["key_id"]] = Secret(entry["secret"])
        for record in records(fresh.context):
            for key in (record.old, record.new) if not record.step.is_last else ():
                if key is not None and key.secret_access_key:
                    found[key.access_key_id] = key.secret_access_key
        return found

    def working_keys(self) -> set[str]:
        """Return the IDs of the keys on disk that AWS accepts, regardless of propagation."""
        on_disk = self.keys_on_disk()
        return {
            key.key_id
            for key in self.user.keys
            if key.status == "Active" and key.key_id in on_disk and on_disk[key.key_id] == key.secret
        }


@dataclass
class RemoteAwsHome(Home):
    """The same user, whose AWS is a server named by `AWS_ENDPOINT_URL`.

    :param first: the key at that AWS.
    """

    first: Credentials = field(default_factory=lambda: Credentials("", Secret("")))

    def _create_user(self, first: Credentials) -> None:
        del first
        super()._create_user(self.first)

    def _aws(self) -> AwsFactory:
        return BotoClientFactory()
