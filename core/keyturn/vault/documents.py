"""The JSON inside the sealed files: which kind, which version, which generation, and the entries by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeGuard

from keyturn.model.errors import VaultCorrupt, VaultNewer
from keyturn.vault.files import restore_hint

VERSION = 1
KEYS = "keys"
SESSIONS = "sessions"
EXPORT = "export"

#: Nobody makes as many changes; a number beyond it is not ours, and would one day be too long to write down.
_LAST_GENERATION = 2**53

Entries = dict[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Document:
    """One sealed document. Has no repr of its contents: they are secret."""

    kind: str
    """Says which file it belongs into, so that one put in the place of another is noticed."""
    generation: int
    """Counts the changes, from 1."""
    entries: Entries
    """By name, each a JSON object."""
    identity: str | None = None
    """In an export only: the vault's identity."""
    definitions: str | None = None
    """In an export only: `profiles.toml` as it was; None where there was none, or from before exports carried it."""

    def __repr__(self) -> str:
        return f"<Document {self.kind} {self.generation}>"

    def encode(self) -> bytes:
        """The bytes to seal.

        :raises TypeError: an entry is not a JSON object, or holds what JSON cannot (a `Secret` has to be revealed by
            whoever stores it).
        """
        for name, entry in self.entries.items():
            if not isinstance(name, str) or not isinstance(entry, dict):
                raise TypeError("vault entries are JSON objects under a name")
        content: dict[str, Any] = {
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
    """The document in `data`, the plaintext of a sealed file.

    :param what: the file's name, for the error.
    :raises VaultNewer: a later keyturn wrote it.
    :raises VaultCorrupt: it is not a document of that kind.
    """
    content = _json(data)
    version = content.get("version")
    if _is_number(version) and version > VERSION:
        raise VaultNewer(
            what, f"its version is {version}, and this keyturn knows {VERSION}", "Upgrade keyturn"
        )
    generation, entries, identity = content.get("generation"), content.get("entries"), content.get("identity")
    definitions = content.get("definitions")
    if not (
        _is_number(version)
        and version == VERSION
        and content.get("kind") == kind
        and _is_number(generation)
        and 0 < generation <= _LAST_GENERATION
        and isinstance(entries, dict)
        and all(isinstance(entry, dict) for entry in entries.values())
        and (isinstance(identity, str) if kind == EXPORT else identity is None)
        and (definitions is None or (kind == EXPORT and isinstance(definitions, str)))
    ):
        raise VaultCorrupt(what, f"it opens, but holds no {kind} document", restore_hint())
    return Document(kind, generation, entries, identity, definitions)


def _is_number(value: Any) -> TypeGuard[int]:
    """JSON's `true` is a number to Python."""
    return type(value) is int


def _json(data: bytes) -> dict[str, Any]:
    """The object in `data`, empty if there is none. An exception of the parser would carry the plaintext, so none
    leaves here."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
