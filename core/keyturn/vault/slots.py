"""The slots of a vault: the system keyring and a passphrase. Each holds the identity that opens the vault.

The recovery key, which the user keeps, is that identity itself.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.model.errors import (
    RUN,
    KeyringAbsent,
    KeyringDenied,
    Remedy,
    UsageError,
    VaultCorrupt,
    VaultError,
    WrongPassphrase,
)
from keyturn.model.secret import Secret
from keyturn.vault import age
from keyturn.vault import passphrase as passphrase_seal
from keyturn.vault.files import (
    IDENTITY_FILE,
    RecipientFile,
    identity_digest,
    put,
    read_sealed_identity,
    readable_generations,
    write_recipient_file,
    wrong_recipient_error,
)
from keyturn.vault.keyring import KeyringPort

KEYRING = "keyring"
PASSPHRASE = "passphrase"  # noqa: S105  # the name of a slot
SLOTS = (KEYRING, PASSPHRASE)


def require_known(current: RecipientFile, known_as: str) -> None:
    """Check that `current` names the recipient by which the vault is known; an empty `known_as` accepts any.

    :raises VaultCorrupt: if it names another one.
    """
    if known_as and current.recipient != known_as:
        raise wrong_recipient_error()


def require_keyring(port: KeyringPort | None) -> KeyringPort:
    """Return the port.

    :raises KeyringAbsent: if there is none.
    """
    if port is None:
        raise KeyringAbsent("System keyring", "not available here", "Use the passphrase or the recovery key")
    return port


def by_keyring(folder: Path, current: RecipientFile, port: KeyringPort | None) -> age.Identity:
    """Return the identity that the keyring stores for this vault.

    :raises KeyringAbsent: if the vault has no keyring slot or the keyring has no entry for it. Other errors
        of the port are passed on.
    :raises VaultCorrupt: if the entry is not the identity of `recipient.txt`; the error says which of the two
        is wrong.
    """
    hint = ("Use the passphrase or the recovery key. ", RUN, Remedy("vault unlock"))
    if KEYRING not in current.slots:
        raise KeyringAbsent("System keyring", "this vault has no keyring slot", hint)
    stored = require_keyring(port).get(current.entry)
    if stored is None:
        raise KeyringAbsent("System keyring", "unlocked, but has no entry for this vault", hint)
    identity = age.Identity.parse(stored)
    if identity is not None and identity.recipient != current.recipient and not _opens_keys(folder, identity):
        why = "its entry for this vault is another identity, which opens no file here"
        raise VaultCorrupt("System keyring", why, hint)
    return _require_match(identity, current)


def put_in_keyring(port: KeyringPort, current: RecipientFile, identity: age.Identity) -> None:
    """Store the identity in the keyring, and read it back on a separate connection.

    The second connection is needed because a keyring that stores it for one connection only, or a service
    that exits a moment later, has not stored it.

    :raises KeyringDenied: if it returns another value. Other errors of the port are passed on. The entry is
        deleted again.
    """
    try:
        port.set(current.entry, identity.reveal())
        if port.get(current.entry) == identity.reveal():
            return
        raise KeyringDenied(
            "System keyring",
            "it returned another value than was stored; the slot was not added",
            "Try again, or use a passphrase",
        )
    except BaseException:
        with contextlib.suppress(VaultError):
            port.delete(current.entry)
        raise


def _opens_keys(folder: Path, identity: age.Identity) -> bool:
    return next(readable_generations(folder, identity), None) is not None


@dataclass(frozen=True, slots=True)
class OutdatedSeal:
    """An `identity.age` that its passphrase opened, with another work factor than new files have."""

    digest: str
    """As :func:`keyturn.vault.files.identity_digest` returns it."""
    form: Secret
    """The Unicode form of the passphrase that opened it. It is kept, so that `age -d` opens the new file with
    the same keys."""


def by_passphrase(
    folder: Path, current: RecipientFile, passphrase: Secret, cancelled: threading.Event | None = None
) -> tuple[age.Identity, OutdatedSeal | None]:
    """Return the identity in `identity.age`, and the seal of that file if it is to be renewed.

    :param cancelled: set by another thread to end the work.
    :raises WrongPassphrase: if the passphrase does not open it.
    :raises VaultCorrupt: if the file is damaged, or its identity is not that of `recipient.txt`.
    :raises UsageError: if the vault has no passphrase slot.
    """
    if PASSPHRASE not in current.slots:
        raise UsageError(
            "Vault has no passphrase", "", "Unlock it with the system keyring or the recovery key"
        )
    sealed = read_sealed_identity(folder, current)
    try:
        opened = passphrase_seal.open_sealed(sealed, passphrase, IDENTITY_FILE, cancelled=cancelled)
    except (VaultCorrupt, WrongPassphrase):
        raise
    except VaultError as error:
        error.add_hint("The recovery key opens the vault without scrypt")
        raise
    text = Secret(opened.plain.decode("ascii", errors="replace"))
    outdated = OutdatedSeal(identity_digest(sealed), opened.form) if opened.is_outdated else None
    return _require_match(age.Identity.parse(text), current), outdated


def by_recovery_key(folder: Path, current: RecipientFile, recovery_key: Secret) -> age.Identity:
    """Return the identity that the user typed.

    A key that opens the vault's documents is right; a `recipient.txt` that contradicts it is wrong.

    :raises WrongPassphrase: if it is not a recovery key, or belongs to another vault.
    :raises VaultCorrupt: if it opens `keys.age`, but `recipient.txt` names another identity.
    """
    identity = age.identity_from(recovery_key)
    if identity.recipient != current.recipient:
        if _opens_keys(folder, identity):
            raise wrong_recipient_error()
        raise wrong_recovery_key_error()
    return identity


def wrong_recovery_key_error() -> WrongPassphrase:
    """Return the error for the recovery key of another vault."""
    return WrongPassphrase(
        "Recovery key", "belongs to another vault", "Use the one that was shown for this vault"
    )


def seal_identity(identity: age.Identity, passphrase: Secret) -> bytes:
    """Return the bytes of `identity.age`. Inside is an identity file as `age-keygen` writes it, so `age -d`
    returns a usable one."""
    return passphrase_seal.seal(_identity_text(identity), passphrase, IDENTITY_FILE)


def renew_seal(identity: age.Identity, outdated: OutdatedSeal) -> bytes:
    """Return the bytes of an `identity.age` that the passphrase of `outdated` opens."""
    return passphrase_seal.seal_unchanged(_identity_text(identity), outdated.form, IDENTITY_FILE)


def _identity_text(identity: age.Identity) -> bytes:
    return identity.reveal().reveal().encode("ascii") + b"\n"


def put_sealed_identity(folder: Path, current: RecipientFile, sealed: bytes) -> None:
    """Write the passphrase slot. The caller must hold the vault's lock.

    `recipient.txt` lists the digest of the present `identity.age` at every moment.
    """
    new = identity_digest(sealed)
    write_recipient_file(folder, replace(current, digests=(*_present_digest(folder, current), new)))
    put(folder / IDENTITY_FILE, sealed)
    slots = tuple(name for name in SLOTS if name in current.slots or name == PASSPHRASE)
    write_recipient_file(folder, replace(current, slots=slots, digests=(new,)))


def _present_digest(folder: Path, current: RecipientFile) -> tuple[str, ...]:
    """Return the digest of the present `identity.age`, if `recipient.txt` lists it."""
    try:
        return (identity_digest(read_sealed_identity(folder, current)),)
    except VaultCorrupt:
        return ()


def _require_match(identity: age.Identity | None, current: RecipientFile) -> age.Identity:
    if identity is None:
        raise VaultCorrupt("Slot", "contains no identity", passphrase_seal.RESET_HINT)
    if identity.recipient != current.recipient:
        raise wrong_recipient_error()
    return identity
