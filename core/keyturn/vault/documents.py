"""The JSON inside the encrypted files: kind, version, generation, and the entries by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from keyturn.model.errors import VaultCorrupt, newer_vault_file
from keyturn.vault.age import RESTORE_HINT

VERSION = 1
KEYS = "keys"
SESSIONS = "sessions"
EXPORT = "export"

#: Upper limit of the generation. No vault has that many changes, so a larger number is not from keyturn, and
#: could grow too long to write.
LAST_GENERATION = 2**53
_LAST_BELIEVED = 2**40

#: Most values in a document. An entry of keyturn has about twenty.
_MAX_PARTS = 300_000

Entries = dict[str, Any]
_KEYS = frozenset({"version", "kind", "generation", "entries", "identity", "definitions"})


@dataclass(frozen=True, slots=True, repr=False)
class Document:
    """The contents of one encrypted file. Its `repr` omits the contents, because they are secret."""

    kind: str
    """The file that it belongs to, so that a file put in place of another is detected."""
    generation: int
    """Number of changes so far, starting at 1; 0 for an empty session cache."""
    entries: Entries
    """By name; each is a JSON object."""
    identity: str | None = None
    """The vault's identity; only in an export."""
    definitions: str | None = None
    """The text of `profiles.toml`; only in an export. None if there was none, or the export is from a keyturn
    that did not include it."""
    other_fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields that this version does not know. They are written back."""

    def __repr__(self) -> str:
        return f"<Document {self.kind} {self.generation}>"

    def encode(self) -> bytes:
        """Return the bytes to encrypt.

        :raises TypeError: if an entry is not a JSON object or holds a value that JSON cannot (a `Secret` must
            be revealed before it is stored).
        """
        for name, entry in self.entries.items():
            if not isinstance(name, str) or not isinstance(entry, dict):
                raise TypeError("vault entries must be JSON objects by name")
        content: dict[str, Any] = {
            **self.other_fields,
            "version": VERSION,
            "kind": self.kind,
            "generation": self.generation,
            "entries": self.entries,
        }
        if self.identity is not None:
            content["identity"] = self.identity
        if self.definitions is not None:
            content["definitions"] = self.definitions
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def decode(data: bytes, kind: str, what: str) -> Document:
    """Parse `data`, the plaintext of an encrypted file.

    :param what: the file's name, for the error.
    :raises VaultNewer: if a later keyturn wrote it.
    :raises VaultCorrupt: if it is not a document of that kind.
    """
    content = _json(data)
    version = content.get("version")
    if _is_number(version) and version > VERSION:
        raise newer_vault_file(what, version, VERSION)
    generation, entries, identity = content.get("generation"), content.get("entries"), content.get("identity")
    definitions = content.get("definitions")
    if not (
        _is_number(version)
        and version == VERSION
        and content.get("kind") == kind
        and _is_number(generation)
        and 0 < generation <= LAST_GENERATION
        and isinstance(entries, dict)
        and all(isinstance(entry, dict) for entry in entries.values())
        and (isinstance(identity, str) if kind == EXPORT else identity is None)
        and (definitions is None or (kind == EXPORT and isinstance(definitions, str)))
    ):
        raise VaultCorrupt(what, f"it decrypts, but contains no {kind} document", RESTORE_HINT)
    others = {key: value for key, value in content.items() if key not in _KEYS}
    return Document(kind, generation, entries, identity, definitions, others)


def is_parsable(data: bytes) -> bool:
    """Return True if a parser needs no more than a few times the length of `data`, which may come from
    anybody who knows the vault's recipient. Small values take a hundred times their length."""
    return data.count(b",") + data.count(b"[") + data.count(b"{") <= _MAX_PARTS


def has_successor(generation: int) -> bool:
    """Return True if a document of this generation can be changed."""
    return generation < LAST_GENERATION


def believable(generation: int) -> int:
    """Return a generation that some file names, or 0 if no vault gets that far. The limit leaves room above
    it, so that a vault which is restored because of a forged number can still be changed.
    """
    return generation if 0 < generation <= _LAST_BELIEVED else 0


def _is_number(value: Any) -> TypeGuard[int]:
    """Return True for an integer, but not for JSON's `true`, which is an `int` in Python."""
    return type(value) is int


def _json(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`; empty if there is none. Parser errors are swallowed, because they
    would carry the plaintext."""
    if not is_parsable(data):
        return {}
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
