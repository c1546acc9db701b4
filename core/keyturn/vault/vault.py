"""The vault of one user: a folder of age files, and the identity that opens them while it is unlocked."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from keyturn.model.errors import (
    RUN,
    KeyturnError,
    NeedsUnlock,
    NeedsVault,
    Remedy,
    VaultCorrupt,
    VaultError,
    VaultReadOnly,
)
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.system.files import lock_for_change
from keyturn.system.temp_files import remove_under_lock
from keyturn.vault import age, documents, files, restore
from keyturn.vault import create as vault_create
from keyturn.vault import slots as vault_slots
from keyturn.vault.create import Export
from keyturn.vault.documents import Document
from keyturn.vault.files import RECIPIENT_FILE, RecipientFile
from keyturn.vault.keyring import KeyringPort
from keyturn.vault.restore import Restored
from keyturn.vault.slots import KEYRING, PASSPHRASE, OutdatedSeal

LOCK_FILE = "lock"
#: The contents of the vault, and how it opens, depend on these files.
STATE_FILES = (RECIPIENT_FILE, files.IDENTITY_FILE, files.KEYS_FILE, files.SESSIONS_FILE)

Change = Callable[[dict[str, Any]], None]


class Vault:
    """A vault: encrypted entries by name, and slots that open them. Thread-safe; files are read at method
    calls only.

    Methods that read or change the contents raise `NeedsVault` (there is none), `NeedsUnlock` (no identity in
    memory), `VaultCorrupt`, `VaultNewer` and, if they write, `VaultError` (the system refused; the old state
    is unchanged), `UnsafeFile` or `FileBusy`. A damaged file is never overwritten.

    age does not authenticate the sender of a file. A user who can write to the folder can put another
    document there, or an old one. An old one is detected by the generations that `generation.txt` and
    `expected_generation` know. Another document is read, and the previous ones stay beside it.

    :param folder: the vault's folder, mode 0700; created by :meth:`create`.
    :param keyring: the system keyring; without it the keyring slot cannot be used.
    :param expected_generation: returns the highest generation of `keys.age` known to the caller, 0 for none.
    :param expected_recipient: returns the recipient by which the caller knows this vault, empty for none. It
        is needed because data sealed without the identity must not be sealed to the author of a replaced
        `recipient.txt`.
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
        self._unsaved_sessions: tuple[int, dict[str, Any]] | None = None
        self._newest_generation, self._newest_recipient = 0, ""

    def __repr__(self) -> str:
        return f"<Vault {self.folder}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a vault cannot be pickled or copied")

    def state(self) -> VaultState:
        """Return the vault's state, from the files' form alone (takes milliseconds, nothing is decrypted)."""
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
        """True if this process holds the identity, regardless of the files."""
        return self._identity is not None

    def check(self) -> None:
        """Check the files, as far as possible without decrypting any.

        :raises VaultError: for the fault that makes the state `broken`, or if `recipient.txt` is not the one
            by which the vault is known.
        """
        vault_slots.require_known(self._recipient_file(), self._expected_recipient())
        self._check_files()

    def slots(self) -> tuple[str, ...]:
        """Return the slots besides the recovery key: `keyring`, `passphrase`, or both."""
        return self._recipient_file().slots

    def recipient(self) -> str:
        """Return the recipient to seal to (`age1…`): of the identity while unlocked, otherwise of
        `recipient.txt`.

        :raises VaultCorrupt: if `recipient.txt` names another recipient than the one by which the vault is
            known.
        """
        identity = self._identity
        if identity is not None:
            return identity.recipient
        current = self._recipient_file()
        vault_slots.require_known(current, self._expected_recipient())
        return current.recipient

    # -- opening and locking ---------------------------------------------------------------------------------

    def create(self, slot: str, passphrase: Secret | None = None) -> Secret:
        """Create the vault with one slot and leave it unlocked.

        :param slot: `keyring` or `passphrase`.
        :returns: the recovery key, for the user to store.
        :raises VaultExists: if the folder holds anything, readable or not.
        :raises KeyringAbsent: if there is no keyring. Other errors of the keyring are passed on.
        """
        identity = age.Identity.generate()
        first = Document(documents.KEYS, 1, {})
        vault_create.create(
            self.folder, identity, first, vault_create.SlotChoice(slot, passphrase, self._keyring)
        )
        self._set_identity(identity, first.generation)
        return identity.reveal()

    def import_export(self, exported: Export, slot: str, passphrase: Secret | None = None) -> None:
        """Create this vault from an export, with one slot, and leave it unlocked. The recovery key is that of
        the exported vault.

        :raises VaultExists: see :meth:`create`.
        """
        first = vault_create.SlotChoice(slot, passphrase, self._keyring)
        vault_create.create(self.folder, exported.identity, exported.keys, first)
        self._set_identity(exported.identity, exported.keys.generation)

    def export(self, passphrase: Secret, definitions: str | None = None) -> bytes:
        """Return identity, keys and their definitions as one age file that `passphrase` opens (`age -d`)."""
        return vault_create.write_export(self._require_identity(), self._keys(), definitions, passphrase)

    def unlock(
        self,
        *,
        passphrase: Secret | None = None,
        recovery_key: Secret | None = None,
        cancelled: threading.Event | None = None,
    ) -> OutdatedSeal | None:
        """Load the identity into memory with the passphrase or the recovery key, or from the keyring if
        neither is given.

        :param cancelled: set by another thread to end the work of the passphrase.
        :returns: the seal of the passphrase slot if :meth:`renew_seal` should renew it.
        :raises WaitCancelled: if it was cancelled.
        :raises WrongPassphrase: if the passphrase or the recovery key is not this vault's.
        :raises VaultCorrupt: if `identity.age` is damaged, or `recipient.txt` names another identity.
        :raises KeyringAbsent: if there is no keyring, or no entry for this vault. Other errors of the keyring
            are passed on.
        """
        current, outdated = self._recipient_file(), None
        if recovery_key is not None:
            identity = vault_slots.by_recovery_key(self.folder, current, recovery_key)
        elif passphrase is not None:
            # The recipient by which the vault is known is not checked, because only its owner can seal an
            # identity with this passphrase.
            try:
                identity, outdated = vault_slots.by_passphrase(self.folder, current, passphrase, cancelled)
            except VaultCorrupt:
                # The wrong file of the two would be called damaged.
                vault_slots.require_known(current, self._expected_recipient())
                raise
        else:
            vault_slots.require_known(current, self._expected_recipient())
            identity = vault_slots.by_keyring(self.folder, current, self._keyring)
        self._set_identity(identity, 0)
        return outdated

    def forget(self) -> None:
        """Drop the identity from memory."""
        with self._identity_lock:
            self._identity = None
            self._unsaved_sessions = None

    def recovery_key(self) -> Secret:
        """Return the identity itself, as any age program accepts it."""
        return self._require_identity().reveal()

    # -- contents --------------------------------------------------------------------------------------------

    def key(self, name: str) -> dict[str, Any] | None:
        """Return an entry of `keys.age`; None if there is none."""
        return self.keys().get(name)

    def keys(self) -> dict[str, dict[str, Any]]:
        """Return all entries of `keys.age`, by name."""
        return self._keys().entries

    def key_names(self) -> tuple[str, ...]:
        """Return the names in `keys.age`, sorted."""
        return tuple(sorted(self._keys().entries))

    def generation(self) -> int:
        """Return the number of changes to `keys.age`."""
        return self._keys().generation

    @property
    def newest_generation(self) -> int:
        """The highest generation that this process knows of; 0 if none. Reads no file."""
        return self._newest_generation

    def expect_generation(self, generation: int) -> None:
        """Refuse an older `keys.age` than `generation` from now on. Call it while the vault is unlocked."""
        with self._identity_lock:
            self._newest_generation = max(self._newest_generation, documents.believable(generation))

    def record_generation(self) -> None:
        """Raise the mark in the vault's folder to the current generation, because a version of keyturn
        without marks may have changed the keys. A system that refuses is ignored."""
        identity = self._require_identity()
        generation = self.generation()
        if files.read_generation(self.folder, identity.recipient) < generation:
            with contextlib.suppress(KeyturnError), self._lock(files.GENERATION_FILE):
                files.write_generation(self.folder, identity.recipient, self.generation())

    def change_keys(self, change: Change) -> int:
        """Let `change` edit the entries of `keys.age` in place, and write the result, under the vault's lock.

        Nothing is written if `change` raises or changes nothing. It must be fast and do no I/O.

        :returns: the new generation, which `expected_generation` should return from now on.
        """
        identity = self._require_identity()
        with self._lock(files.KEYS_FILE):
            before, old = files.read_keys(self.folder, identity, self._min_generation())
            entries = copy.deepcopy(old.entries)
            change(entries)
            if entries == old.entries:
                return old.generation
            if not documents.has_successor(old.generation):
                raise VaultCorrupt(files.KEYS_FILE, "its generation has no successor", age.RESTORE_HINT)
            new = replace(old, generation=old.generation + 1, entries=entries)
            files.write_keys(self.folder, identity, new, before)
            files.write_generation(self.folder, identity.recipient, new.generation)
            self.expect_generation(new.generation)
        return new.generation

    def session(self, name: str) -> dict[str, Any] | None:
        """Return an entry of `sessions.age`; None if there is none. A damaged cache counts as empty."""
        with self._identity_lock:
            stored = files.read_sessions(self.folder, self._require_identity())
            entry: dict[str, Any] | None = self._sessions(stored).get(name)
        return entry

    def sessions(self) -> dict[str, dict[str, Any]]:
        """Return all entries of `sessions.age`, by name. A damaged cache counts as empty."""
        with self._identity_lock:
            return dict(self._sessions(files.read_sessions(self.folder, self._require_identity())))

    def change_sessions(self, change: Change, *, must_save: bool = False) -> None:
        """Let `change` edit the entries of `sessions.age`; see :meth:`change_keys`.

        The file is a cache without generations: an unreadable one, or one that a later keyturn wrote, is
        moved aside and started again. If the folder is read-only, this process keeps the changed entries in
        memory, because credentials do not depend on the cache.

        :param must_save: True if the change must reach the file: a read-only folder is then an error.
        """
        identity = self._require_identity()
        try:
            with self._lock(files.SESSIONS_FILE):
                stored = files.read_sessions(self.folder, identity)
                entries = self._changed_sessions(stored, change)
                if entries != stored.entries:
                    files.write_sessions(self.folder, identity, stored, entries)
                self._unsaved_sessions = None
        except VaultReadOnly:
            if must_save:
                raise
            with self._identity_lock:
                if self._identity is not None:  # a vault that was locked meanwhile keeps nothing in memory
                    stored = files.read_sessions(self.folder, identity)
                    self._unsaved_sessions = (stored.generation, self._changed_sessions(stored, change))

    @property
    def has_unsaved_sessions(self) -> bool:
        """True if sessions are only in this process's memory."""
        return self._unsaved_sessions is not None

    def _sessions(self, stored: Document) -> dict[str, Any]:
        """Return the sessions of the cache, or those in memory if the cache has not changed since."""
        if self._unsaved_sessions is not None and self._unsaved_sessions[0] == stored.generation:
            return self._unsaved_sessions[1]
        return stored.entries

    def _changed_sessions(self, stored: Document, change: Change) -> dict[str, Any]:
        entries = copy.deepcopy(self._sessions(stored))
        change(entries)
        return entries

    def seal(self, data: bytes) -> bytes:
        """Encrypt `data` for this vault. Does not need the identity."""
        return age.seal(data, self.recipient())

    def open(self, data: bytes) -> bytes:
        """Decrypt the result of :meth:`seal`."""
        return self._require_identity().open(data, "Encrypted file")

    # -- slots -----------------------------------------------------------------------------------------------

    def set_passphrase(self, new: Secret) -> None:
        """Add a passphrase slot, or change its passphrase. Needs the identity; takes a few seconds.

        After a crash the slot opens with the old or the new passphrase.
        """
        identity = self._require_identity()
        sealed = vault_slots.seal_identity(identity, new)
        with self._lock(files.IDENTITY_FILE):
            vault_slots.put_sealed_identity(self.folder, self._own_recipient_file(identity), sealed)

    def renew_seal(self, outdated: OutdatedSeal) -> None:
        """Seal the passphrase slot anew, with the same passphrase and the work factor of new files. Needs the
        identity; takes about a second of CPU time. Nothing is written if the slot has changed since.

        After a crash the slot opens with the same passphrase.
        """
        identity = self._require_identity()
        if not os.access(self.folder, os.W_OK):
            return
        new = vault_slots.renew_seal(identity, outdated)
        with self._lock(files.IDENTITY_FILE):
            current = self._own_recipient_file(identity)
            if files.identity_digest(files.read_sealed_identity(self.folder, current)) == outdated.digest:
                vault_slots.put_sealed_identity(self.folder, current, new)

    def reset_passphrase(self, recovery_key: Secret, new: Secret) -> None:
        """Set a new passphrase with the recovery key; leaves the vault unlocked.

        :raises WrongPassphrase: if the recovery key is not this vault's.
        """
        self.unlock(recovery_key=recovery_key)
        self.set_passphrase(new)

    # -- repair ----------------------------------------------------------------------------------------------

    def restore_newest_good(self) -> Restored | None:
        """Make the newest readable generation the current one; return None if the current one is readable.
        Needs the identity.

        A damaged `keys.age` is moved aside, not overwritten.

        :raises VaultCorrupt: if no generation can be read.
        """
        identity = self._require_identity()
        with self._lock(files.KEYS_FILE):
            restored = restore.restore_keys(self.folder, identity, self._min_generation())
            if restored is not None:
                files.write_generation(self.folder, identity.recipient, restored.generation)
                self._newest_generation = restored.generation
        return restored

    def restore_recipient_file(self, recovery_key: Secret) -> tuple[str, ...]:
        """Rewrite a damaged or foreign `recipient.txt` from the identity, and leave the vault unlocked.

        The damaged file is moved aside. A passphrase slot stays if `identity.age` has a valid header. A
        keyring slot stays only if nothing but `identity.age` was wrong.

        :returns: the remaining slots.
        :raises WrongPassphrase: if no generation of `keys.age` opens with that recovery key.
        """
        if not vault_create.exists(self.folder):
            raise _no_vault()
        identity = age.identity_from(recovery_key)
        with self._lock(RECIPIENT_FILE):
            new = restore.restore_recipient_file(self.folder, identity)
        self._set_identity(identity, 0)
        return new.slots

    # -- private ---------------------------------------------------------------------------------------------

    def _set_identity(self, identity: age.Identity, generation: int) -> None:
        with self._identity_lock:
            self._identity = identity
            # A generation of another vault, which was in this folder before, is not valid for this one.
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
        raise NeedsUnlock("Vault is locked", "", Remedy("vault unlock"))

    def _recipient_file(self) -> RecipientFile:
        if not vault_create.exists(self.folder):
            raise _no_vault()
        current = files.read_recipient_file(self.folder)
        if current is None:
            raise VaultCorrupt(RECIPIENT_FILE, "missing", files.RECIPIENT_HINT)
        return current

    def _check_files(self) -> RecipientFile:
        """Return the recipient file, after a check that every required file has the right form."""
        current = self._recipient_file()
        start = files.read_regular(self.folder / files.KEYS_FILE)
        if PASSPHRASE in current.slots:
            files.read_sealed_identity(self.folder, current)
        if start is None or not start.startswith(age.MAGIC):
            raise VaultCorrupt(files.KEYS_FILE, "missing, or not an age file", age.RESTORE_HINT)
        return current

    def _own_recipient_file(self, identity: age.Identity) -> RecipientFile:
        current = self._recipient_file()
        if current.recipient != identity.recipient:
            raise files.wrong_recipient_error()
        return current

    def _min_generation(self) -> int:
        """Return the highest generation that anything tells of. Reading `keys.age` shows its own."""
        return max(
            self._newest_generation,
            documents.believable(self._expected_generation()),
            files.read_generation(self.folder, self._require_identity().recipient),
        )

    def _keys(self) -> Document:
        _, document = files.read_keys(self.folder, self._require_identity(), self._min_generation())
        self.expect_generation(document.generation)
        return document

    @contextlib.contextmanager
    def _lock(self, what: str) -> Iterator[None]:
        """Hold the vault's lock, which one thread of one process has at a time."""
        if not vault_create.exists(self.folder):
            raise _no_vault()
        files.check_private(self.folder)
        with (
            files.vault_write_errors(f"the vault's {what}"),
            lock_for_change(self.folder / LOCK_FILE, what="Vault"),
        ):
            remove_under_lock(self.folder)
            yield


def _no_vault() -> NeedsVault:
    return NeedsVault(
        "No vault yet", "", (RUN, Remedy("vault init", flag="--slot keyring"), " (or --slot passphrase)")
    )
