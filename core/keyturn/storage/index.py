"""Facts that are known without unlocking the vault: key ids, ages, expiries, last use, failures. No
secret.

`index.json` may be lost at any time: sessions are then requested again and keys are looked up at the next
refresh. So an unreadable index is moved aside and never stops an operation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from keyturn.model.profile import Failure, Key, Session
from keyturn.model.text import from_iso, iso
from keyturn.system import files

VERSION = 1


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """Temporary credentials that keyturn wrote to a credentials file."""

    path: str
    section: str
    key_ids: tuple[str, ...]
    """Key ids that the section may contain: one, or two during a write."""
    expires: datetime | None
    made: bool = False
    """keyturn created the section, so it is removed with the credentials."""
    region: str | None = None
    """Region that keyturn wrote to a section that it created."""


@dataclass(frozen=True, slots=True)
class ProfileState:
    """Known facts about one profile."""

    session: Session | None = None
    delivered: DeliveryRecord | None = None
    last_use: datetime | None = None
    failure: Failure | None = None
    accepted_seconds: int | None = None
    """Longest duration that AWS accepted after it refused the requested one."""
    stopped: datetime | None = None
    """Sessions that the vault cached before this time are invalid, because the user ended them."""


@dataclass(frozen=True, slots=True)
class MfaSessionRef:
    """Reference to a user's MFA session in the vault's cache."""

    session: str
    """Its key id."""
    until: datetime


@dataclass(frozen=True, slots=True)
class MfaDeviceState:
    """Known facts about one MFA device."""

    held: dict[str, MfaSessionRef] = field(default_factory=dict)
    """Sessions by the id of the long-term key of the user that owns the device. Cached sessions that are
    not listed here are invalid.
    """
    stops: int = 0
    """Number of times that the user ended the sessions of this device."""


@dataclass(frozen=True, slots=True)
class RotationSummary:
    """An unfinished rotation, as far as it is known without unlocking the vault."""

    profile: str
    entries: tuple[str, ...]
    """Names of the vault entries whose key it replaces."""
    old_id: str
    new_id: str | None
    step: str
    """Step in the rotation record (:class:`keyturn.operations.rotation.record.Step`)."""
    is_undoing: bool
    began: datetime
    deletable_from: datetime | None
    """End of the grace period of the old key."""


@dataclass(frozen=True, slots=True)
class Index:
    """The whole index: profiles by name, keys by the name of the vault entry."""

    profiles: dict[str, ProfileState] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    devices: dict[str, MfaDeviceState] = field(default_factory=dict)
    """MFA devices by serial."""
    rotations: dict[str, RotationSummary] = field(default_factory=dict)
    """Rotations by the name of their record. The record is authoritative."""
    vault_generation: int = 0
    vault_recipient: str = ""
    """Recipient of the vault when it was last open; empty before."""
    recovery_key_seen: bool = False

    def of(self, name: str) -> ProfileState:
        """Return the state of a profile, empty if unknown."""
        return self.profiles.get(name, ProfileState())

    def update(self, name: str, **changes: Any) -> None:
        """Set fields of a profile's :class:`ProfileState`."""
        self.profiles[name] = replace(self.of(name), **changes)


class IndexFile:
    """`index.json` of a state folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Index:
        """Return the index, or an empty one if the file is missing or unreadable."""
        try:
            return _decode(files.read(self.path)) or Index()
        except OSError:
            return Index()

    def change(self, edit: Callable[[Index], Index | None]) -> Index:
        """Read, edit and write the index under a lock. `edit` may modify the tables of its argument or
        return another index.

        An unreadable index, or one of a later version, is first moved to `index.json.unreadable`.
        """
        result = Index()

        def edit_bytes(old: bytes | None) -> bytes:
            nonlocal result
            index = _decode(old)
            if index is None:
                self.path.replace(self.path.with_name(f"{self.path.name}.unreadable"))
                index = Index()
            result = edit(index) or index
            return _encode(result)

        files.change(self.path, edit_bytes, what=f"Could not write {self.path}")
        return result


def _decode(content: bytes | None) -> Index | None:
    """Return the index, an empty one for None, or None if `content` is not an index of this version."""
    if content is None:
        return Index()
    try:
        table = json.loads(content)
        if table["version"] != VERSION:
            return None
        return Index(
            profiles={name: _profile(entry) for name, entry in table["profiles"].items()},
            keys={name: _key(entry) for name, entry in table["keys"].items()},
            devices={serial: _device(entry) for serial, entry in table.get("devices", {}).items()},
            rotations={
                name: rotation
                for name, entry in table.get("rotations", {}).items()
                if (rotation := _rotation(entry)) is not None
            },
            vault_generation=int(table.get("vault_generation", 0)),
            vault_recipient=str(table.get("vault_recipient", "")),
            recovery_key_seen=bool(table.get("recovery_key_seen", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _text(value: object) -> str:
    """:raises TypeError: if `value` is not a string, because keyturn did not write this index then."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _number_or_none(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int):
        raise TypeError
    return value


