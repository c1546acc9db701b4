"""Facts that are known without unlocking the vault: key ids, ages, expiries, last use, failures. No
secret.

`index.json` may be lost at any time: sessions are then requested again and keys are looked up at the next
refresh. So an unreadable index is moved aside and never stops an operation. One that a later version of
keyturn wrote is read as far as possible and never written.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from keyturn.model.errors import newer_file
from keyturn.model.json_codec import OTHER, OtherFields, from_table, keys_of, stored, to_table
from keyturn.model.profile import Failure, Key, Session
from keyturn.model.text import from_iso
from keyturn.system import files
from keyturn.system.file_fingerprint import FileFingerprint

VERSION = 1
#: About the length of an operation, which asks the index for several facts.
REUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """Temporary credentials that keyturn wrote to a credentials file."""

    path: str
    section: str
    key_ids: tuple[str, ...]
    """Key ids that the section may contain: one, or two during a write."""
    expires: datetime | None
    created_section: bool = field(default=False, metadata=stored("made"))
    """keyturn created the section, so it is removed with the credentials."""
    region: str | None = None
    """Region that keyturn wrote to a section that it created."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


@dataclass(frozen=True, slots=True)
class ProfileState:
    """Known facts about one profile."""

    session: Session | None = field(default=None, metadata=stored(omit=True))
    delivered: DeliveryRecord | None = field(default=None, metadata=stored(omit=True))
    last_use: datetime | None = field(default=None, metadata=stored("asked", omit=True))
    failure: Failure | None = field(default=None, metadata=stored(omit=True))
    stopped: datetime | None = field(default=None, metadata=stored(exact=True, omit=True))
    """Sessions that the vault cached before this time are invalid, because the user ended them."""
    key_consent: bool = field(default=False, metadata=stored(omit=True))
    """The vault holds the user's consent to hand out the long-term key, which alone decides."""
    consent_ended: bool = field(default=False, metadata=stored(omit=True))
    """The user took that consent back while the vault was locked, so it is to be removed from the vault."""
    accepted_seconds: int | None = field(default=None, metadata=stored(omit=True))
    """Longest duration that AWS accepted after it refused the requested one."""
    denied_signer: str | None = field(default=None, metadata=stored(omit=True))
    """Access key id to which AWS denied the profile's role: the key of its user without MFA, or a session of
    its source that was new."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


@dataclass(frozen=True, slots=True)
class MfaSessionRef:
    """Reference to a user's MFA session in the vault's cache."""

    key_id: str = field(metadata=stored("session"))
    """Access key id of the session."""
    expires: datetime = field(metadata=stored("until"))
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


@dataclass(frozen=True, slots=True)
class MfaDeviceState:
    """Known facts about one MFA device."""

    sessions: dict[str, MfaSessionRef] = field(default_factory=dict, metadata=stored("held"))
    """Sessions by the id of the long-term key of the user that owns the device. Cached sessions that are
    not listed here are invalid.
    """
    stops: int = 0
    """Number of times that the user ended the sessions of this device."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


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
    is_undoing: bool = field(metadata=stored("undoing"))
    started: datetime = field(metadata=stored("began"))
    deletable_from: datetime | None
    """End of the grace period of the old key."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


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
    version: int = VERSION
    """Greater than :data:`VERSION` if a later keyturn wrote it."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)

    def of(self, name: str) -> ProfileState:
        """Return the state of a profile, empty if unknown."""
        return self.profiles.get(name, ProfileState())

    def device(self, serial: str) -> MfaDeviceState:
        """Return the state of an MFA device, empty if unknown."""
        return self.devices.get(serial, MfaDeviceState())

    def with_generation(self, generation: int) -> Index:
        """Return the index with the vault's generation, if that is newer than the recorded one."""
        return replace(self, vault_generation=max(self.vault_generation, generation))

    def update(self, name: str, **changes: Any) -> None:
        """Set fields of a profile's :class:`ProfileState`."""
        self.profiles[name] = replace(self.of(name), **changes)


