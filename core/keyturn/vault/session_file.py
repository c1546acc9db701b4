"""`sessions.age`: a cache without generations, which may be thrown away."""

from __future__ import annotations

from pathlib import Path

from keyturn.model.errors import VaultCorrupt
from keyturn.vault import age, documents
from keyturn.vault.documents import Document, Entries
from keyturn.vault.files import move_aside, put, read_regular

FILE = "sessions.age"


def read(folder: Path, identity: age.Identity) -> Document:
    """The cache; generation 0 where there is none that can be read.

    :raises VaultNewer: a later keyturn wrote it.
    """
    try:
        sealed = read_regular(folder / FILE)
        if sealed is not None:
            return documents.decode(identity.open(sealed, FILE), documents.SESSIONS, FILE)
    except VaultCorrupt:
        pass
    return Document(documents.SESSIONS, 0, {})


def write(folder: Path, identity: age.Identity, old: Document, entries: Entries) -> None:
    """Puts `entries` in the place of `old`, as :func:`read` gave it, under the vault's lock; one that could not be read is
    moved aside."""
    file = folder / FILE
    if old.generation == 0 and file.exists():
        move_aside(file)
    new = Document(documents.SESSIONS, old.generation + 1, entries)
    put(file, age.seal(new.encode(), identity.recipient))
