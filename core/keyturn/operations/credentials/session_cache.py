"""Session cache in the vault, and the refresher that uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.model.errors import AgentUnavailable, FileChanged
from keyturn.operations.context import Context
from keyturn.operations.credentials.mfa_code_command import CommandMfaCodes
from keyturn.operations.credentials.mfa_sessions import VaultMfaSessionStore
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.static_keys import static_credentials
from keyturn.providers import cached_session
from keyturn.providers.base import Sources
from keyturn.providers.cached_session import FetchedSession
from keyturn.providers.refresher import Refresher
from keyturn.storage.config import Config
from keyturn.storage.index import Index


@dataclass(frozen=True)
class UndeliveredSession:
    """A session to deliver, while the state lock is held for its delivery."""

    name: str
    fetched: FetchedSession
    inventory: Inventory
    """Read under the lock. The profile is unchanged since the session was requested."""
    edit_index: Callable[[Index], None] | None
    """Lists the session in the index, which is changed once for storing and delivering; None if it is not stored."""


@contextmanager
def fetch_to_deliver(
    context: Context, inventory: Inventory, name: str, code: str | None = None, *, only_if_due: bool = False
) -> Iterator[UndeliveredSession]:
    """Get a session and hold the state lock until it is delivered. A new session is stored under the same lock, so that
    all files are read once for both.

    :param inventory: the inventory from before AWS is called.
    :raises FileChanged: if the profile or one of its sources has changed in between, or it was stopped.
    """
    with ExitStack() as lock:
        store = VaultSessionStore(context, inventory, name, lock)
        fetched = Refresher(_sources(context, inventory), store, context.source_lock).fetch(
            name, code, only_if_due=only_if_due
        )
        if store.locked is None:
            lock.enter_context(context.state_lock())
            store.locked = read_unchanged(context, inventory, name, fetched)
        yield UndeliveredSession(name, fetched, store.locked, store.edit_index)


def refresher(context: Context, inventory: Inventory, *, has_commands: bool = True) -> Refresher:
    """Return the refresher for one inventory.

    :param has_commands: False if no `mfa_command` may be run.
    """
    sources = _sources(context, inventory, has_commands=has_commands)
    return Refresher(sources, VaultSessionStore(context, inventory), context.source_lock)


def _sources(context: Context, inventory: Inventory, *, has_commands: bool = True) -> Sources:
    codes = CommandMfaCodes(context, inventory.config, inventory.config_error)
    accepted = {
        name: state.accepted_seconds
        for name, state in inventory.index.profiles.items()
        if state.accepted_seconds
    }
    return Sources(
        definitions=inventory.definitions,
        natives=inventory.natives,
        key=context.key,
        plain_key=lambda name: static_credentials(inventory, name),
        settings=inventory.settings,
        caller_credential_source=inventory.caller_credential_source,
        factory=context.aws,
        clock=context.clock,
        accepted=accepted,
        record_accepted_duration=lambda name, seconds: context.update_index(
            lambda index: index.update(name, accepted_seconds=seconds)
        ),
        devices=VaultMfaSessionStore(context, inventory),
        codes=codes if has_commands else replace(codes, config=Config(), config_error=None),
    )


def require_own_environment(context: Context, inventory: Inventory, name: str) -> None:
    """Refuse in the agent if the profile uses the caller's credentials, because the agent would use its own
    environment or its own machine's role.

    :raises AgentUnavailable: the caller must run the operation in its own process.
    """
    if context.serves_others and inventory.caller_credential_source(name):
        why = f"{name} uses the caller's credentials"
        raise AgentUnavailable("The agent cannot do this", why, f"Run: keyturn refresh {name}")


class VaultSessionStore:
    """Session cache of the vault for the refresher.

    A session is stored only if its profile is unchanged since the request, because a profile released or
    adopted in between must not get a session of its old definition.

    :param delivered: the profile whose session is delivered after it was stored.
    :param lock: keeps the state lock from storing that session on.
    """

    def __init__(
        self,
        context: Context,
        inventory: Inventory,
        delivered: str | None = None,
        lock: ExitStack | None = None,
    ) -> None:
        self._context = context
        self._inventory = inventory
        self._delivered = delivered
        self._lock = lock or ExitStack()
        self.locked: Inventory | None = None
        """Inventory as it was read under the lock that is still held."""
        self.edit_index: Callable[[Index], None] | None = None
        """Lists the session in the index, if that is left to the delivery."""

    def get(self, name: str) -> FetchedSession | None:
        entry = self._context.vault.session(name)
        decoded = cached_session.decode(entry) if entry else None
        if decoded is None:
            return None
        fetched = FetchedSession(*decoded)
        return None if _is_stopped(fetched.obtained, self._context.profile_state(name).stopped) else fetched

    def put(self, name: str, fetched: FetchedSession) -> None:
        entry = cached_session.encode(fetched)

        def edit_index(index: Index) -> None:
            # Keep the time of a stop for a delivery that is still pending. A time in the future was
            # recorded before the clock was set back.
            stopped = index.of(name).stopped
            stopped = None if _is_stopped(fetched.obtained, stopped) else stopped
            index.update(name, session=fetched.facts(), failure=None, stopped=stopped)

        with ExitStack() as lock:
            lock.enter_context(self._context.state_lock())
            inventory = read_unchanged(self._context, self._inventory, name, fetched)
            if name == self._delivered:
                self._lock.push(lock.pop_all())
                self.locked = inventory
            self._context.vault.change_sessions(lambda sessions: sessions.__setitem__(name, entry))
            if name == self._delivered:
                self.edit_index = edit_index
            else:
                self._context.update_index(edit_index)


def _is_stopped(obtained: datetime, stopped: datetime | None) -> bool:
    """Return True if a session was obtained before its profile was stopped."""
    return stopped is not None and obtained <= stopped


def read_unchanged(context: Context, before: Inventory, name: str, fetched: FetchedSession) -> Inventory:
    """Read all files again and check that a profile is unchanged since its session was requested. The caller holds
    :meth:`Context.state_lock` until it has stored the session.

    :param before: the inventory from before AWS was called.
    :raises FileChanged: if the profile or one of its sources has changed, or it was stopped.
    """
    current = context.read(before)
    old, new = before.definitions.get(name), current.definitions.get(name)
    if (old or new) and not (old and old.same_source(new)):
        raise _changed_meanwhile(name, "its definition changed during the request to AWS")
    if new and refresher(context, current).fingerprint(name) != fetched.source_fingerprint:
        raise _changed_meanwhile(name, "its source changed during the request to AWS")
    stopped = current.index.of(name).stopped
    if stopped is not None and stopped != before.index.of(name).stopped:
        raise _changed_meanwhile(name, "it was stopped during the request to AWS")
    return current


def _changed_meanwhile(name: str, why: str) -> FileChanged:
    return FileChanged(f"Could not refresh {name}", why, f"Run: keyturn refresh {name}")
