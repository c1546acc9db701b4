"""Previous versions of the shared files: encrypted copies and a plaintext index of path, time and
operation.

A copy is encrypted to the vault's recipient, so saving one does not need an unlocked vault, but reading one
does. Its name is the SHA-256 of its content, so identical content is stored once. `age -d -i KEY
history/DIGEST.age` restores a file without keyturn.

The last 50 copies are kept, and for 30 days the first of each file and day (UTC), which is the state at the
start of that day.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from keyturn.model.errors import NotFound, VaultCorrupt, newer_vault_file
from keyturn.model.json_codec import OTHER, OtherFields, keys_of, stored, to_table
from keyturn.system.clock import Clock
from keyturn.system.files import lock_for_change
from keyturn.system.temp_files import remove_under_lock
from keyturn.vault.files import make_private, move_aside, put, read_regular, vault_write_errors

VERSION = 1
MAX_RECENT = 50
DAILY_RETENTION = timedelta(days=30)

_INDEX = "index.json"
_NAME = "History of the shared files"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Opener(Protocol):
    """A vault that can decrypt."""

    def open(self, data: bytes) -> bytes:
        """Return the plaintext of encrypted bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One previous version. It holds no secret. `who` and `path` are untrusted: print them through
    :func:`~keyturn.model.text.safe`.
    """

    number: int
    """Sequence number from 1, never reused."""
    at: datetime = field(metadata=stored(exact=True))
    """Time of saving, aware UTC."""
    path: str
    """Absolute path of the file."""
    who: str
    """The operation that changed the file, in a few words ("adopt ci-deploy")."""
    digest: str
    """SHA-256 of the content, in hex."""
    size: int
    """Size of the content in bytes."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


@dataclass(frozen=True, slots=True)
class _Index:
    """The content of the index."""

    number: int = field(default=1, metadata=stored("next"))
    """Sequence number of the next entry."""
    entries: tuple[Entry, ...] = ()
    """Oldest first."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


class History:
    """Previous versions in one folder. Safe for threads and processes.

    :param folder: created with mode 0700 when the first version is saved.
    :param seal: encrypts bytes to the vault's recipient; raises `NeedsVault` if there is no vault.
    """

    def __init__(self, folder: Path, seal: Callable[[bytes], bytes], clock: Clock) -> None:
        self.folder = folder
        self._seal = seal
        self._clock = clock

    def keep(self, path: Path, data: bytes, who: str = "") -> None:
        """Save `data`, the content of `path` before a change.

        Nothing is saved if `data` equals the newest version of that path, or if it is empty and the newest is
        not, because an empty file is usually an accident rather than a state to restore.

        :raises NeedsVault: if there is no vault to encrypt to.
        :raises VaultError: if the copy could not be written; the change must not be made then.
        """
        name = str(path.absolute())
        digest = hashlib.sha256(data).hexdigest()
        with vault_write_errors("the history of the shared files"):
            make_private(self.folder)
            with lock_for_change(self.folder / "lock", what=_NAME):
                remove_under_lock(self.folder)
                index = self._read_or_reset()
                entries = index.entries
                newest = next((entry for entry in reversed(entries) if entry.path == name), None)
                if newest is not None and (newest.digest == digest or (not data and newest.size)):
                    return
                sealed = self._file(digest)
                if not sealed.exists():
                    put(sealed, self._seal(data))
                now = self._clock().astimezone(UTC)
                entries = (*entries, Entry(index.number, now, name, who, digest, len(data)))
                remaining = select_retained(entries, now)
                new = replace(index, number=index.number + 1, entries=remaining)
                put(self.folder / _INDEX, _encode(new))
                self._remove({entry.digest for entry in entries} - {entry.digest for entry in remaining})

    def holds(self, data: bytes) -> bool:
        """Return True if a copy of `data` is saved, for any file.

        :raises VaultCorrupt: if the index is damaged.
        :raises VaultNewer: if a later version of keyturn wrote the index.
        """
        digest = hashlib.sha256(data).hexdigest()
        return self._file(digest).is_file() and any(entry.digest == digest for entry in self._read().entries)

    def list(self) -> tuple[Entry, ...]:
        """Return all entries, newest first.

        :raises VaultCorrupt: if the index is damaged.
        :raises VaultNewer: if a later version of keyturn wrote the index.
        """
        return tuple(reversed(self._read().entries))

    def read(self, entry: Entry, vault: Opener) -> bytes:
        """Return the content of an entry.

        :raises NotFound: if the copy is no longer saved.
        :raises NeedsUnlock: if the vault is locked.
        :raises VaultCorrupt: if the copy is damaged.
        """
        sealed = read_regular(self._file(entry.digest))
        if sealed is None:
            raise NotFound(f"Version {entry.number} of {entry.path}", "it is no longer saved")
        data = vault.open(sealed)
        if hashlib.sha256(data).hexdigest() != entry.digest:
            raise VaultCorrupt(
                f"Version {entry.number} of {entry.path}",
                "its content does not match its digest",
                "Use another version",
            )
        return data

    def _file(self, digest: str) -> Path:
        return self.folder / f"{digest}.age"

    def _read(self) -> _Index:
        data = read_regular(self.folder / _INDEX)
        return _Index() if data is None else _decode(data)

    def _read_or_reset(self) -> _Index:
        """Return the index. A damaged index is moved aside and replaced by an empty one; its copies stay."""
        try:
            return self._read()
        except VaultCorrupt:
            move_aside(self.folder / _INDEX)
            return _Index()

    def _remove(self, digests: set[str]) -> None:
        for digest in digests:
            self._file(digest).unlink(missing_ok=True)


def select_retained(entries: tuple[Entry, ...], now: datetime) -> tuple[Entry, ...]:
    """Return the entries to keep at `now`: the last 50, and for 30 days the first of each file and day.
    `entries` are in order, oldest first.
    """
    numbers = {entry.number for entry in entries[-MAX_RECENT:]}
    days: set[tuple[str, str]] = set()
    for entry in entries:
        day = (entry.path, entry.at.date().isoformat())
        if day not in days and now - entry.at < DAILY_RETENTION:
            numbers.add(entry.number)
        days.add(day)
    return tuple(entry for entry in entries if entry.number in numbers)


def _encode(index: _Index) -> bytes:
    return json.dumps({"version": VERSION, **to_table(index)}, indent=1).encode("ascii")


def _decode(data: bytes) -> _Index:
    damaged = VaultCorrupt(
        _NAME, "the index is damaged", "The encrypted copies beside it are intact; `age -d` decrypts them"
    )
    try:
        content = json.loads(data)
        version = content["version"]
        if isinstance(version, int) and version > VERSION:
            raise newer_vault_file(_NAME, version, VERSION)
        entries = tuple(_entry(row) for row in content["entries"])
        number = content["next"]
        others = {key: value for key, value in content.items() if key not in ("version", *keys_of(_Index))}
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        raise damaged from None
    if version != VERSION or not isinstance(number, int) or any(entry.number >= number for entry in entries):
        raise damaged
    return _Index(number, entries, others)


def _entry(row: dict[str, Any]) -> Entry:
    at = datetime.fromisoformat(row["at"])
    entry = Entry(row["number"], at, row["path"], row["who"], row["digest"], row["size"], _others(row))
    has_numbers = isinstance(entry.number, int) and isinstance(entry.size, int)
    has_strings = isinstance(entry.path, str) and isinstance(entry.who, str)
    if not has_numbers or not has_strings or at.tzinfo is None or not _DIGEST.fullmatch(entry.digest):
        raise ValueError("invalid entry")
    return entry


def _others(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in keys_of(Entry)}
