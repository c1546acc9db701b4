"""Fill and open the slots of a vault."""

from __future__ import annotations

import contextlib
from pathlib import Path

from keyturn.model.errors import (
    KeyringAbsent,
    KeyringDenied,
    UsageError,
    VaultCorrupt,
    VaultError,
    WrongPassphrase,
)
from keyturn.model.secret import Secret
from keyturn.vault import age, key_file, recipient_file
from keyturn.vault import passphrase as passphrase_seal
from keyturn.vault.files import put, read_regular
from keyturn.vault.keyring import KeyringPort
from keyturn.vault.recipient_file import PASSPHRASE, RecipientFile

IDENTITY_FILE = "identity.age"
_RESET = "Use the recovery key to set a new passphrase. Run: keyturn vault reset-passphrase"


def wrong_recipient_error() -> VaultCorrupt:
    """Return the error for a `recipient.txt` that does not match the identity: anything sealed now would be
    sealed to somebody else."""
    return VaultCorrupt(
        recipient_file.FILE,
        "names another identity than the vault's; the file was replaced",
        recipient_file.HINT,
    )


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
    hint = "Use the passphrase or the recovery key. Run: keyturn vault unlock"
    if recipient_file.KEYRING not in current.slots:
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
    return next(key_file.readable_generations(folder, identity), None) is not None


def by_passphrase(folder: Path, current: RecipientFile, passphrase: Secret) -> age.Identity:
    """Return the identity in `identity.age`.

    :raises WrongPassphrase: if the passphrase does not open it.
    :raises VaultCorrupt: if the file is damaged, or its identity is not that of `recipient.txt`.
    :raises UsageError: if the vault has no passphrase slot.
    """
    if PASSPHRASE not in current.slots:
        raise UsageError(
            "Vault has no passphrase", "", "Unlock it with the system keyring or the recovery key"
        )
    sealed = read_sealed_identity(folder, current)
    plain = passphrase_seal.unseal(sealed, passphrase, IDENTITY_FILE)
    return _require_match(age.Identity.parse(Secret(plain.decode("ascii", errors="replace"))), current)


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


def read_sealed_identity(folder: Path, current: RecipientFile) -> bytes:
    """Return the bytes of `identity.age`.

    :raises VaultCorrupt: if it is missing, damaged, or not an age file with a passphrase.
    """
    sealed = read_regular(folder / IDENTITY_FILE, passphrase_seal.IDENTITY_LIMIT)
    if sealed is None:
        raise VaultCorrupt(IDENTITY_FILE, "missing", _RESET)
    if recipient_file.digest(sealed) not in current.digests:
        raise VaultCorrupt(IDENTITY_FILE, "damaged", _RESET)
    passphrase_seal.check_header(sealed, IDENTITY_FILE, passphrase_seal.IDENTITY_LIMIT)
    return sealed


def seal_identity(identity: age.Identity, passphrase: Secret) -> bytes:
    """Return the bytes of `identity.age`. Inside is an identity file as `age-keygen` writes it, so `age -d`
    returns a usable one."""
    return passphrase_seal.seal(identity.reveal().reveal().encode("ascii") + b"\n", passphrase, IDENTITY_FILE)


def put_sealed_identity(folder: Path, current: RecipientFile, sealed: bytes) -> None:
    """Write the passphrase slot. The caller must hold the vault's lock.

    `recipient.txt` lists the digest of the present `identity.age` at every moment.
    """
    new = recipient_file.digest(sealed)
    write_recipient_file(
        folder, current, slots=current.slots, digests=(*_present_digest(folder, current), new)
    )
    put(folder / IDENTITY_FILE, sealed)
    write_recipient_file(folder, current, slots=current.with_slot(PASSPHRASE), digests=(new,))


def _present_digest(folder: Path, current: RecipientFile) -> tuple[str, ...]:
    """Return the digest of the present `identity.age`, if `recipient.txt` lists it."""
    try:
        return (recipient_file.digest(read_sealed_identity(folder, current)),)
    except VaultCorrupt:
        return ()


def write_recipient_file(
    folder: Path, current: RecipientFile, *, slots: tuple[str, ...], digests: tuple[str, ...] | None = None
) -> None:
    """Write `recipient.txt` with these slots, and these digests if given."""
    new_digests = current.digests if digests is None else digests
    put(
        folder / recipient_file.FILE,
        RecipientFile(current.recipient, current.vault_id, slots, new_digests).encode(),
    )


def _require_match(identity: age.Identity | None, current: RecipientFile) -> age.Identity:
    if identity is None:
        raise VaultCorrupt("Slot", "contains no identity", _RESET)
    if identity.recipient != current.recipient:
        raise wrong_recipient_error()
    return identity
