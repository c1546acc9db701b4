"""MFA sessions of IAM users: one MFA code serves all roles behind the same user for hours.

They are stored in the vault's session cache under names that no profile can have. One is valid only while the
index lists it, because the index can be changed while the vault is locked.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from keyturn.model.errors import KeyturnError
from keyturn.operations.context import Context
from keyturn.profiles.inventory import Inventory
from keyturn.providers import cached_session
from keyturn.providers.cached_session import FetchedSession, MfaDevice
from keyturn.providers.sts_limits import MFA_SESSION_MIN_LEFT
from keyturn.storage.index import Index, MfaDeviceState, MfaSessionRef

#: No section or profile name contains a NUL.
_PREFIX = "\0mfa\0"


@dataclass(frozen=True)
class VaultMfaSessionStore:
    """MFA sessions in the vault; see :class:`keyturn.providers.cached_session.MfaSessionStore`.

    :param inventory: the inventory from before AWS is called.
    """

    context: Context
    inventory: Inventory

    def get(self, device: MfaDevice) -> FetchedSession | None:
        """See :meth:`keyturn.providers.cached_session.MfaSessionStore.get`."""
        ref = self._session_ref(self.context.index.load(), device)
        entry = self.context.vault.session(_name(device)) if ref else None
        decoded = cached_session.decode(entry) if entry else None
        if ref is None or decoded is None:
            return None
        fetched = FetchedSession(*decoded)
        credentials = fetched.issued.credentials
        is_expired = (
            credentials.expires is None or credentials.expires - self.context.clock() < MFA_SESSION_MIN_LEFT
        )
        return None if is_expired or credentials.access_key_id != ref.key_id else fetched

    def put(self, device: MfaDevice, fetched: FetchedSession) -> None:
        """See :meth:`keyturn.providers.cached_session.MfaSessionStore.put`."""
        credentials = fetched.issued.credentials
        if credentials.expires is None:
            return
        new = MfaSessionRef(credentials.access_key_id, credentials.expires)
        with (
            contextlib.suppress(KeyturnError, OSError),
            self.context.state_lock(),
        ):  # if storing fails, the next role requires a code
            index = self.context.index.load()
            previous = self._session_ref(index, device)
            if _stop_count(index, device) != _stop_count(self.inventory.index, device):
                return
            if previous is not None and previous.expires > new.expires and self.get(device) is not None:
                return
            self.context.vault.change_sessions(lambda sessions: _store(sessions, index, device, fetched))
            self.context.index.change(lambda index: _record(index, device, new, self.context.clock()))

    @staticmethod
    def _session_ref(index: Index, device: MfaDevice) -> MfaSessionRef | None:
        return index.devices.get(device.serial, MfaDeviceState()).sessions.get(device.key.access_key_id)


def forget(context: Context, serial: str) -> None:
    """End all MFA sessions of a device. It needs no open vault."""

    def update_index(index: Index) -> None:
        state = index.devices.get(serial, MfaDeviceState())
        index.devices[serial] = MfaDeviceState({}, state.stops + 1)

    context.index.change(update_index)


def forget_key(index: Index, key_id: str) -> None:
    """End the MFA sessions of a key that leaves the vault."""
    for serial, state in list(index.devices.items()):
        sessions = {key: ref for key, ref in state.sessions.items() if key != key_id}
        index.devices[serial] = replace(state, sessions=sessions)


def transfer_mfa_sessions(context: Context, old_id: str, new_id: str) -> None:
    """Assign the MFA sessions of an old key to the key that replaces it, because both belong to the same
    user.
    """
    index = context.index.load()
    refs = {
        serial: state.sessions[old_id] for serial, state in index.devices.items() if old_id in state.sessions
    }
    if not refs:
        return

    def edit(sessions: dict[str, Any]) -> None:
        for serial in refs:
            session = sessions.pop(f"{_PREFIX}{old_id}\0{serial}", None)
            if session is not None:
                sessions[f"{_PREFIX}{new_id}\0{serial}"] = session

    def update_index(index: Index) -> None:
        for serial in refs:
            state = index.devices.get(serial, MfaDeviceState())
            if old_id in state.sessions:
                rest = {key: state for key, state in state.sessions.items() if key != old_id}
                index.devices[serial] = replace(state, sessions={**rest, new_id: state.sessions[old_id]})

    with context.state_lock():
        context.vault.change_sessions(edit)
        context.update_index(update_index)


def serials_of(inventory: Inventory, name: str) -> tuple[str, ...]:
    """Return the serials of the MFA devices that a profile itself requires, at most one."""
    definition = inventory.definitions.get(name)
    serial = definition.mfa_serial if definition else inventory.settings(name).get("mfa_serial")
    return (str(serial),) if serial else ()


def _name(device: MfaDevice) -> str:
    return f"{_PREFIX}{device.key.access_key_id}\0{device.serial}"


def _stop_count(index: Index, device: MfaDevice) -> int:
    return index.devices.get(device.serial, MfaDeviceState()).stops


def _store(sessions: dict[str, Any], index: Index, device: MfaDevice, fetched: FetchedSession) -> None:
    """Store a session and delete those that the index does not list."""
    listed = {
        f"{_PREFIX}{key}\0{serial}": ref.key_id
        for serial, state in index.devices.items()
        for key, ref in state.sessions.items()
    }
    for name in [name for name in sessions if name.startswith(_PREFIX)]:
        if listed.get(name) != sessions[name].get("key_id"):
            del sessions[name]
    sessions[_name(device)] = cached_session.encode(fetched)


def _record(index: Index, device: MfaDevice, new: MfaSessionRef, now: datetime) -> None:
    for serial, state in list(index.devices.items()):
        index.devices[serial] = replace(
            state, sessions={key: ref for key, ref in state.sessions.items() if ref.expires > now}
        )
    state = index.devices.get(device.serial, MfaDeviceState())
    index.devices[device.serial] = replace(state, sessions={**state.sessions, device.key.access_key_id: new})
