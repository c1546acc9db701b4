"""Repair of a damaged vault (`vault restore`): restore whatever can be read, and move damaged files aside."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.model.errors import VaultCorrupt
from keyturn.vault import age, files, passphrase, slots
from keyturn.vault.documents import believable, has_successor
from keyturn.vault.files import RecipientFile
from keyturn.vault.slots import PASSPHRASE


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of :func:`restore_keys`."""

    generation: int
    """The new generation number, higher than any before."""
    origin: int
    """The generation that the contents come from."""
    file: str
    """The file that held it."""
    newest: int
    """The highest generation known to have existed; changes after `origin` are lost."""
    aside: str | None
    """The new name of the damaged `keys.age`; None if there was none, or it was readable but too old."""


def restore_keys(folder: Path, identity: age.Identity, floor: int) -> Restored | None:
    """Make the newest readable generation the current one. The caller must hold the vault's lock.

    A damaged `keys.age` is moved aside.

    :param floor: the lowest acceptable generation.
    :returns: None if the current generation is readable and not older than `floor`.
    :raises VaultCorrupt: if no generation can be read.
    :raises VaultNewer: if a later keyturn wrote one of them.
    """
    with contextlib.suppress(VaultCorrupt):
        _, current = files.read_keys(folder, identity, floor)
        if has_successor(current.generation):
            return None
    # A forged generation that is too high to be believed must not win over a genuine one.
    readable = [
        pair for pair in files.readable_generations(folder, identity) if believable(pair[1].generation)
    ]
    if not readable:
        raise VaultCorrupt(
            files.KEYS_FILE, "no generation can be read", "Restore the vault folder from a backup"
        )
    file, origin = max(readable, key=lambda pair: pair[1].generation)
    present = folder / files.KEYS_FILE
    before, aside = None, None
    if present in (pair for pair, _ in readable):
        before = files.read_regular(present)
    elif present.exists():
        aside = files.move_aside(present).name
    number = max(floor, origin.generation) + 1
    files.write_keys(folder, identity, replace(origin, generation=number), before)
    return Restored(number, origin.generation, file.name, max(floor, origin.generation), aside)


def restore_recipient_file(folder: Path, identity: age.Identity) -> RecipientFile:
    """Rewrite `recipient.txt` for `identity` unless it is valid. The caller must hold the vault's lock.

    The old file is moved aside.

    :raises WrongPassphrase: if no generation of `keys.age` opens with that identity.
    :raises VaultNewer: if a later keyturn wrote it.
    """
    if next(files.readable_generations(folder, identity), None) is None:
        raise slots.wrong_recovery_key_error()
    old = None
    with contextlib.suppress(VaultCorrupt):
        old = files.read_recipient_file(folder)
    if old is not None and old.recipient == identity.recipient:
        new = _without_damaged_slot(folder, old)
        if new == old:
            return old
    else:
        new = _rebuild(folder, identity)
    if (folder / files.RECIPIENT_FILE).exists():
        files.move_aside(folder / files.RECIPIENT_FILE)
    files.write_recipient_file(folder, new)
    return new


def _without_damaged_slot(folder: Path, old: RecipientFile) -> RecipientFile:
    """Return `old` without the passphrase slot if `identity.age` is missing or damaged. The vault ID stays,
    because it names the keyring entry."""
    if PASSPHRASE not in old.slots:
        return old
    try:
        files.read_sealed_identity(folder, old)
    except VaultCorrupt:
        return replace(old, slots=tuple(name for name in old.slots if name != PASSPHRASE), digests=())
    return old


def _rebuild(folder: Path, identity: age.Identity) -> RecipientFile:
    """Return a recipient file for `identity`, with a passphrase slot if `identity.age` has a valid header."""
    new = RecipientFile(identity.recipient, files.new_vault_id())
    with contextlib.suppress(VaultCorrupt):
        sealed = files.read_regular(folder / files.IDENTITY_FILE, passphrase.IDENTITY_LIMIT)
        if sealed is not None:
            passphrase.check_header(sealed, files.IDENTITY_FILE, passphrase.IDENTITY_LIMIT)
            return replace(new, slots=(PASSPHRASE,), digests=(files.identity_digest(sealed),))
    return new
