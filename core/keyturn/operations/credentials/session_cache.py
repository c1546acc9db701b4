"""The session cache: sessions of profiles and MFA sessions of IAM users in the vault, and the refresher that
fills it. Sessions that a caller gets through an endpoint or CA bundle of its own are kept apart, in memory
(:mod:`keyturn.operations.credentials.caller_sessions`).

One MFA code serves all roles behind the same user for hours. MFA sessions are stored under names that no
profile can have. One is valid only while the index lists it, because the index can be changed while the vault
is locked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from keyturn.aws.api import IssuedCredentials
from keyturn.model.errors import AgentUnavailable, FileChanged, KeyturnError, Remedy
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso, iso
from keyturn.operations import write_check
from keyturn.operations.context import Context
from keyturn.operations.credentials.mfa_code_command import CommandMfaCodes
from keyturn.profiles.inventory import Inventory
from keyturn.providers.base import FetchedSession, MfaDevice, Sources
from keyturn.providers.refresher import Refresher
from keyturn.providers.sts_limits import MFA_SESSION_MIN_LEFT
from keyturn.storage.config import Config
from keyturn.storage.index import Index, MfaSessionRef

#: No section or profile name contains a NUL.
MFA_PREFIX = "\0mfa\0"


@dataclass(frozen=True)
class UndeliveredSession:
    """A session to deliver, while the state lock is held for its delivery."""

    name: str
    fetched: FetchedSession
    inventory: Inventory
    """Read under the lock. The profile is unchanged since the session was requested."""
    edit_index: Callable[[Index], None]
    """Lists the session in the index if it was stored, because the index is changed once for storing and
    delivering."""


@contextmanager
def fetch_to_deliver(
    context: Context, inventory: Inventory, name: str, code: str | None = None, *, only_if_due: bool = False
) -> Iterator[UndeliveredSession]:
    """Get a session and hold the state lock until it is delivered. A new session is stored under the same
    lock, so that all files are read once for both.

    :param inventory: the inventory from before AWS is called.
    :raises UnsafeFile: if the credentials file cannot be written; nothing has been asked then.
    :raises FileChanged: if the profile or one of its sources has changed in between, or it was stopped.
    """
    write_check.require_writable(context, f"Could not refresh {name}", [context.paths.aws_credentials])
    context.require_known_host(f"Could not refresh {name}", "its session is written to the credentials file")
    with ExitStack() as lock:
        store = VaultSessionStore(context, inventory, delivered=name, lock=lock)
        fetched = Refresher(sources(context, inventory), store, context.source_lock).fetch(
            name, code, only_if_due=only_if_due
        )
        if store.locked_inventory is None:
            lock.enter_context(context.state_lock())
            store.locked_inventory = read_unchanged(context, inventory, name, fetched)
        yield UndeliveredSession(name, fetched, store.locked_inventory, store.edit_index)


def refresher(context: Context, inventory: Inventory, *, has_commands: bool = True) -> Refresher:
    """Return the refresher for one inventory.

    :param has_commands: False if no `mfa_command` may be run.
    """
    found = sources(context, inventory, has_commands=has_commands)
    if context.runs_own_process:
        return Refresher(found, CallerSessionStore(context), context.source_lock)
    if not context.foreign_names:
        return Refresher(found, VaultSessionStore(context, inventory), context.source_lock)
    suffix = f"-{context.host_fingerprint[:16]}"
    return Refresher(
        found, CallerSessionStore(context), lambda lock, seconds: context.source_lock(lock + suffix, seconds)
    )


def sources(context: Context, inventory: Inventory, *, has_commands: bool = True) -> Sources:
    """Return everything that providers read, as of one inventory.

    :param has_commands: False if no `mfa_command` may be run.
    """
    is_foreign = bool(context.foreign_names)
    codes = CommandMfaCodes(context, inventory.config, inventory.config_error, records_answers=not is_foreign)
    accepted = {
        name: state.accepted_seconds
        for name, state in inventory.index.profiles.items()
        if state.accepted_seconds
    }
    denied_signers = {
        name: state.denied_signer for name, state in inventory.index.profiles.items() if state.denied_signer
    }
    return Sources(
        definitions=inventory.definitions,
        natives=inventory.natives,
        key=context.key,
        plain_key=inventory.static_credentials,
        settings=inventory.settings,
        caller_credential_source=inventory.caller_credential_source,
        factory=context.aws,
        clock=context.clock,
        accepted=accepted,
        record_accepted_duration=lambda name, seconds: (
            None
            if is_foreign
            else context.update_index(lambda index: index.update(name, accepted_seconds=seconds))
        ),
        denied_signers=denied_signers,
        record_denied_signer=lambda name, key_id: (
            None
            if is_foreign or context.profile_state(name).denied_signer == key_id
            else context.update_index(lambda index: index.update(name, denied_signer=key_id))
        ),
        devices=(CallerMfaSessionStore if is_foreign else VaultMfaSessionStore)(context, inventory),
        codes=codes if has_commands else replace(codes, config=Config(), config_error=None),
        host_fingerprint=context.host_fingerprint,
        foreign_names=context.foreign_names,
    )


def require_own_environment(context: Context, inventory: Inventory, name: str) -> None:
    """Refuse in the agent if the profile uses the caller's credentials, because the agent would use its own
    environment or its own machine's role.

    :raises AgentUnavailable: the caller must run the operation in its own process.
    """
    if context.serves_others and inventory.caller_credential_source(name):
        why = f"{name} uses the caller's credentials"
        raise AgentUnavailable("The agent cannot do this", why, Remedy("refresh", name))


@dataclass
class VaultSessionStore:
    """Session cache of the vault for the refresher.

    A session is stored only if its profile is unchanged since the request, because a profile released or
    adopted in between must not get a session of its old definition.

    :param delivered: the profile whose session is delivered after it was stored.
    :param lock: takes over the state lock when that session is stored.
    """

    context: Context
    inventory: Inventory
    delivered: str | None = None
    lock: ExitStack = field(default_factory=ExitStack)
    locked_inventory: Inventory | None = None
    """Inventory as it was read under the lock that is still held."""
    edit_index: Callable[[Index], None] = lambda _: None
    """Lists the session in the index, if that is left to the delivery."""

    def get(self, name: str) -> FetchedSession | None:
        fetched = decode(self.context.vault.session(name))
        if fetched is None or is_stopped(fetched.obtained, self.context.profile_state(name).stopped):
            return None
        return fetched

    def put(self, name: str, fetched: FetchedSession) -> None:
        entry = encode(fetched)
        edit_index = partial(list_session, name=name, fetched=fetched)
        with ExitStack() as lock:
            lock.enter_context(self.context.state_lock())
            inventory = read_unchanged(self.context, self.inventory, name, fetched)
            if name == self.delivered:
                self.lock.push(lock.pop_all())
                self.locked_inventory = inventory
            self.context.vault.change_sessions(lambda sessions: sessions.__setitem__(name, entry))
            if name == self.delivered:
                self.edit_index = edit_index
            else:
                self.context.update_index(edit_index)

    def drop(self, refused: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.SessionStore.drop`."""
        key_id = refused.issued.credentials.access_key_id
        with contextlib.suppress(KeyturnError, OSError), self.context.state_lock():
            self.context.vault.change_sessions(lambda sessions: _drop_sessions(sessions, key_id))
            self.context.index.change(lambda index: _unlist_sessions(index, key_id))


