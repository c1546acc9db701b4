"""`sessions.age`: a cache without generations that may be deleted at any time."""

from __future__ import annotations

from pathlib import Path

from keyturn.model.errors import VaultCorrupt
from keyturn.vault import age, documents
from keyturn.vault.documents import Document, Entries
from keyturn.vault.files import move_aside, put, read_regular

FILE = "sessions.age"


def read(folder: Path, identity: age.Identity) -> Document:
    """Return the cache; generation 0 if there is no readable one.

    :raises VaultNewer: if a later keyturn wrote it.
    """
    try:
        sealed = read_regular(folder / FILE)
        if sealed is not None:
            return documents.decode(identity.open(sealed, FILE), documents.SESSIONS, FILE)
    except VaultCorrupt:
        pass
    return Document(documents.SESSIONS, 0, {})


def write(folder: Path, identity: age.Identity, old: Document, entries: Entries) -> None:
    """Write `entries` as the successor of `old`, the result of :func:`read`. The caller must hold the vault's
    lock.

    An unreadable file is moved aside.
    """
    file = folder / FILE
    if old.generation == 0 and file.exists():
        move_aside(file)
    new = Document(documents.SESSIONS, old.generation + 1, entries)
    put(file, age.seal(new.encode(), identity.recipient))
