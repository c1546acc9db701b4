"""The MFA sessions of users: one code of a device, and for hours no role behind the same user asks for another.

They lie in the vault's cache beside the sessions of profiles, under names that no profile can have. The index says until
when each device needs no person, and nothing else.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.acts.desk import Desk
from keyturn.errors import KeyturnError
from keyturn.index import Index
from keyturn.model import VaultState
from keyturn.reading import Reading
from keyturn.sessions import stored
from keyturn.sessions.durations import DEVICE_LEAST_LEFT
from keyturn.sessions.stored import Device, Fetched

#: No name of a section or a profile holds a NUL.
_PREFIX = "\0mfa\0"


@dataclass(frozen=True)
class DeviceSessions:
    """Where the refresher finds and keeps them; see :class:`keyturn.sessions.stored.DeviceStore`."""

    desk: Desk
    reading: Reading

    def held(self, device: Device) -> Fetched | None:
        """See :meth:`DeviceStore.held`."""
        entry = self.desk.vault.session(_name(device))
        decoded = stored.decode(entry) if entry else None
        if decoded is None:
            return None
        found = Fetched(*decoded)
        expires = found.issued.credentials.expires
        stopped = _stopped(self.reading, self.desk.index.load(), device.serial)
        over = expires is None or expires - self.desk.clock() < DEVICE_LEAST_LEFT
        return None if over or (stopped is not None and found.got <= stopped) else found

    def hold(self, device: Device, fetched: Fetched) -> None:
        """See :meth:`DeviceStore.hold`."""
        name, entry, now = _name(device), stored.encode(fetched), self.desk.clock()
        expires = fetched.issued.credentials.expires

        def keep(sessions: dict[str, Any]) -> None:
            for other in [other for other in sessions if other.startswith(_PREFIX)]:
                if _is_over(sessions[other], now):
                    del sessions[other]
            sessions[name] = entry

        def note(index: Index) -> None:
            for serial in [serial for serial, until in index.devices.items() if until <= now]:
                del index.devices[serial]
            if expires is not None:
                index.devices[device.serial] = expires

        with contextlib.suppress(KeyturnError, OSError):  # the next role then asks for a code of its own
            self.desk.vault.change_sessions(keep)
            self.desk.index.change(note)


def forget(desk: Desk, serial: str) -> None:
    """Ends what a device's last code is good for. The caller marks a profile of the device as stopped, which is what
    counts where the vault is closed."""

    def drop(sessions: dict[str, Any]) -> None:
        for name in [name for name in sessions if name.startswith(_PREFIX) and name.endswith(f"\0{serial}")]:
            del sessions[name]

    if desk.vault.state() is VaultState.OPEN:
        desk.vault.change_sessions(drop)

    def note(index: Index) -> None:
        index.devices.pop(serial, None)

    desk.note(note)


def forget_key(sessions: dict[str, Any], key_id: str) -> None:
    """Takes out of the vault's cache what a key that leaves the vault was asked for."""
    for name in [name for name in sessions if name.startswith(f"{_PREFIX}{key_id}\0")]:
        del sessions[name]


def serials_of(reading: Reading, name: str) -> tuple[str, ...]:
    """The devices whose codes a profile asks for itself."""
    definition = reading.definitions.get(name)
    found = definition.mfa_serial if definition else reading.settings(name).get("mfa_serial")
    return (str(found),) if found else ()


def _name(device: Device) -> str:
    return f"{_PREFIX}{device.key.access_key_id}\0{device.serial}"


def _is_over(entry: object, now: datetime) -> bool:
    decoded = stored.decode(entry) if isinstance(entry, dict) else None
    expires = decoded[0].credentials.expires if decoded else None
    return expires is None or expires <= now


def _stopped(reading: Reading, index: Index, serial: str) -> datetime | None:
    """When a person last ended a session that this device's code stands for."""
    return max(
        (
            known.stopped
            for name, known in index.profiles.items()
            if known.stopped is not None and serial in serials_of(reading, name)
        ),
        default=None,
    )
