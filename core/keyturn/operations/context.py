"""Shared dependencies of all operations.

Locks, failure records and index updates that every operation uses are here too.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from keyturn.aws.api import AwsFactory
from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import (
    THEN_RUN,
    AwsError,
    Hint,
    KeyturnError,
    NeedsInteraction,
    NotFound,
    NotWritable,
    Remedy,
    UsageError,
    VaultCorrupt,
    WrongMfaCode,
)
from keyturn.model.profile import Credentials, Failure, Profile, VaultState
from keyturn.model.redaction import redacted
from keyturn.model.secret import Secret
from keyturn.model.steps import UNWATCHED, Steps
from keyturn.model.text import safe
from keyturn.operations.credentials.caller_sessions import CallerSessions
from keyturn.profiles import inventory
from keyturn.providers.registry import require_known_kinds
from keyturn.storage import managed_profiles
from keyturn.storage.activity import ActivityEntry, ActivityLog
from keyturn.storage.index import VERSION as INDEX_VERSION
from keyturn.storage.index import Index, IndexFile, ProfileState
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.storage.paths import Paths
from keyturn.system import files
from keyturn.system.caller_environment import CallerEnvironment, require_known_host
from keyturn.system.clock import Clock
from keyturn.system.file_fingerprint import CachedDocument
from keyturn.vault.vault import Vault

#: Longest wait for another process that calls AWS for the same source. The AWS SDK for Go kills a
#: credential_process after 60 s.
SOURCE_LOCK_SECONDS = 45.0
#: Longest wait for the state lock. Adopt and release of many profiles write several files, each after a
#: stable read.
STATE_LOCK_SECONDS = 30.0
#: The same while other operations take the state lock in turn. It ends before the client of an agent stops
#: waiting (`keyturn.service.OPERATION_SECONDS`).
LONGEST_STATE_LOCK_SECONDS = 90.0

#: Longest wait for a secret to be saved. A CreateAccessKey call has returned or timed out within this time.
SECRETS_SAVED_SECONDS = 45.0

#: Verbs in error lines, for events of the activity log that are not verbs.
_EVENT_VERBS = {"credential-process": "get credentials of", "hand out": "get credentials of"}


@dataclass(frozen=True)
class Context:
    """Paths, clock, vault, shared files, index and AWS client of one process.

    Locks are taken in this order: rotation of a user, source (:meth:`source_lock`), state
    (:meth:`state_lock`), then at most one of `profiles.toml`, vault, index and shared file; history inside
    shared file. AWS is not called under the state lock or one after it.
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
    """Returns the absolute path of the `keyturn` program for `credential_process` lines."""
    resolved_providers: Callable[[Iterable[str]], Iterable[tuple[str, str]]]
    """Returns the botocore provider that resolves each profile, and the command if it is a process."""
    serves_others: bool = False
    """True in the agent, whose environment is not that of its callers."""
    caller: CallerEnvironment | None = None
    """Environment of the process that asks, None if it is this process's own or equals it."""
    runs_own_process: bool = False
    """True if this process runs a native profile's own `credential_process`. The result is not stored."""
    caller_sessions: CallerSessions = field(default_factory=CallerSessions)
    """Sessions of callers with :attr:`foreign_names`."""
    known_sections: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Section names of each shared file when this process last read it. The writer uses them to detect a
    truncated file.
    """

    unsaved_secret_lock: threading.RLock = field(default_factory=threading.RLock)
    """Held during a CreateAccessKey call, until the new key is on disk or the call has timed out. The agent's
    shutdown waits for it (:meth:`wait_until_secrets_saved`), because killing the process would lose the only
    copy of the secret."""

    sleep: Callable[[float], None] = time.sleep
    """Waits for a number of seconds."""
    documents: dict[str, CachedDocument] = field(default_factory=dict)
    """Cached credential documents by profile (:mod:`keyturn.operations.credentials.document_cache`)."""

    first_reading: inventory.Inventory | None = None
    """Inventory that the service read to decide where the operation runs; it begins with it."""

    steps: Steps = UNWATCHED
    """Shows the steps of an operation on many profiles, and can stop it between two of them."""

    def for_caller(self, caller: CallerEnvironment | None) -> Context:
        """Return the context for one request of a process with the environment `caller`."""
        if caller is None or caller == self._start:
            return self
        return replace(self, caller=caller, aws=partial(self.aws, caller=caller))

    @property
    def _start(self) -> CallerEnvironment:
        return CallerEnvironment.of(self.environ)

    @property
    def foreign_names(self) -> tuple[str, ...]:
        """The caller's variables of endpoints and CA bundles that differ from this process's own. What is
        obtained with them is kept in :attr:`caller_sessions` and changes nothing for others.
        """
        return self.caller.foreign_names(self._start) if self.caller is not None else ()

    @property
    def host_fingerprint(self) -> str:
        """See :meth:`CallerEnvironment.host_fingerprint`."""
        return (self.caller or self._start).host_fingerprint()

    def require_known_host(self, what: str, why: str) -> None:
        """See :func:`keyturn.system.caller_environment.require_known_host`."""
        require_known_host(what, self.foreign_names, why)

    def begin(self) -> inventory.Inventory:
        """Return the inventory at the start of an operation. It is read unless the service has read it."""
        return self.first_reading or self.read()

    def read(self, earlier: inventory.Inventory | None = None) -> inventory.Inventory:
        """Read all files and return the inventory. Read again after a lock was taken.

        :param earlier: an earlier reading; shared files with the same content are not parsed again.
        :raises UnsafeFile: if a file of keyturn belongs to another user or can be used by one.
        """
        self.paths.check_private()
        environ = self.environ if self.caller is None else self.caller.over(self.environ)
        result = inventory.read(self.paths, environ, self.clock(), self.index, earlier)
        for document in (result.shared.config, result.shared.credentials):
            if document is not None:
                self.known_sections[document.path] = tuple(section.name for section in document.sections)
        return result

    def require_open(self) -> None:
        """Check that the vault exists and is open in this process.

        :raises NeedsVault: if there is no vault.
        :raises NeedsUnlock: if it is locked.
        :raises VaultCorrupt: if it cannot be read.
        """
        if self.vault.state() is not VaultState.OPEN:
            self.vault.generation()

    def require_open_for(self, row: Profile) -> None:
        """Check that the vault is open, if sessions of a profile are signed or stored by it. Raises as
        :meth:`require_open`.
        """
        if not row.credential_source and not self.runs_own_process:
            self.require_open()

    def source_lock(self, name: str, seconds: float = SOURCE_LOCK_SECONDS) -> AbstractContextManager[None]:
        """Hold the lock of one source across all processes of this user while AWS is called."""
        limit = max(0.0, seconds)
        return self._lock(name, "Could not get the refresh lock", limit, longest=limit)

    def exclusive_lock(self, name: str, seconds: float) -> AbstractContextManager[None]:
        """Hold a lock without which a key could be lost.

        :raises NotWritable: if the state folder is read-only.
        """
        what = "Could not get the rotation lock"
        return files.hold_lock(self.paths.locks_dir / name, what=what, seconds=seconds, longest=seconds)

    def state_lock(self) -> AbstractContextManager[None]:
        """Hold the lock on everything that keyturn changes together: managed profiles, deliveries, adopt,
        release.

        Read state again after the lock is acquired. The lock is not reentrant, and AWS must not be called
        under it.
        """
        return self._lock(
            "acts", "Could not get the state lock", STATE_LOCK_SECONDS, longest=LONGEST_STATE_LOCK_SECONDS
        )

    @contextmanager
    def _lock(self, name: str, what: str, seconds: float, *, longest: float) -> Iterator[None]:
        """Hold a lock in the state folder. If that is read-only, hold it in the folder of the agent's socket;
        if that is too, hold none. Nothing can then be written that the lock protects, because adopt, release,
        deliver and rotate check first that the state folder can be written.
        """
        with contextlib.ExitStack() as stack:
            for folder in (self.paths.locks_dir, self.paths.socket.parent / "locks"):
                try:
                    lock = files.hold_lock(folder / name, what=what, seconds=seconds, longest=longest)
                    stack.enter_context(lock)
                    break
                except NotWritable:
                    continue
            yield

    def managed_profile(self, reading: inventory.Inventory, name: str) -> ManagedProfile:
        """Return the definition of a managed profile.

        :raises NotFound: if the profile does not exist or is not managed by keyturn.
        :raises ChangeRefused: if `profiles.toml` cannot be read.
        """
        reading.require_definitions()
        definition = reading.definitions.get(name)
        if definition is not None:
            return definition
        reading.row(name)
        hint: Hint = ("Adopt it first: ", Remedy("adopt", name))
        if is_keyturn_process_line(str(reading.settings(name).get("credential_process", "")), name):
            hint = ("To restore its settings from the vault, ", THEN_RUN, Remedy("release", name))
            if self.vault.state() is VaultState.ABSENT:
                hint = (
                    "Its vault is on another machine or was lost. Export it there, and here ",
                    THEN_RUN,
                    Remedy("vault import", flag="FILE"),
                )
        raise NotFound(f"{name} is not managed by keyturn", "", hint)

    def key(self, entry: str) -> Credentials:
        """Return the access key of a vault entry.

        :raises NotFound: if the vault has no such entry.
        """
        record = self.vault.key(key_entry(entry))
        if record is None:
            why = "the vault has no such entry"
            raise NotFound(
                f"Access key not found: {entry}",
                why,
                "Correct `key` in profiles.toml, or restore the vault that contains it",
            )
        return credentials_in(entry, record)

    def change_definitions(self, edit: Callable[[dict[str, ManagedProfile]], None]) -> None:
        """Read, edit and write `profiles.toml` under its lock.

        :raises KeyturnError: if it is invalid or names an unknown kind; it is never overwritten then.
        """
        path = self.paths.profiles_file

        def edit_known(definitions: dict[str, ManagedProfile]) -> None:
            require_known_kinds(definitions, str(path))
            edit(definitions)

        managed_profiles.change(path, edit_known)

    def update_index(self, edit: Callable[[Index], Index | None]) -> None:
        """Edit the index and ignore failures, because a missing note must not prevent access to
        credentials.
        """
        with contextlib.suppress(OSError, KeyturnError):
            self.index.change(edit)

    def profile_state(self, name: str) -> ProfileState:
        """Return what the index holds of a profile now."""
        return self.index.load().of(name)

    def log_success(self, profile: str, event: str, result: str) -> None:
        """Add a successful event to the activity log."""
        self.activity.add(ActivityEntry(self.clock(), profile, event, result, ok=True))

    def log_success_of_all(self, profiles: Iterable[str], event: str, result: str) -> None:
        """Add a successful event of several profiles to the activity log."""
        now = self.clock()
        self.activity.add_all([ActivityEntry(now, name, event, result, ok=True) for name in profiles])

    def record_failure(self, profile: str, event: str, error: KeyturnError) -> None:
        """Store a failure with the profile, as :meth:`record_failures` does."""
        self.record_failures(event, {profile: error})

    def record_failures(self, event: str, errors: Mapping[str, KeyturnError]) -> None:
        """Store failures with their profiles, and add them to the activity log unless they repeat the
        previous ones. A failure at an endpoint that only the caller names is not stored, because the profile
        did not fail.
        """
        now = self.clock()
        failures = {name: Failure(now, redacted(error.line()), event) for name, error in errors.items()}
        if not self.foreign_names:
            previous = self.index.load()

            def edit(index: Index) -> None:
                for name, failure in failures.items():
                    index.update(name, failure=failure)

            self.update_index(edit)
            failures = {
                name: failure
                for name, failure in failures.items()
                if not _repeats(previous.of(name).failure, failure)
                and not self._is_last_activity(name, event, failure.line)
            }
        self.activity.add_all(
            [ActivityEntry(now, name, event, failure.line, ok=False) for name, failure in failures.items()]
        )

    def _is_last_activity(self, profile: str, event: str, result: str) -> bool:
        """Return True if the activity log ends with this event, and the index cannot tell, because a later
        version of keyturn wrote it."""
        if self.index.load().version <= INDEX_VERSION:
            return False
        last = next(iter(deque(self.activity.read(), maxlen=1)), None)
        return last is not None and (last.profile, last.event, last.result) == (profile, event, safe(result))

    @contextmanager
    def log_failure(self, profile: str, event: str) -> Iterator[None]:
        """Name the profile in an error that the body raises, record it if it is a failure of the profile,
        and raise it again.
        """
        try:
            yield
        except KeyturnError as error:
            name_profile(error, profile, event)
            if is_failure(error, event):
                self.record_failure(profile, event, error)
            raise

    def clear_failure(self, profile: str, event: str) -> None:
        """Delete the failure of a profile if `event` caused it."""
        failure = self.profile_state(profile).failure
        if failure is not None and failure.event == event:
            self.update_index(lambda index: index.update(profile, failure=None))

    def wait_until_secrets_saved(self) -> None:
        """Wait until :attr:`unsaved_secret_lock` is free, for at most `SECRETS_SAVED_SECONDS`."""
        if self.unsaved_secret_lock.acquire(timeout=SECRETS_SAVED_SECONDS):
            self.unsaved_secret_lock.release()

    @staticmethod
    def run_in_background(task: Callable[[], None], wait: float) -> None:
        """Run `task` in a daemon thread and wait for it for at most `wait` seconds."""
        thread = threading.Thread(target=task, daemon=True)
        thread.start()
        if wait:
            thread.join(wait)


def name_profile(error: KeyturnError, profile: str, event: str) -> None:
    """Put the profile and what was done with it before the text of an error of AWS."""
    if isinstance(error, AwsError) and not error.what.endswith(f" {profile}"):
        error.what = f"Could not {_EVENT_VERBS.get(event, event)} {profile}: {error.what}"


def is_failure(error: KeyturnError, event: str) -> bool:
    """Return True if an error is recorded as a failure of its profile.

    Requests for interaction, unknown names and invalid arguments are not recorded, because the profile did
    not fail. A usage error during a refresh is, because it comes from the profile's settings.
    """
    if isinstance(error, (NeedsInteraction, WrongMfaCode, NotFound)):
        return False
    return not isinstance(error, UsageError) or event == "refresh"


def _repeats(previous: Failure | None, failure: Failure) -> bool:
    return previous is not None and previous.line == failure.line


def credentials_in(name: str, entry: object) -> Credentials:
    """Return the access key that the vault entry `name` holds.

    :raises VaultCorrupt: if it holds none.
    """
    match entry:
        case {"key_id": str(key_id), "secret": str(secret)}:
            return Credentials(key_id, Secret(secret))
    raise invalid_entry(name)


def invalid_entry(name: str) -> VaultCorrupt:
    """Return the error for a vault entry with a value that is missing or of another type."""
    why = "a value is missing or of another type"
    return VaultCorrupt(f"Vault entry {name} is invalid", why, Remedy("vault status"))


def key_entry(name: str) -> str:
    """Return the name of a vault entry that holds an access key."""
    return f"key/{name}"


def removed_entry(name: str) -> str:
    """Return the name of a vault entry that holds what adopt removed from the shared files."""
    return f"taken/{name}"