def _encode(index: Index) -> bytes:
    table = {
        "version": VERSION,
        "vault_generation": index.vault_generation,
        "vault_recipient": index.vault_recipient,
        "recovery_key_seen": index.recovery_key_seen,
        "profiles": {name: _profile_table(state) for name, state in sorted(index.profiles.items())},
        "keys": {name: _key_table(key) for name, key in sorted(index.keys.items())},
        "devices": {serial: _device_table(item) for serial, item in sorted(index.devices.items())},
        "rotations": {name: _rotation_table(item) for name, item in sorted(index.rotations.items())},
    }
    return (json.dumps(table, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def _device_table(device: MfaDeviceState) -> dict[str, Any]:
    sessions = {
        key: {"session": ref.session, "until": iso(ref.until)} for key, ref in sorted(device.held.items())
    }
    return {"held": sessions, "stops": device.stops}


def _device(entry: dict[str, Any]) -> MfaDeviceState:
    refs = {key: (_text(ref["session"]), from_iso(ref["until"])) for key, ref in entry["held"].items()}
    held = {key: MfaSessionRef(session, until) for key, (session, until) in refs.items() if until is not None}
    return MfaDeviceState(held, _number_or_none(entry["stops"]) or 0)


def _profile_table(state: ProfileState) -> dict[str, Any]:
    table: dict[str, Any] = {}
    if state.session:
        session = state.session
        table["session"] = {
            "key_id": session.key_id, "issued": iso(session.issued), "expires": iso(session.expires), "arn": session.arn
        }  # fmt: skip
    if state.delivered:
        record = state.delivered
        table["delivered"] = {
            "path": record.path, "section": record.section, "key_ids": list(record.key_ids), "expires": iso(record.expires),
            "made": record.made, "region": record.region,
        }  # fmt: skip
    if state.last_use:
        table["asked"] = iso(state.last_use)
    if state.failure:
        table["failure"] = {"at": iso(state.failure.at), "line": state.failure.line}
    if state.stopped:
        table["stopped"] = state.stopped.isoformat()
    if state.accepted_seconds:
        table["accepted_seconds"] = state.accepted_seconds
    return table


def _profile(entry: dict[str, Any]) -> ProfileState:
    session, delivered, failure = entry.get("session"), entry.get("delivered"), entry.get("failure")
    failed_at = from_iso(failure["at"]) if failure else None
    return ProfileState(
        session=Session(
            _text(session["key_id"]),
            from_iso(session["issued"]),
            from_iso(session["expires"]),
            _text_or_none(session.get("arn")),
        )
        if session
        else None,
        delivered=_delivered(delivered) if delivered else None,
        last_use=from_iso(entry.get("asked")),
        failure=Failure(failed_at, _text(failure["line"])) if failure and failed_at else None,
        accepted_seconds=_number_or_none(entry.get("accepted_seconds")),
        stopped=from_iso(entry.get("stopped")),
    )


def _delivered(entry: dict[str, Any]) -> DeliveryRecord:
    return DeliveryRecord(
        _text(entry["path"]),
        _text(entry["section"]),
        tuple(_text(item) for item in entry["key_ids"]),
        from_iso(entry["expires"]),
        bool(entry["made"]),
        _text_or_none(entry.get("region")),
    )


def _key_table(key: Key) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "user": key.user,
        "created": iso(key.created),
        "status": key.status,
        "slots_used": key.slots_used,
        "last_used": iso(key.last_used),
        "last_used_by": key.last_used_by,
        "checked": iso(key.checked),
    }


def _key(entry: dict[str, Any]) -> Key:
    return Key(
        key_id=_text(entry["key_id"]),
        user=_text_or_none(entry.get("user")),
        created=from_iso(entry.get("created")),
        status=_text_or_none(entry.get("status")),
        slots_used=_number_or_none(entry.get("slots_used")),
        last_used=from_iso(entry.get("last_used")),
        last_used_by=_text_or_none(entry.get("last_used_by")),
        checked=from_iso(entry.get("checked")),
    )


def _rotation_table(rotation: RotationSummary) -> dict[str, Any]:
    return {
        "profile": rotation.profile, "entries": list(rotation.entries), "old_id": rotation.old_id, "new_id": rotation.new_id,
        "step": rotation.step, "undoing": rotation.is_undoing, "began": iso(rotation.began), "deletable_from": iso(rotation.deletable_from),
    }  # fmt: skip


def _rotation(entry: dict[str, Any]) -> RotationSummary | None:
    began = from_iso(entry.get("began"))
    if began is None:
        return None
    return RotationSummary(
        profile=_text(entry["profile"]),
        entries=tuple(_text(item) for item in entry["entries"]),
        old_id=_text(entry["old_id"]),
        new_id=_text_or_none(entry.get("new_id")),
        step=_text(entry["step"]),
        is_undoing=bool(entry.get("undoing")),
        began=began,
        deletable_from=from_iso(entry.get("deletable_from")),
    )
