"""Creation of a vault, new or from an export: complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.model.errors import THEN_RUN, Remedy, UsageError, VaultCorrupt, VaultExists, WrongPassphrase
from keyturn.model.secret import Secret
from keyturn.system.files import sync_dir
from keyturn.vault import age, documents, files, slots
from keyturn.vault import passphrase as passphrase_seal
from keyturn.vault.documents import Document
from keyturn.vault.files import RecipientFile
from keyturn.vault.keyring import KeyringPort
from keyturn.vault.slots import KEYRING, PASSPHRASE


@dataclass(frozen=True, slots=True)
class Export:
    """The contents of an export."""

    identity: age.Identity
    keys: Document
    definitions: str | None


_EXPORT_NAME = "the export"
_EXPORT_HINT = ("Check that the file is complete and from `", Remedy("vault export"), "`")


@dataclass(frozen=True, slots=True)
class SlotChoice:
    """The first slot of a new vault."""

    name: str
    passphrase: Secret | None
    keyring: KeyringPort | None

    def check(self) -> None:
        """Check the choice before anything is created.

        :raises UsageError: if there is no such slot, the passphrase slot has no passphrase, or another slot
            has one.
        :raises KeyringAbsent: if the slot is `keyring` and there is no keyring.
        """
        if self.name not in slots.SLOTS:
            raise UsageError(
                "Could not create the vault", f"unknown slot {self.name}", "Use keyring or passphrase"
            )
        if (self.name == PASSPHRASE) != (self.passphrase is not None):
            raise UsageError(
                "Could not create the vault",
                "the passphrase slot needs a passphrase, the keyring slot takes none",
            )
        if self.name == KEYRING:
            slots.require_keyring(self.keyring)


def exists(folder: Path) -> bool:
    """Return True if there is a vault or parts of one: any file in the folder except the lock.

    A folder that cannot be listed counts as a vault.
    """
    try:
        return any(entry.name != "lock" for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def create(folder: Path, identity: age.Identity, first: Document, slot: SlotChoice) -> None:
    """Create the vault in a temporary folder beside `folder`, then rename it into place.

    :raises VaultExists: if `folder` holds anything.
    :raises VaultError: if the system or the keyring refuses; nothing is left then.
    """
    slot.check()
    _require_absent(folder)
    sealed = None if slot.passphrase is None else slots.seal_identity(identity, slot.passphrase)
    digests = () if sealed is None else (files.identity_digest(sealed),)
    new = RecipientFile(identity.recipient, files.new_vault_id(), (slot.name,), digests)
    files.make_private(folder.parent)
    with files.vault_write_errors("the new vault"):
        building = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
        building.mkdir(mode=0o700)
        building.chmod(0o700)
        try:
            files.write_keys(building, identity, first, None)
            files.write_generation(building, identity.recipient, first.generation)
            if sealed is not None:
                files.put(building / files.IDENTITY_FILE, sealed)
            files.write_recipient_file(building, new)
            _move_into_place(building, folder, identity, new, slot)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        sync_dir(folder.parent)


def _move_into_place(
    building: Path, folder: Path, identity: age.Identity, new: RecipientFile, slot: SlotChoice
) -> None:
    """Store the keyring entry, then rename; the rename fails if another process was faster."""
    port = slot.keyring if slot.name == KEYRING else None
    if port is not None:
        slots.put_in_keyring(port, new, identity)
    try:
        building.rename(folder)
    except OSError:
        if port is not None:
            port.delete(new.entry)
        _require_absent(folder)
        raise


def _require_absent(folder: Path) -> None:
    if folder.is_symlink() and not folder.exists():
        raise VaultExists(
            "Could not create the vault", f"{folder} is a dangling symbolic link", "Remove or fix the link"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VaultExists(
            "Could not create the vault",
            f"a vault already exists in {folder}",
            ("Use it, or move the folder away. If it does not open, ", THEN_RUN, Remedy("vault status")),
        )


def write_export(
    identity: age.Identity, keys: Document, definitions: str | None, passphrase: Secret
) -> bytes:
    """Return identity, keys and definitions as one age file that `passphrase` opens. Takes a few seconds."""
    document = replace(
        keys, kind=documents.EXPORT, identity=identity.reveal().reveal(), definitions=definitions
    )
    return passphrase_seal.seal(document.encode(), passphrase, _EXPORT_NAME)


def read_export(exported: bytes, passphrase: Secret) -> Export:
    """Return the identity, keys and definitions of a file that :func:`write_export` wrote.

    :raises WrongPassphrase: if the passphrase does not open it.
    :raises VaultCorrupt: if it is not an export, or is damaged.
    :raises VaultNewer: if a later keyturn wrote it.
    """
    try:
        plain = passphrase_seal.unseal(exported, passphrase, _EXPORT_NAME, passphrase_seal.EXPORT_LIMIT)
        document = documents.decode(plain, documents.EXPORT, _EXPORT_NAME)
    except VaultCorrupt as error:
        raise VaultCorrupt(error.what, error.why, _EXPORT_HINT) from None
    except WrongPassphrase as error:
        raise WrongPassphrase(
            error.what, error.why, "Use the passphrase chosen at export, not the vault's"
        ) from None
    identity = age.Identity.parse(Secret(document.identity or ""))
    if identity is None:
        raise VaultCorrupt(_EXPORT_NAME, "contains no identity", _EXPORT_HINT)
    keys = replace(document, kind=documents.KEYS, identity=None, definitions=None)
    return Export(identity, keys, document.definitions)