class IndexFile:
    """`index.json` of a state folder. For :data:`REUSE_SECONDS` it is not opened again while its stat values
    prove that it is unchanged. Network file systems may report old stat values, so that time is short, and a
    change never relies on them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_read: tuple[float, FileFingerprint, bytes | None] | None = None

    def load(self) -> Index:
        """Return the index, or an empty one if the file is missing or unreadable. Of one that a later version
        wrote, return what has the form of this version.
        """
        try:
            return _decode(self._read()) or Index()
        except OSError:
            return Index()

    def _read(self) -> bytes | None:
        now = time.monotonic()
        if self._last_read is not None:
            read_at, fingerprint, content = self._last_read
            if now - read_at < REUSE_SECONDS and fingerprint.is_unchanged():
                return content
        fingerprint = FileFingerprint.of([str(self.path)])
        content = _read(self.path)
        self._last_read = (now, fingerprint, content) if fingerprint.is_reliable() else None
        return content

    def change(self, edit: Callable[[Index], Index | None]) -> Index:
        """Read, edit and write the index under a lock. `edit` may modify the tables of its argument or
        return another index.

        An unreadable index is first moved to `index.json.unreadable`.

        :raises ChangeRefused: if a later version of keyturn wrote the index.
        """
        what = f"Could not write {self.path}"
        lock = self.path.with_name(f".{self.path.name}.lock")
        with files.os_error_text(what), files.lock_for_change(lock, what=what):
            old = _read(self.path)
            index = _decode(old)
            if index is None:
                self.path.replace(self.path.with_name(f"{self.path.name}.unreadable"))
                index = Index()
            if index.version > VERSION:
                raise newer_file(what, index.version, VERSION)
            index = edit(index) or index
            new = _encode(index)
            if new != old:
                files.replace(self.path, new)
        return index


def _read(path: Path) -> bytes | None:
    """Return the content of the index, empty and so unreadable if it is too long."""
    try:
        return files.read(path)
    except OSError as error:
        if error.errno == errno.EFBIG:
            return b""
        raise


def _decode(content: bytes | None) -> Index | None:
    """Return the index, an empty one for None, or None if `content` is not an index."""
    if content is None:
        return Index()
    try:
        table = json.loads(content)
        version = table["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(version) is not int or version < VERSION:
        return None
    index = _from_table(table)
    if version == VERSION:
        return index
    return replace(_without_deliveries(index or _newer_index(table)), version=version)


def _without_deliveries(index: Index) -> Index:
    """Return the index without the deliveries, because a withdrawal cannot be recorded in an index of a later
    version. The marks in the credentials file show what is to be withdrawn."""
    profiles = {name: replace(state, delivered=None) for name, state in index.profiles.items()}
    return replace(index, profiles=profiles)


def _newer_index(table: dict[str, Any]) -> Index:
    """Return what identifies the vault, from an index of a later version whose other parts have another
    form."""
    generation, recipient = table.get("vault_generation"), table.get("vault_recipient")
    return Index(
        vault_generation=generation if type(generation) is int else 0,
        vault_recipient=recipient if isinstance(recipient, str) else "",
        recovery_key_seen=bool(table.get("recovery_key_seen")),
    )


def _from_table(table: dict[str, Any]) -> Index | None:
    """Return the index, or None if a part has another form than in this version."""
    try:
        return Index(
            profiles={name: _profile(entry) for name, entry in table["profiles"].items()},
            keys={name: from_table(Key, entry) for name, entry in table["keys"].items()},
            devices={serial: _device(entry) for serial, entry in table.get("devices", {}).items()},
            rotations={
                name: from_table(RotationSummary, entry)
                for name, entry in table.get("rotations", {}).items()
                if from_iso(entry.get("began"))
            },
            vault_generation=int(table.get("vault_generation", 0)),
            vault_recipient=str(table.get("vault_recipient", "")),
            recovery_key_seen=bool(table.get("recovery_key_seen", False)),
            other_fields={key: value for key, value in table.items() if key not in keys_of(Index)},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _profile(entry: dict[str, Any]) -> ProfileState:
    """Return a profile's state, without a failure whose time cannot be read."""
    failure = entry.get("failure")
    if failure and not from_iso(failure["at"]):
        entry = {**entry, "failure": None}
    return from_table(ProfileState, entry)


def _device(entry: dict[str, Any]) -> MfaDeviceState:
    """Return a device's state, without sessions whose expiry cannot be read."""
    sessions = {key: session for key, session in entry["held"].items() if from_iso(session["until"])}
    return from_table(MfaDeviceState, {**entry, "held": dict(sorted(sessions.items()))})


def _encode(index: Index) -> bytes:
    table = {
        **index.other_fields,
        "version": VERSION,
        "vault_generation": index.vault_generation,
        "vault_recipient": index.vault_recipient,
        "recovery_key_seen": index.recovery_key_seen,
        "profiles": {name: to_table(state) for name, state in sorted(index.profiles.items())},
        "keys": {name: to_table(key) for name, key in sorted(index.keys.items())},
        "devices": {serial: to_table(item) for serial, item in sorted(index.devices.items())},
        "rotations": {name: to_table(item) for name, item in sorted(index.rotations.items())},
    }
    return (json.dumps(table, indent=1, ensure_ascii=True) + "\n").encode("ascii")
