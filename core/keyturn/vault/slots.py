"""The slots of a vault, which open it, and `recipient.txt`, which lists them.

`recipient.txt` is the vault's plaintext header: a recipients file for `age -R`, with keyturn's notes as
comments.

::

    # keyturn vault, format 1
    # id 5f0c9a3e5b7d2468
    # slots keyring passphrase
    # identity.age sha256 9c56…
    # check 0123456789abcdef
    age1…

The notes hold no secret. `check` protects against accidental damage only; against tampering, unlocking
compares the recipient with the identity. The digest tells a damaged `identity.age` from a mistyped
passphrase, which age itself cannot. While that file is being replaced there are two digests, so that a crash
in between leaves a slot that opens.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
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
    VaultNewer,
    WrongPassphrase,
)
from keyturn.model.secret import Secret
from keyturn.vault import age
from keyturn.vault import passphrase as passphrase_seal
from keyturn.vault.files import put, read_regular, readable_generations
from keyturn.vault.keyring import KeyringPort

RECIPIENT_FILE = "recipient.txt"
IDENTITY_FILE = "identity.age"
FORMAT = 1
KEYRING = "keyring"
PASSPHRASE = "passphrase"  # noqa: S105  # the name of a slot
SLOTS = (KEYRING, PASSPHRASE)

_LIMIT = 4096
_HEAD = re.compile(r"# keyturn vault, format ([1-9][0-9]{0,5})")
_LINES = re.compile(
    r"# keyturn vault, format 1\n"
    r"# id (?P<id>[0-9a-f]{16})\n"
    r"# slots(?P<slots>(?: keyring)?(?: passphrase)?)\n"
    r"# identity\.age sha256(?P<digests>(?: [0-9a-f]{64}){0,2})\n"
    r"# check [0-9a-f]{16}\n"
    r"(?P<recipient>age1[02-9ac-hj-np-z]{58})\n"
)
_CHECK = re.compile(r"^# check ([0-9a-f]{16})\n", re.MULTILINE)
_RESET = ("Use the recovery key to set a new passphrase. ", RUN, Remedy("vault reset-passphrase"))
RECIPIENT_HINT = (RUN, Remedy("vault restore", flag="--recovery-key-fd N"), ". Nothing was overwritten")


@dataclass(frozen=True, slots=True)
class RecipientFile:
    """The contents of `recipient.txt`."""

    recipient: str
    vault_id: str
    """Random, so that two folders with the same identity have separate keyring entries."""
    slots: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    """SHA-256 of `identity.age`: one, or the old and the new while it is being replaced."""

    @property
    def entry(self) -> str:
        """The name of this vault's entry in the system keyring."""
        return f"{self.recipient}.{self.vault_id}"

    def encode(self) -> bytes:
        """Return the file's bytes."""
        notes = (
            f"# keyturn vault, format {FORMAT}\n# id {self.vault_id}\n"
            f"{' '.join(('# slots', *self.slots))}\n"
            f"{' '.join(('# identity.age sha256', *self.digests))}\n"
        )
        last = f"{self.recipient}\n"
        return f"{notes}# check {_checksum(notes + last)}\n{last}".encode("ascii")


def new_id() -> str:
    """Return a new random vault ID."""
    return secrets.token_hex(8)


def digest(data: bytes) -> str:
    """Return the SHA-256 of `identity.age` as the notes record it."""
    return hashlib.sha256(data).hexdigest()


def parse(data: bytes) -> RecipientFile:
    """Parse `data`.

    :raises VaultNewer: if a later keyturn wrote it.
    :raises VaultCorrupt: if it differs from what :meth:`RecipientFile.encode` writes.
    """
    text = data.decode("ascii", errors="replace")
    check = _CHECK.search(text)
    is_intact = check is not None and _checksum(text[: check.start()] + text[check.end() :]) == check[1]
    head = _HEAD.match(text)
    if is_intact and head is not None and int(head[1]) > FORMAT:
        raise VaultNewer(
            "Vault",
            f"written by a newer keyturn (format {head[1]}, this one supports {FORMAT})",
            "Upgrade keyturn",
        )
    lines = _LINES.fullmatch(text)
    if not is_intact or lines is None or not age.is_recipient(lines["recipient"]):
        raise VaultCorrupt(RECIPIENT_FILE, "damaged", RECIPIENT_HINT)
    return RecipientFile(
        lines["recipient"], lines["id"], tuple(lines["slots"].split()), tuple(lines["digests"].split())
    )


def read_recipient_file(folder: Path) -> RecipientFile | None:
    """Return the recipient file of the vault in `folder`; None if there is none. Raises as :func:`parse`."""
    data = read_regular(folder / RECIPIENT_FILE, _LIMIT)
    return None if data is None else parse(data)


def write_recipient_file(folder: Path, new: RecipientFile) -> None:
    """Replace the recipient file of the vault in `folder`."""
    put(folder / RECIPIENT_FILE, new.encode())


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def wrong_recipient_error() -> VaultCorrupt:
    """Return the error for a `recipient.txt` that does not match the identity: anything sealed now would be
    sealed to somebody else."""
    return VaultCorrupt(
        RECIPIENT_FILE, "names another identity than the vault's; the file was replaced", RECIPIENT_HINT
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
    if digest(sealed) not in current.digests:
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
    new = digest(sealed)
    write_recipient_file(folder, replace(current, digests=(*_present_digest(folder, current), new)))
    put(folder / IDENTITY_FILE, sealed)
    slots = tuple(name for name in SLOTS if name in current.slots or name == PASSPHRASE)
    write_recipient_file(folder, replace(current, slots=slots, digests=(new,)))


def _present_digest(folder: Path, current: RecipientFile) -> tuple[str, ...]:
    """Return the digest of the present `identity.age`, if `recipient.txt` lists it."""
    try:
        return (digest(read_sealed_identity(folder, current)),)
    except VaultCorrupt:
        return ()


def _require_match(identity: age.Identity | None, current: RecipientFile) -> age.Identity:
    if identity is None:
        raise VaultCorrupt("Slot", "contains no identity", _RESET)
    if identity.recipient != current.recipient:
        raise wrong_recipient_error()
    return identity
