"""Refresh of many profiles: files and vault are read once, AWS is called for eight profiles at a time, and
new sessions are stored and delivered together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from keyturn.agent.protocol import error_from_json, error_to_json
from keyturn.model.errors import KeyturnError
from keyturn.model.json_codec import from_table, to_table
from keyturn.model.profile import Credentials, Delivery, Refreshed
from keyturn.model.steps import Step
from keyturn.operations import deliver, key_metadata, write_check
from keyturn.operations.context import Context, credentials_in, is_failure, key_entry, name_profile
from keyturn.operations.credentials import refresh, session_cache
from keyturn.operations.operation import operation
from keyturn.profiles.inventory import Inventory
from keyturn.providers.base import FetchedSession
from keyturn.providers.refresher import Refresher
from keyturn.storage.activity import ActivityEntry
from keyturn.storage.index import Index

#: Profiles for which AWS is called at the same time.
CALLS_AT_ONCE = 8
#: Seconds between two times at which new sessions are stored and delivered. A crash loses at most those of
#: this time, and they can be requested again.
SAVE_EVERY = 2.0
#: Seconds between two looks if the user stops the operation.
LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class RefreshOutcome:
    """Outcome for one profile: either a session or an error."""

    profile: str
    refreshed: Refreshed | None = None
    error: KeyturnError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as an answer of the agent holds it."""
        return {
            "profile": self.profile,
            "refreshed": to_table(self.refreshed) if self.refreshed is not None else None,
            "error": error_to_json(self.error) if self.error is not None else None,
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RefreshOutcome:
        """Return the outcome that :meth:`to_json` serialized."""
        done, error = table["refreshed"], table["error"]
        return cls(
            table["profile"],
            from_table(Refreshed, done) if done is not None else None,
            error_from_json(error) if error is not None else None,
        )


@operation("refresh-many")
def refresh_many(context: Context, names: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Get new sessions for several profiles and deliver them. No MFA code is used: a profile that needs one
    fails with `NeedsMfa`.

    If it is stopped, calls that have begun are finished, and no other is begun.

    :returns: a :class:`RefreshOutcome` as JSON for each profile that was begun, in the order of `names`.
    :raises NeedsUnlock: if the vault is locked.
    """
    context.require_open()
    inventory = context.read()
    return tuple(outcome.to_json() for outcome in _Batch(context, inventory).run(tuple(dict.fromkeys(names))))


class _Fetched(NamedTuple):
    """A new session of a requested profile, and the seconds that it took."""

    profile: str
    session: FetchedSession
    seconds: float


@dataclass
class _BatchSessionStore:
    """Session cache of one batch. New sessions stay in memory until the batch stores them all."""

    context: Context
    inventory: Inventory
    stored: Mapping[str, dict[str, Any]]
    """The entries of the vault's cache at the start of the batch."""
    new: dict[str, FetchedSession] = field(default_factory=dict)
    unsaved: dict[str, FetchedSession] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """Key ids of the sessions that AWS does not accept any more."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: str) -> FetchedSession | None:
        """See :meth:`keyturn.providers.base.SessionStore.get`."""
        with self.lock:
            if name in self.new:
                return self.new[name]
        fetched = session_cache.decode(self.stored.get(name))
        stopped = self.inventory.index.of(name).stopped
        if fetched is None or session_cache.is_stopped(fetched.obtained, stopped):
            return None
        return None if fetched.issued.credentials.access_key_id in self.refused else fetched

    def put(self, name: str, fetched: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.SessionStore.put`."""
        with self.lock:
            self.new[name] = self.unsaved[name] = fetched

    def drop(self, refused: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.SessionStore.drop`."""
        key_id = refused.issued.credentials.access_key_id
        with self.lock:
            self.refused.add(key_id)
            for table in (self.new, self.unsaved):
                for name in [name for name, kept in table.items() if _has_key_id(kept, key_id)]:
                    del table[name]
        session_cache.VaultSessionStore(self.context, self.inventory).drop(refused)

    def take_unsaved(self) -> dict[str, FetchedSession]:
        """Return the new sessions that were not returned before."""
        with self.lock:
            unsaved, self.unsaved = self.unsaved, {}
        return unsaved


def _has_key_id(fetched: FetchedSession, key_id: str) -> bool:
    return fetched.issued.credentials.access_key_id == key_id


class _Batch:
    """One refresh of many profiles, from one reading of the files and of the vault."""

    def __init__(self, context: Context, inventory: Inventory) -> None:
        self._context = context
        self._inventory = inventory
        self._store = _BatchSessionStore(context, inventory, context.vault.sessions())
        self._refresher = self._refresher_of(inventory)
        self._fetched: dict[str, _Fetched] = {}
        """New sessions of the requested profiles that are not delivered yet."""
        self._outcomes: dict[str, RefreshOutcome] = {}
        self._recorded: set[str] = set()

    def _refresher_of(self, inventory: Inventory) -> Refresher:
        """Return the refresher of an inventory, with the keys that the vault holds now. They are read
        once.
        """
        context = self._context
        entries = context.vault.keys()

        def key(entry: str) -> Credentials:
            record = entries.get(key_entry(entry))
            return credentials_in(entry, record) if record is not None else context.key(entry)

        sources = replace(session_cache.sources(context, inventory), key=key)
        return Refresher(sources, self._store, context.source_lock)

    def run(self, names: Sequence[str]) -> Iterator[RefreshOutcome]:
        """Refresh the profiles and return their outcomes."""
        if self._context.foreign_names:
            self._call(names, self._refresh_for_caller)
        else:
            try:
                self._call(names, self._fetch)
            finally:
                self._save()
        return (self._outcomes[name] for name in names if name in self._outcomes)

    def _call(self, names: Sequence[str], call: Callable[[str], RefreshOutcome | _Fetched]) -> None:
        """Call a function for each name, for :data:`CALLS_AT_ONCE` of them at a time, until the user stops
        it. This thread alone notes what the function returns and saves it.
        """
        steps, waiting = self._context.steps, list(reversed(names))
        running = set[Future[RefreshOutcome | _Fetched]]()
        next_save = time.monotonic() + SAVE_EVERY
        with ThreadPoolExecutor(CALLS_AT_ONCE, "keyturn-refresh") as pool:
            while running or waiting:
                if steps.is_stopped():
                    waiting.clear()
                while waiting and len(running) < CALLS_AT_ONCE:
                    running.add(pool.submit(copy_context().run, call, waiting.pop()))
                done, running = wait(running, LOOK_EVERY, return_when=FIRST_COMPLETED)
                for future in done:
                    self._note(future.result())
                finished = len(self._outcomes) + len(self._fetched)
                following = waiting[-1] if waiting else ""
                steps.report(Step("refreshing", min(finished, len(names)), len(names), following))
                if time.monotonic() >= next_save:
                    self._save()
                    next_save = time.monotonic() + SAVE_EVERY

    def _note(self, result: RefreshOutcome | _Fetched) -> None:
        if isinstance(result, RefreshOutcome):
            self._outcomes[result.profile] = result
        else:
            self._fetched[result.profile] = result

    def _fetch(self, name: str) -> RefreshOutcome | _Fetched:
        """Get a session of one profile."""
        started = time.monotonic()
        try:
            self._require_refreshable(name)
            fetched = self._refresher.fetch(name)
        except KeyturnError as error:
            name_profile(error, name, "refresh")
            return RefreshOutcome(name, error=error)
        except OSError as error:
            why = error.strerror or type(error).__name__
            return RefreshOutcome(name, error=KeyturnError(f"Could not refresh {name}", why))
        return _Fetched(name, fetched, time.monotonic() - started)

    def _require_refreshable(self, name: str) -> None:
        context, inventory = self._context, self._inventory
        session_cache.require_own_environment(context, inventory, name)
        row = inventory.row(name)
        if not row.managed:
            inventory.require_definitions()
        refresh.require_refreshable(row)
        if row.delivery is Delivery.CREDENTIALS_FILE and self._write_error is not None:
            raise self._write_error

    @cached_property
    def _write_error(self) -> KeyturnError | None:
        """The reason why the credentials file cannot be written, or None."""
        file = self._context.paths.aws_credentials
        try:
            write_check.require_writable(self._context, f"Could not write {file}", [file])
        except KeyturnError as error:
            return error
        return None

    def _refresh_for_caller(self, name: str) -> RefreshOutcome:
        """Refresh a profile for a caller with endpoints of its own. Nothing is stored or delivered then."""
        try:
            return RefreshOutcome(name, refresh.refresh(self._context, name))
        except KeyturnError as error:
            return RefreshOutcome(name, error=error)

    def _save(self) -> None:
        """Store and deliver the new sessions, and record the outcomes."""
        fetched, self._fetched = self._fetched, {}
        # A session may have been stored by an earlier call, before its thread returned.
        unsaved, requested = self._store.take_unsaved(), {name: it.session for name, it in fetched.items()}
        errors = self._store_and_deliver(unsaved, requested)
        for name, (_, session, seconds) in fetched.items():
            if (error := errors.get(name)) is not None:
                self._outcomes[name] = RefreshOutcome(name, error=error)
            else:
                done = refresh.refreshed(self._context, self._inventory.row(name), session, seconds)
                self._outcomes[name] = RefreshOutcome(name, done)
        self._record(requested)

    def _store_and_deliver(
        self, unsaved: Mapping[str, FetchedSession], requested: Mapping[str, FetchedSession]
    ) -> dict[str, KeyturnError]:
        """Store sessions in the vault and deliver those of the requested profiles. Return the errors by
        profile.
        """
        sessions = {**unsaved, **requested}
        if not sessions:
            return {}
        context, errors = self._context, dict[str, KeyturnError]()
        try:
            with context.state_lock():
                current = context.read(self._inventory)
                good = self._unchanged(current, sessions, errors)
                self._store_sessions({name: good[name] for name in unsaved if name in good})
                self._deliver(current, {name: good[name] for name in requested if name in good}, errors)
        except KeyturnError as error:
            # The next call of `_save` tries again to store what no requested profile is told about now.
            for name in unsaved.keys() - requested.keys() - errors.keys():
                self._store.put(name, unsaved[name])
            errors = dict.fromkeys(sessions, error) | errors
        return errors

    def _store_sessions(self, sessions: Mapping[str, FetchedSession]) -> None:
        entries = {name: session_cache.encode(fetched) for name, fetched in sessions.items()}
        self._context.vault.change_sessions(lambda stored: stored.update(entries))

        def list_sessions(index: Index) -> None:
            for name, fetched in sessions.items():
                session_cache.list_session(index, name, fetched)

        self._context.update_index(list_sessions)

    def _unchanged(
        self, current: Inventory, unsaved: Mapping[str, FetchedSession], errors: dict[str, KeyturnError]
    ) -> dict[str, FetchedSession]:
        """Return the sessions whose profiles are still as they were when AWS was asked."""
        refresher = self._refresher_of(current)
        good = {}
        for name, fetched in unsaved.items():
            try:
                session_cache.require_unchanged(self._inventory, current, name, fetched, refresher)
            except KeyturnError as error:
                errors[name] = error
            else:
                good[name] = fetched
        return good

    def _deliver(
        self, current: Inventory, sessions: Mapping[str, FetchedSession], errors: dict[str, KeyturnError]
    ) -> None:
        """Write sessions to the credentials file, together if nothing refuses one of them."""
        try:
            deliver.write_sessions(self._context, current, sessions)
        except KeyturnError:
            for name, fetched in sessions.items():
                try:
                    deliver.write_sessions(self._context, self._context.read(current), {name: fetched})
                except KeyturnError as error:
                    errors[name] = error

    def _record(self, fetched: Mapping[str, FetchedSession]) -> None:
        """Write the activity log and the failures of the profiles, and ask for metadata of their keys."""
        context, inventory = self._context, self._inventory
        failures = {
            name: outcome.error
            for name, outcome in self._outcomes.items()
            if outcome.error is not None and name not in self._recorded
        }
        self._recorded |= self._outcomes.keys()
        failed = {name: error for name, error in failures.items() if is_failure(error, "refresh")}
        if failed:
            context.record_failures("refresh", failed)
        done = {name: session for name, session in fetched.items() if name not in failures}
        now = context.clock()
        context.activity.add_all(
            [
                ActivityEntry(now, name, "refresh", refresh.success_words(session), ok=True)
                for name, session in done.items()
            ]
        )
        key_metadata.refresh_key_metadata(
            context,
            inventory,
            [
                (inventory.definitions[name], session.issued.credentials)
                for name, session in done.items()
                if name in inventory.definitions
            ],
            wait=0,
        )