@dataclass(frozen=True)
class CallerSessionStore:
    """Sessions of callers that name the same endpoints and CA bundles, in memory. The index does not list
    them."""

    context: Context

    def get(self, name: str) -> FetchedSession | None:
        """See :meth:`keyturn.providers.base.SessionStore.get`."""
        fetched = self.context.caller_sessions.get(self.context.host_fingerprint, name)
        if fetched is None or is_stopped(fetched.obtained, self.context.profile_state(name).stopped):
            return None
        return fetched

    def put(self, name: str, fetched: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.SessionStore.put`."""
        self.context.caller_sessions.put(self.context.host_fingerprint, name, fetched)

    def drop(self, refused: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.SessionStore.drop`."""
        key_id = refused.issued.credentials.access_key_id
        self.context.caller_sessions.drop(self.context.host_fingerprint, key_id)


def _drop_sessions(sessions: dict[str, Any], key_id: str) -> None:
    """Delete a session under every name that has it."""
    for name, entry in list(sessions.items()):
        if isinstance(entry, dict) and entry.get("key_id") == key_id:
            del sessions[name]


def _unlist_sessions(index: Index, key_id: str) -> None:
    """Delete a session from the index, of profiles and of MFA devices."""
    for name, state in list(index.profiles.items()):
        if state.session is not None and state.session.key_id == key_id:
            index.update(name, session=None)
    _keep_mfa_sessions(index, lambda _, ref: ref.key_id != key_id)


def list_session(index: Index, name: str, fetched: FetchedSession) -> None:
    """List a stored session in the index."""
    # Keep the time of a stop for a delivery that is still pending. A time in the future was recorded before
    # the clock was set back.
    stopped = index.of(name).stopped
    stopped = None if is_stopped(fetched.obtained, stopped) else stopped
    index.update(name, session=fetched.facts(), failure=None, stopped=stopped)


def is_stopped(obtained: datetime, stopped: datetime | None) -> bool:
    """Return True if a session was obtained before its profile was stopped."""
    return stopped is not None and obtained <= stopped


def read_unchanged(context: Context, before: Inventory, name: str, fetched: FetchedSession) -> Inventory:
    """Read all files again and check that a profile is unchanged since its session was requested. The caller
    holds :meth:`Context.state_lock` until it has stored the session.

    :param before: the inventory from before AWS was called.
    :raises FileChanged: if the profile or one of its sources has changed, or it was stopped.
    """
    current = context.read(before)
    require_unchanged(before, current, name, fetched, refresher(context, current))
    return current


def require_unchanged(
    before: Inventory, current: Inventory, name: str, fetched: FetchedSession, refresher: Refresher
) -> None:
    """Check that a profile is unchanged since its session was requested.

    :param before: the inventory from before AWS was called.
    :param current: the inventory as it was read under :meth:`Context.state_lock`.
    :param refresher: of the current inventory.
    :raises FileChanged: if the profile or one of its sources has changed, or it was stopped.
    """
    old, new = before.definitions.get(name), current.definitions.get(name)
    if (old or new) and not (old and old.same_source(new)):
        raise _changed_meanwhile(name, "its definition changed during the request to AWS")
    if new and refresher.fingerprint(name) != fetched.source_fingerprint:
        raise _changed_meanwhile(name, "its source changed during the request to AWS")
    stopped = current.index.of(name).stopped
    if stopped is not None and stopped != before.index.of(name).stopped:
        raise _changed_meanwhile(name, "it was stopped during the request to AWS")


def _changed_meanwhile(name: str, why: str) -> FileChanged:
    return FileChanged(f"Could not refresh {name}", why, Remedy("refresh", name))


# MFA sessions


@dataclass(frozen=True)
class VaultMfaSessionStore:
    """MFA sessions in the vault; see :class:`keyturn.providers.base.MfaSessionStore`.

    :param inventory: the inventory from before AWS is called.
    """

    context: Context
    inventory: Inventory

    def get(self, device: MfaDevice) -> FetchedSession | None:
        """See :meth:`keyturn.providers.base.MfaSessionStore.get`."""
        ref = _mfa_session_ref(self.context.index.load(), device)
        fetched = decode(self.context.vault.session(_mfa_name(device))) if ref else None
        if ref is None or fetched is None:
            return None
        if fetched.source_fingerprint != self.context.host_fingerprint:
            return None
        is_listed = fetched.issued.credentials.access_key_id == ref.key_id
        return fetched if is_listed and _lasts(fetched, self.context.clock()) else None

    def put(self, device: MfaDevice, fetched: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.MfaSessionStore.put`."""
        credentials = fetched.issued.credentials
        if credentials.expires is None:
            return
        new = MfaSessionRef(credentials.access_key_id, credentials.expires)
        own = replace(fetched, source_fingerprint=self.context.host_fingerprint)
        with (
            contextlib.suppress(KeyturnError, OSError),
            self.context.state_lock(),
        ):  # if storing fails, the next role requires a code
            index = self.context.index.load()
            previous = _mfa_session_ref(index, device)
            if index.device(device.serial).stops != self.inventory.index.device(device.serial).stops:
                return
            if previous is not None and previous.expires > new.expires and self.get(device) is not None:
                return
            self.context.vault.change_sessions(
                lambda sessions: _store_mfa_session(sessions, index, device, own)
            )
            self.context.index.change(
                lambda index: _list_mfa_session(index, device, new, self.context.clock())
            )

    def drop(self, refused: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.MfaSessionStore.drop`."""
        VaultSessionStore(self.context, self.inventory).drop(refused)


@dataclass(frozen=True)
class CallerMfaSessionStore:
    """MFA sessions of callers that name the same endpoints and CA bundles, in memory.

    :param inventory: the inventory from before AWS is called.
    """

    context: Context
    inventory: Inventory

    def get(self, device: MfaDevice) -> FetchedSession | None:
        """See :meth:`keyturn.providers.base.MfaSessionStore.get`."""
        name = self._name(device, self.context.index.load())
        fetched = self.context.caller_sessions.get(self.context.host_fingerprint, name)
        return fetched if fetched is not None and _lasts(fetched, self.context.clock()) else None

    def put(self, device: MfaDevice, fetched: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.MfaSessionStore.put`."""
        name = self._name(device, self.inventory.index)
        self.context.caller_sessions.put(self.context.host_fingerprint, name, fetched)

    def drop(self, refused: FetchedSession) -> None:
        """See :meth:`keyturn.providers.base.MfaSessionStore.drop`."""
        CallerSessionStore(self.context).drop(refused)

    @staticmethod
    def _name(device: MfaDevice, index: Index) -> str:
        """Return a name that changes when the sessions of the device are stopped."""
        return f"{_mfa_name(device)}\0{index.device(device.serial).stops}"


def _lasts(fetched: FetchedSession, now: datetime) -> bool:
    """Return True if an MFA session is valid for a while."""
    expires = fetched.issued.credentials.expires
    return expires is not None and expires - now >= MFA_SESSION_MIN_LEFT


def _mfa_session_ref(index: Index, device: MfaDevice) -> MfaSessionRef | None:
    return index.device(device.serial).sessions.get(device.key.access_key_id)


def end_mfa_sessions(index: Index, serial: str) -> None:
    """End all MFA sessions of a device. It needs no open vault."""
    state = index.device(serial)
    index.devices[serial] = replace(state, sessions={}, stops=state.stops + 1)


def end_mfa_sessions_of_key(index: Index, key_id: str) -> None:
    """End the MFA sessions of a key that leaves the vault."""
    _keep_mfa_sessions(index, lambda key, _: key != key_id)


def _keep_mfa_sessions(index: Index, is_kept: Callable[[str, MfaSessionRef], bool]) -> None:
    for serial, state in list(index.devices.items()):
        sessions = {key: ref for key, ref in state.sessions.items() if is_kept(key, ref)}
        index.devices[serial] = replace(state, sessions=sessions)


def transfer_mfa_sessions(context: Context, old_id: str, new_id: str) -> None:
    """Assign the MFA sessions of an old key to the key that replaces it, because both belong to the same
    user.
    """
    devices = context.index.load().devices
    serials = [serial for serial, state in devices.items() if old_id in state.sessions]
    if not serials:
        return

    def edit(sessions: dict[str, Any]) -> None:
        for serial in serials:
            session = sessions.pop(f"{MFA_PREFIX}{old_id}\0{serial}", None)
            if session is not None:
                sessions[f"{MFA_PREFIX}{new_id}\0{serial}"] = session

    def update_index(index: Index) -> None:
        for serial in serials:
            sessions = index.device(serial).sessions
            if old_id in sessions:
                sessions[new_id] = sessions.pop(old_id)

    with context.state_lock():
        context.vault.change_sessions(edit)
        context.update_index(update_index)


def mfa_serials(inventory: Inventory, name: str) -> tuple[str, ...]:
    """Return the serials of the MFA devices that a profile itself requires, at most one."""
    definition = inventory.definitions.get(name)
    serial = definition.mfa_serial if definition else inventory.settings(name).get("mfa_serial")
    return (str(serial),) if serial else ()


def _mfa_name(device: MfaDevice) -> str:
    return f"{MFA_PREFIX}{device.key.access_key_id}\0{device.serial}"


def _store_mfa_session(
    sessions: dict[str, Any], index: Index, device: MfaDevice, fetched: FetchedSession
) -> None:
    """Store a session and delete those that the index does not list."""
    listed = {
        f"{MFA_PREFIX}{key}\0{serial}": ref.key_id
        for serial, state in index.devices.items()
        for key, ref in state.sessions.items()
    }
    for name in [name for name in sessions if name.startswith(MFA_PREFIX)]:
        if listed.get(name) != sessions[name].get("key_id"):
            del sessions[name]
    sessions[_mfa_name(device)] = encode(fetched)


def _list_mfa_session(index: Index, device: MfaDevice, new: MfaSessionRef, now: datetime) -> None:
    _keep_mfa_sessions(index, lambda _, ref: ref.expires > now)
    state = index.device(device.serial)
    index.devices[device.serial] = replace(state, sessions={**state.sessions, device.key.access_key_id: new})


# Entries of the vault


def encode(fetched: FetchedSession) -> dict[str, Any]:
    """Return the vault entry of a session. It holds plaintext secrets and must be encrypted at once."""
    credentials = fetched.issued.credentials
    token = credentials.session_token
    return {
        "key_id": credentials.access_key_id,
        "secret": credentials.secret_access_key.reveal(),
        "token": token.reveal() if token else None,
        "issued": fetched.requested_at.isoformat(),
        "got": fetched.obtained.isoformat(),
        "expires": iso(credentials.expires),
        "arn": fetched.issued.arn,
        "made_from": fetched.source_fingerprint,
    }


def decode(entry: dict[str, Any] | None) -> FetchedSession | None:
    """Return the session of an entry of :func:`encode`, or None if a part is missing."""
    if entry is None:
        return None
    try:
        requested_at, obtained = from_iso(entry["issued"]), from_iso(entry["got"])
        token = entry.get("token")
        credentials = Credentials(
            entry["key_id"],
            Secret(entry["secret"]),
            Secret(token) if token else None,
            from_iso(entry["expires"]),
        )
        fingerprint = str(entry["made_from"])
    except (KeyError, TypeError):
        return None
    if requested_at is None or obtained is None:
        return None
    return FetchedSession(
        IssuedCredentials(credentials, entry.get("arn")), requested_at, obtained, fingerprint
    )
