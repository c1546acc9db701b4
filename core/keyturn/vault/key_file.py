"""`keys.age` and its nine previous generations, which are shifted by one at each change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from keyturn.model.errors import VaultCorrupt, VaultError, VaultNewer
from keyturn.system.files import sync_dir
from keyturn.vault import age, documents
from keyturn.vault.documents import Document
from keyturn.vault.files import discard, read_regular, restore_hint, stage

FILE = "keys.age"
GENERATIONS = 10
"""Number of generations on disk, including the current one."""


def path(folder: Path, back: int) -> Path:
    """Return the file of the generation `back` steps before the current one."""
    return folder / (FILE if back == 0 else f"keys.{back}.age")


def read(folder: Path, identity: age.Identity, expected: int) -> tuple[bytes, Document]:
    """Return the current generation, encrypted and decrypted.

    :param expected: a generation that is known to have existed; anything older is a rollback.
    :raises VaultCorrupt: if it is missing, damaged, or older than `expected`.
    :raises VaultNewer: if a later keyturn wrote it.
    """
    sealed = read_regular(folder / FILE)
    if sealed is None:
        raise VaultCorrupt(FILE, "missing", restore_hint())
    document = documents.decode(identity.open(sealed, FILE), documents.KEYS, FILE)
    if document.generation < expected:
        why = f"an old copy: generation {document.generation}, but {expected} existed already"
        hint = "Put the newer file back, or run: keyturn vault restore (uses the newest generation here)"
        raise VaultCorrupt(FILE, why, hint)
    return sealed, document


def readable_generations(folder: Path, identity: age.Identity) -> Iterator[tuple[Path, Document]]:
    """Yield every generation that can be read, in no particular order.

    :raises VaultNewer: if a later keyturn wrote one of them.
    """
    for back in range(GENERATIONS):
        file = path(folder, back)
        try:
            sealed = read_regular(file)
        except VaultCorrupt:
            continue
        plain = None if sealed is None else identity.try_open(sealed)
        if plain is None:
            continue
        try:
            document = documents.decode(plain, documents.KEYS, file.name)
        except VaultNewer:
            raise
        except VaultError:
            continue
        yield file, document


def write(folder: Path, identity: age.Identity, document: Document, before: bytes | None) -> None:
    """Make `document` the current generation and shift the previous ones. The caller must hold the vault's
    lock.

    The new file is synced, read back and decrypted before any other file is changed. `keys.age` exists at
    every moment.

    :param before: the current `keys.age` as it was read; None if there is none.
    :raises OSError: if the system refuses; the current generation is unchanged.
    :raises VaultError: if the file read back does not decrypt to what was encrypted.
    """
    plain = document.encode()
    new = stage(folder / FILE, age.seal(plain, identity.recipient))
    old = None
    try:
        if identity.try_open(new.read_bytes()) != plain:
            raise VaultError(f"Could not write {FILE}", "the new file does not decrypt; nothing was replaced")
        if before is not None:
            old = stage(path(folder, 1), before)
            _shift_generations(folder)
            old.replace(path(folder, 1))
        new.replace(folder / FILE)
    except BaseException:
        discard(new)
        if old is not None:
            discard(old)
        raise
    sync_dir(folder)


def _shift_generations(folder: Path) -> None:
    """Free position 1. The oldest generation is dropped only if there is no gap (a crash in this function
    leaves one)."""
    gap = next((back for back in range(1, GENERATIONS) if not path(folder, back).exists()), GENERATIONS - 1)
    for back in range(gap, 1, -1):
        path(folder, back - 1).replace(path(folder, back))
