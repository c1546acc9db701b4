"""The rotation journal: one encrypted record per IAM user, written to disk and read back before the next AWS
call."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keyturn.model.errors import (
    FileChanged,
    Remedy,
    UnsafeFile,
    VaultCorrupt,
    VaultError,
    VaultNewer,
    newer_vault_file,
)
from keyturn.operations.rotation.record import record_from_table
from keyturn.system.files import discard, lock_for_change
from keyturn.system.temp_files import remove_under_lock
from keyturn.vault.files import check_private, make_private, move_aside, put, read_regular, vault_write_errors
from keyturn.vault.vault import Vault

VERSION = 1
KIND = "rotation"
SUFFIX = ".age"
#: Size limit of a record, which holds two keys and a few dates.
MAX_BYTES = 64 * 1024
_SAFE = re.compile(r"[a-z0-9_+=,.@-]{1,64}", re.ASCII)
_ARN = re.compile(r"arn:[a-z-]+:iam::(\d{12}):user/(?:.*/)?([^/]+)", re.ASCII)

RecordTable = dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class _Content:
    """The plaintext of a record's file. Its `repr` is omitted, because it holds keys."""

    serial: int = 0
    """Number of times that the file was written."""
    record: RecordTable = field(default_factory=dict)
    generation: int = 0
    """The highest generation of `keys.age` known when it was written; 0 if unknown."""
    other_fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields that this version does not know. They are written back."""

    def successor(self, record: RecordTable, generation: int) -> _Content:
        """Return the content of the next write. Unknown fields of the same rotation and of its keys are
        kept."""
        before = self.record
        if before.get("nonce") != record.get("nonce"):
            kept = record
        else:
            keys: RecordTable = {
                name: _merge(before.get(name), record[name]) for name in ("old", "new") if name in record
            }
            kept = {**before, **record, **keys}
        return replace(self, serial=self.serial + 1, record=kept, generation=max(self.generation, generation))


def _merge(before: Any, key: Any) -> Any:
    """Return a key with the unknown fields that it had."""
    if not isinstance(before, dict) or not isinstance(key, dict):
        return key
    return {**before, **key} if before.get("key_id") == key.get("key_id") else key


def record_name(user: str) -> str:
    """Return the file name of a user's record without the suffix: account and user name of the ARN, or a hash
    if they are not safe in a file name."""
    match = _ARN.fullmatch(user)
    if match is not None and _SAFE.fullmatch(match[2].lower()):
        return f"{match[1]}-{match[2].lower()}"
    return hashlib.sha256(user.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Journal:
    """The rotation records of one vault. Thread-safe. Reading and writing need the identity, because a record
    is compared with the one before and read back.

    :param vault: encrypts and decrypts the records.
    :param fallback_dirs: folders on another file system, for records that the vault's disk refuses. The first
        takes them; all are read.
    """

    def __init__(self, vault: Vault, folder: Path, fallback_dirs: Sequence[Path]) -> None:
        self._vault = vault
        self._folder = folder
        self._fallback_dirs = fallback_dirs

    def names(self) -> tuple[str, ...]:
        """Return the sorted names of all records. Decrypts none, and needs no identity.

        :raises VaultError: if a folder cannot be read, so that the records are unknown.
        """
        found = {
            name.removeprefix(prefix).removesuffix(SUFFIX)
            for folder, prefix in self._folders()
            for name in _file_names(folder)
            if name.startswith(prefix) and name.endswith(SUFFIX)
        }
        return tuple(sorted(name for name in found if not name.startswith(".") and ".damaged-" not in name))

    def read(self, name: str) -> RecordTable | None:
        """Return a record, or None if there is none. If there are copies in the fallback folders too, return
        the latest.

        :raises VaultCorrupt: if the only copy is unreadable, or is no complete record.
        :raises VaultNewer: if a later version of keyturn wrote it.
        :raises NeedsUnlock: if the vault is closed.
        """
        found = self._latest(name)
        return None if found is None else found.record

    def newest_generation(self) -> int:
        """Return the highest generation of `keys.age` that a readable record names, 0 if none does. Needs the
        identity."""
        generations = [0]
        for name in self.names():
            with contextlib.suppress(VaultError):
                found = self._latest(name)
                generations.append(0 if found is None else found.generation)
        return max(generations)

    def write(self, name: str, record: RecordTable, previous_step: str | None = None) -> None:
        """Replace a record. It is encrypted, on disk, read back and decrypted before this returns.

        :param previous_step: replace only the record of the same rotation at this step.
        :raises FileChanged: if the rotation is at another step, or another rotation has replaced it.
        :raises VaultError: if neither the vault's folder nor the fallback folder takes it. The current record
            is unchanged.
        """
        with contextlib.ExitStack() as stack:
            is_locked = self._lock(stack)
            old = self._latest(name) or _Content()
            before = (old.record.get("nonce"), old.record.get("step"))
            if previous_step is not None and before != (record["nonce"], previous_step):
                raise FileChanged(
                    "Rotation stopped",
                    "another process has continued it",
                    Remedy("rotate", str(record["profile"]), "--status"),
                )
            plain = _encode(old.successor(record, self._vault.newest_generation))
            sealed = self._vault.seal(plain)
            if self._vault.open(sealed) != plain:
                raise VaultError(
                    "Could not write the rotation journal", "the encrypted record does not decrypt"
                )
            try:
                if not is_locked:
                    raise VaultError("Could not write the rotation journal", "its folder is not writable")
                put(self._path(name), sealed)
            except (OSError, VaultError):
                self._write_to_fallback(name, sealed)
                return
            self._discard_fallback(name)

    def _lock(self, stack: contextlib.ExitStack) -> bool:
        """Lock the journal until `stack` closes. Return False if the disk refuses even the lock file."""
        try:
            make_private(self._folder)
            with vault_write_errors("the rotation journal"):
                stack.enter_context(lock_for_change(self._folder / ".lock", what="the rotation journal"))
        except VaultError:
            return False
        check_private(self._folder)
        remove_under_lock(self._folder)
        return True

    def set_aside(self) -> tuple[str, ...]:
        """Move unreadable records aside in the same folder, and return their names."""
        moved = []
        for name in self.names():
            try:
                self.read(name)
            except VaultNewer:
                continue
            except VaultCorrupt:
                for path in self._copies(name):
                    move_aside(path)
                moved.append(name)
        return tuple(moved)

    def remove(self, name: str) -> None:
        """Delete a record."""
        for path in self._copies(name):
            with vault_write_errors("the rotation journal"):
                path.unlink(missing_ok=True)

    def _write_to_fallback(self, name: str, sealed: bytes) -> None:
        """Write a record to the first fallback folder.

        :raises VaultError: if that fails too.
        """
        folder = self._fallback_dirs[0]
        try:
            check_private(folder)
            put(folder / f"{_FALLBACK_PREFIX}{name}{SUFFIX}", sealed)
        except (OSError, VaultError) as error:
            raise VaultError(
                "Could not write the rotation journal",
                f"neither {self._folder} nor {folder} is writable",
                "Free disk space or fix the permissions, then try again",
            ) from error

    def move_from_fallback(self, name: str) -> None:
        """Move a record from a fallback folder to the vault's folder, if that is writable again."""
        if not self.is_in_fallback(name):
            return
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, VaultError):
            if not self._lock(stack):
                return
            found = self._latest(name)
            if found is not None:
                put(self._path(name), self._vault.seal(_encode(found)))
                self._discard_fallback(name)

    def path_of(self, name: str) -> Path:
        """Return the file of a record."""
        return next(iter(self._fallback_copies(name)), self._path(name))

    def is_in_fallback(self, name: str) -> bool:
        """Return True if a record is in a fallback folder, which a restart of the machine may empty."""
        return bool(self._fallback_copies(name))

    def _copies(self, name: str) -> list[Path]:
        """Return the files of a record that exist."""
        found = (folder / f"{prefix}{name}{SUFFIX}" for folder, prefix in self._folders())
        return [path for path in found if path.exists()]

    def _fallback_copies(self, name: str) -> list[Path]:
        return [path for path in self._copies(name) if path != self._path(name)]

    def _discard_fallback(self, name: str) -> None:
        for path in self._fallback_copies(name):
            discard(path)

    def _latest(self, name: str) -> _Content | None:
        readable: list[_Content] = []
        damage = None
        for folder, prefix in self._folders():
            path = folder / f"{prefix}{name}{SUFFIX}"
            try:
                sealed = read_regular(path, MAX_BYTES)
                if sealed is not None:
                    readable.append(_decode(self._vault.open(sealed), path.name))
            except VaultNewer:
                raise
            except VaultCorrupt as error:
                damage = VaultCorrupt(f"Unreadable record {self._folder.name}/{path.name}", error.why, _HINT)
        if not readable and damage is not None:
            raise damage
        return max(readable, key=lambda each: each.serial, default=None)

    def _folders(self) -> tuple[tuple[Path, str], ...]:
        """Return the folders of records, each with the prefix of their names there. A fallback folder may be
        in a temporary folder, where another user could have created it; then it is not read."""
        private = (folder for folder in self._fallback_dirs if _is_private(folder))
        return ((self._folder, ""), *((folder, _FALLBACK_PREFIX) for folder in private))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"


