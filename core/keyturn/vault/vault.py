"""The vault of one person: a folder of age files, and the identity that opens them while it is held."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from keyturn.model.errors import KeyringAbsent, NeedsUnlock, NeedsVault, UsageError, VaultCorrupt, VaultError
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.system.files import lock_for_change
from keyturn.vault import age, documents, key_file, recipient_file, restore, session_file
from keyturn.vault import create as vault_create
from keyturn.vault import slots as vault_slots
from keyturn.vault.create import Export
from keyturn.vault.documents import Document
from keyturn.vault.files import check_private, read_regular, restore_hint, sweep, translate_os_errors
from keyturn.vault.keyring import KeyringPort
from keyturn.vault.recipient_file import KEYRING, PASSPHRASE, RecipientFile
from keyturn.vault.restore import Restored

LOCK_FILE = "lock"
#: What is inside, and whether it opens, changes with one of these.
STATE_FILES = (recipient_file.FILE, vault_slots.IDENTITY_FILE, key_file.FILE, session_file.FILE)

Change = Callable[[dict[str, Any]], None]


class Vault:
    """Entries by name, sealed; slots that open them. Thread-safe; nothing is read before a method asks for it.

    Methods that read or change what is inside raise `NeedsVault` (there is none), `NeedsUnlock` (the identity is not
    held), `VaultCorrupt`, `VaultNewer`, and, where they write, `VaultError` (the system refused; the old state stands),
    `UnsafeFile` or `FileBusy`. A damaged file is never written over.

    age does not say who sealed a file. Who can write into the folder can put a document of theirs there, or an old one;
    the old one is noticed by `expected_generation`.

    :param folder: the vault's folder, 0700; made by :meth:`create`.
    :param keyring: the system keyring; without it the keyring slot cannot be used.
    :param expected_generation: gives the highest generation of `keys.age` that the caller knows of, 0 for none.
    :param expected_recipient: gives the recipient that the caller knows this vault by, empty for none: what is sealed
        without the identity must not be sealed to whoever replaced `recipient.txt`.
    """

    def __init__(
        self,
        folder: Path,
        keyring: KeyringPort | None = None,
        *,
        expected_generation: Callable[[], int] = int,
        expected_recipient: Callable[[], str] = str,
    ) -> None:
        self.folder = folder
        self._keyring = keyring
        self._expected_generation = expected_generation
        self._expected_recipient = expected_recipient
        self._identity_lock = threading.RLock()
        self._identity: age.Identity | None = None
        self._newest_generation, self._newest_recipient = 0, ""

    def __repr__(self) -> str:
        return f"<Vault {self.folder}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a vault is not to be pickled or copied")

    def state(self) -> VaultState:
        """What it can do now, by the files' shape alone (milliseconds, nothing is opened)."""
        if not vault_create.exists(self.folder):
            return VaultState.ABSENT
        try:
            current = self._check_files()
        except VaultError:
            return VaultState.BROKEN
        if self._identity is not None:
            return VaultState.OPEN
        return VaultState.CLOSED if KEYRING in current.slots else VaultState.LOCKED

    @property
    def is_unlocked(self) -> bool:
        """Whether this process holds the identity, whatever its files are like."""
        return self._identity is not None

    def check(self) -> None:
        """Says what is wrong with its files, as far as that shows without opening any.

        :raises VaultError: the fault that makes it `broken`, or a `recipient.txt` that is not the one it is known by.
        """
        vault_slots.require_known(self._check_files(), self._expected_recipient())

    def slots(self) -> tuple[str, ...]:
        """What opens it besides the recovery key: of `keyring` and `passphrase`."""
        return self._recipient_file().slots

    def recipient(self) -> str:
        """What to seal to: `age1…`. From the identity while that is held, else from `recipient.txt`.

        :raises VaultCorrupt: that names another recipient than the vault is known by.
        """
        identity = self._identity
        if identity is not None:
            return identity.recipient
        current = self._recipient_file()
        vault_slots.require_known(current, self._expected_recipient())
        return current.recipient

    # -- opening and closing --------------------------------------------------------------------------------------

    def create(self, slot: str, passphrase: Secret | None = None) -> Secret:
        """Makes the vault with one slot and leaves it open.

        :param slot: `keyring` or `passphrase`.
        :returns: the recovery key, for the person to keep.
        :raises VaultExists: the folder holds anything, readable or not.
        :raises KeyringAbsent: or another error of the keyring.
        """
        identity = age.Identity.generate()
        first = Document(documents.KEYS, 1, {})
        vault_create.create(
            self.folder, identity, first, vault_create.SlotChoice(slot, passphrase, self._keyring)
        )
        self._set_identity(identity, first.generation)
        return identity.reveal()

    def import_export(self, exported: Export, slot: str, passphrase: Secret | None = None) -> None:
        """Makes this vault from what :meth:`export` gave, with one slot, and leaves it open. Its recovery key is that of
        the vault it came from.

        :raises VaultExists: as :meth:`create`.
        """
        first = vault_create.SlotChoice(slot, passphrase, self._keyring)
        vault_create.create(self.folder, exported.identity, exported.keys, first)
        self._set_identity(exported.identity, exported.keys.generation)

    def export(self, passphrase: Secret, definitions: str | None = None) -> bytes:
        """All there is to take elsewhere, as one age file that `passphrase` opens (`age -d`): identity, keys, and the
        definitions that go with them."""
        return vault_create.write_export(self._require_identity(), self._keys(), definitions, passphrase)

    def unlock(self, *, passphrase: Secret | None = None, recovery_key: Secret | None = None) -> None:
        """Holds the identity from now on: by passphrase, by recovery key, or by the keyring if neither is given.

        :raises WrongPassphrase: passphrase or recovery key are not this vault's.
        :raises VaultCorrupt: `identity.age` is damaged, or `recipient.txt` names another identity.
        :raises KeyringAbsent: or another error of the keyring; also where it has no entry for this vault.
        """
        current = self._recipient_file()
        if recovery_key is not None:
            identity = vault_slots.by_recovery_key(self.folder, current, recovery_key)
        elif passphrase is not None:
            # Nobody else could have sealed an identity with it: it needs no remembering which vault this was.
            identity = vault_slots.by_passphrase(self.folder, current, passphrase)
        else:
            vault_slots.require_known(current, self._expected_recipient())
            identity = vault_slots.by_keyring(self.folder, current, self._keyring)
        self._set_identity(identity, 0)

    def forget(self) -> None:
        """Drops the identity."""
        with self._identity_lock:
            self._identity = None

    def recovery_key(self) -> Secret:
        """The identity itself, as any age program takes it."""
        return self._require_identity().reveal()

    # -- what is inside -------------------------------------------------------------------------------------------

    def key(self, name: str) -> dict[str, Any] | None:
        """An entry of `keys.age`, None if there is none."""
        return self.keys().get(name)

    def keys(self) -> dict[str, dict[str, Any]]:
        """All entries of `keys.age`, by name."""
        return self._keys().entries

    def key_names(self) -> tuple[str, ...]:
        """The names in `keys.age`, sorted."""
        return tuple(sorted(self._keys().entries))

    def generation(self) -> int:
        """The number of changes that `keys.age` has seen."""
        return self._keys().generation

    def change_keys(self, change: Change) -> int:
        """Lets `change` edit the entries of `keys.age` in place, and writes what comes out, under the vault's lock.

        Nothing is written if `change` raises, or if it changed nothing. It must do nothing slow, and no I/O.

        :returns: the generation afterwards, to be passed to `expected_generation` from now on.
        """
        identity = self._require_identity()
        with self._lock(key_file.FILE):
            before, old = key_file.read(self.folder, identity, self._min_generation())
            entries = copy.deepcopy(old.entries)
            change(entries)
            if entries == old.entries:
                return old.generation
            new = Document(documents.KEYS, old.generation + 1, entries)
            key_file.write(self.folder, identity, new, before)
            self._newest_generation = max(self._newest_generation, new.generation)
        return new.generation

    def session(self, name: str) -> dict[str, Any] | None:
        """An entry of `sessions.age`, None if there is none. A damaged cache counts as empty."""
        entry: dict[str, Any] | None = session_file.read(self.folder, self._require_identity()).entries.get(
            name
        )
        return entry

    def session_names(self) -> tuple[str, ...]:
        """The names in `sessions.age`, sorted."""
        return tuple(sorted(session_file.read(self.folder, self._require_identity()).entries))

    def change_sessions(self, change: Change) -> None:
        """As :meth:`change_keys` for `sessions.age`, a cache without generations: one that cannot be read is moved aside
        and begun anew.

        :raises VaultNewer: a later keyturn wrote it.
        """
        identity = self._require_identity()
        with self._lock(session_file.FILE):
            old = session_file.read(self.folder, identity)
            entries = copy.deepcopy(old.entries)
            change(entries)
            if entries == old.entries:
                return
            session_file.write(self.folder, identity, old, entries)

    def seal(self, data: bytes) -> bytes:
        """`data` as an age file for this vault. Needs no identity."""
        return age.seal(data, self.recipient())

    def open(self, data: bytes) -> bytes:
        """The plaintext of what :meth:`seal` made."""
        return self._require_identity().open(data, "a sealed file")

    # -- slots ----------------------------------------------------------------------------------------------------

    def set_passphrase(self, new: Secret) -> None:
        """Gives it a passphrase slot, or that slot a new passphrase. Needs the identity; takes some seconds.

        A crash leaves a slot that opens by the old or by the new passphrase.
        """
        identity = self._require_identity()
        sealed = vault_slots.seal_identity(identity, new)
        with self._lock(vault_slots.IDENTITY_FILE):
            vault_slots.put_sealed_identity(self.folder, self._own_recipient_file(identity), sealed)

    def change_passphrase(self, old: Secret, new: Secret) -> None:
        """:meth:`set_passphrase` for who knows the old one; the vault is open afterwards.

        :raises WrongPassphrase: `old` does not open it.
        """
        self.unlock(passphrase=old)
        self.set_passphrase(new)

    def reset_passphrase(self, recovery_key: Secret, new: Secret) -> None:
        """:meth:`set_passphrase` for who has the recovery key; the vault is open afterwards.

        :raises WrongPassphrase: it is not this vault's.
        """
        self.unlock(recovery_key=recovery_key)
        self.set_passphrase(new)

    def add_keyring(self) -> None:
        """Gives it the keyring slot. Needs the identity.

        :raises KeyringAbsent: or another error of the keyring.
        """
        identity = self._require_identity()
        port = vault_slots.require_keyring(self._keyring)
        with self._lock(recipient_file.FILE):
            current = self._own_recipient_file(identity)
            vault_slots.put_in_keyring(port, current, identity)
            vault_slots.write_recipient_file(self.folder, current, slots=current.with_slot(KEYRING))

    def remove_slot(self, slot: str) -> None:
        """Takes a slot away. Needs the identity.

        :raises UsageError: it is the last one, or not one of its slots.
        :raises KeyringLocked: or `KeyringDenied`: the entry could not be deleted, so the slot is still there.
        """
        identity = self._require_identity()
        with self._lock(recipient_file.FILE):
            current = self._own_recipient_file(identity)
            if slot not in current.slots:
                raise UsageError(f"removing the slot {slot}", "the vault has no such slot")
            if len(current.slots) == 1:
                raise UsageError(f"removing the slot {slot}", "it is the last one", "Add another slot first")
            if slot == KEYRING and self._keyring is not None:
                # A keyring that is gone for good must not hold the slot in place.
                with contextlib.suppress(KeyringAbsent):
                    self._keyring.delete(current.entry)
            vault_slots.remove(self.folder, current, slot)

    # -- damage ---------------------------------------------------------------------------------------------------

    def restore_newest_good(self) -> Restored | None:
        """Makes the newest generation that can be read the present one; None if the present one is sound.

        The damaged `keys.age` is moved aside, not overwritten. Needs the identity.

        :raises VaultCorrupt: no generation can be read.
        """
        identity = self._require_identity()
        with self._lock(key_file.FILE):
            restored = restore.restore_keys(self.folder, identity, self._min_generation())
            if restored is not None:
                self._newest_generation = restored.generation
        return restored

    def restore_recipient_file(self, recovery_key: Secret) -> tuple[str, ...]:
        """Writes a damaged or foreign `recipient.txt` anew from the identity, and leaves the vault open.

        The damaged one is moved aside. A passphrase slot stays if its file has the shape of one; a keyring slot stays
        only if nothing but the passphrase's file was wrong.

        :returns: the slots it has now.
        :raises WrongPassphrase: no generation of `keys.age` opens by that recovery key.
        """
        if not vault_create.exists(self.folder):
            raise _no_vault()
        identity = age.identity_from(recovery_key)
        with self._lock(recipient_file.FILE):
            new = restore.restore_recipient_file(self.folder, identity)
        self._set_identity(identity, 0)
        return new.slots

    # -- inside ---------------------------------------------------------------------------------------------------

    def _set_identity(self, identity: age.Identity, generation: int) -> None:
        with self._identity_lock:
            self._identity = identity
            # What was seen of another vault, which lay here before, says nothing of this one.
            self._newest_generation = max(
                self._newest_generation if self._newest_recipient == identity.recipient else 0, generation
            )
            self._newest_recipient = identity.recipient

    def _require_identity(self) -> age.Identity:
        with self._identity_lock:
            if self._identity is not None:
                return self._identity
        if not vault_create.exists(self.folder):
            raise _no_vault()
        raise NeedsUnlock("the vault", "it is locked", "Run `keyturn vault unlock`")

    def _recipient_file(self) -> RecipientFile:
        if not vault_create.exists(self.folder):
            raise _no_vault()
        current = recipient_file.read(self.folder)
        if current is None:
            raise VaultCorrupt(recipient_file.FILE, "it is gone", recipient_file.HINT)
        return current

    def _check_files(self) -> RecipientFile:
        """The label, once every file that the vault rests on looks like what it should be."""
        current = self._recipient_file()
        start = read_regular(self.folder / key_file.FILE)
        if PASSPHRASE in current.slots:
            vault_slots.read_sealed_identity(self.folder, current)
        if start is None or not start.startswith(age.MAGIC):
            raise VaultCorrupt(key_file.FILE, "it is gone, or no age file", restore_hint())
        return current

    def _own_recipient_file(self, identity: age.Identity) -> RecipientFile:
        current = self._recipient_file()
        if current.recipient != identity.recipient:
            raise vault_slots.wrong_recipient_error()
        return current

    def _min_generation(self) -> int:
        return max(self._newest_generation, self._expected_generation())

    def _keys(self) -> Document:
        _, document = key_file.read(self.folder, self._require_identity(), self._min_generation())
        with self._identity_lock:
            self._newest_generation = max(self._newest_generation, document.generation)
        return document

    @contextlib.contextmanager
    def _lock(self, what: str) -> Iterator[None]:
        """The vault's lock, held by one thread of one process at a time."""
        if not vault_create.exists(self.folder):
            raise _no_vault()
        check_private(self.folder)
        with (
            translate_os_errors(f"the vault's {what}"),
            lock_for_change(self.folder / LOCK_FILE, what="the vault"),
        ):
            sweep(self.folder)
            yield


def _no_vault() -> NeedsVault:
    return NeedsVault(
        "the vault", "there is none yet", "Run `keyturn vault init --slot keyring` or `--slot passphrase`"
    )