def _is_private(folder: Path) -> bool:
    try:
        check_private(folder)
    except (OSError, UnsafeFile):
        return False
    return True


_FALLBACK_PREFIX = "rotation-"
_HINT = (
    "Nothing was overwritten. To move it aside: ", Remedy("vault restore"),
    "; then check: ", Remedy("rotate", "PROFILE", "--status"),
)  # fmt: skip


def _file_names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise VaultError(
            "Could not read the rotation journal",
            f"{folder} cannot be read ({error.strerror}), so pending rotations are unknown",
            "Fix its permissions, then try again",
        ) from None


def _encode(state: _Content) -> bytes:
    content = {
        **state.other_fields, "version": VERSION, "kind": KIND, "serial": state.serial,
        "generation": state.generation, "record": state.record,
    }  # fmt: skip
    return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _decode(plain: bytes, what: str) -> _Content:
    try:
        content = json.loads(plain)
    except (ValueError, RecursionError):
        content = None
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is int and version > VERSION:
        raise newer_vault_file(what, version, VERSION)
    match content:
        case {"version": 1, "kind": "rotation", "serial": int(serial), "record": dict(record), **rest}:
            with contextlib.suppress(ValueError):
                record_from_table(record)
                others = {str(key): value for key, value in rest.items()}
                generation = others.pop("generation", 0)
                return _Content(serial, record, generation if type(generation) is int else 0, others)
    raise VaultCorrupt(what, "it decrypts, but is not a rotation record", _HINT)
