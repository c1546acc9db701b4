"""The vault's beginning, opening, mending and moving, with what the index and the definitions must know of it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

from keyturn.agent.fast_lock_check import LOCKED
from keyturn.awsconfig.document import FileKind
from keyturn.model.errors import KeyturnError, NeedsUnlock, NeedsVault, VaultCorrupt, VaultError, VaultExists
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.operations.context import Context, key_entry
from keyturn.operations.rotation import previous_key, record_store
from keyturn.operations.rotation.observe import journal_of
from keyturn.profiles import status
from keyturn.profiles.profile_sections import path_of
from keyturn.storage import managed_profiles
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.system import files
from keyturn.vault.create import Export, read_export
from keyturn.vault.restore import Restored


def create(context: Context, slot: str, passphrase: Secret | None, *, anew: bool = False) -> Secret:
    """Makes the vault and leaves it open in this process.

    :param slot: `keyring` or `passphrase`.
    :param anew: even if managed profiles need the keys of one that was here before.
    :returns: the recovery key, to be shown once.
    :raises VaultExists: there is one, readable or not.
    :raises VaultCorrupt: there was one, and it is gone.
    """
    lost = None if anew else missing_error(context)
    if lost is not None:
        raise lost
    _forget_another(context)
    recovery_key = context.vault.create(slot, passphrase)
    _remember(context)
    return recovery_key


def locked_error(context: Context, state: VaultState) -> KeyturnError:
    """What to say where an act needs the vault open and it is not."""
    if state is VaultState.ABSENT:
        hint = "Run: keyturn vault init, or press r or m in the app"
        return missing_error(context) or NeedsVault("the vault", "there is none yet", hint)
    if state is VaultState.BROKEN:
        hint = "Nothing was written over it. Run: keyturn vault status"
        return VaultCorrupt("the vault", "it cannot be read", hint)
    return NeedsUnlock(*LOCKED)


def missing_error(context: Context) -> VaultCorrupt | None:
    """What to say of a vault that is gone while managed profiles need its keys; None where that is not so."""
    if context.vault.state() is not VaultState.ABSENT:
        return None
    needing = [one.name for one in context.read().definitions.values() if one.key]
    if not needing:
        return None
    return VaultCorrupt(
        "the vault",
        f"it is gone from {context.paths.vault_dir}, and {_counted(needing)} its keys",
        "Put the folder back from a backup, or run: keyturn vault import FILE. To begin without them: keyturn vault init --anew",
    )


def _counted(needing: Sequence[str]) -> str:
    return f"{needing[0]} needs" if len(needing) == 1 else f"{len(needing)} managed profiles need"


def open_vault(context: Context, passphrase: Secret | None, recovery_key: Secret | None) -> None:
    """Opens the vault in this process: by what is given, else by the system keyring. What it seals to and how far it has come is remembered.

    :raises WrongPassphrase: it is not this vault's.
    :raises KeyturnError: the keyring is locked, denied or absent, or the vault is unreadable.
    """
    context.vault.unlock(passphrase=passphrase, recovery_key=recovery_key)
    recipient = context.vault.recipient()
    if context.index.load().vault_recipient not in ("", recipient):
        # Another vault than the last one here, opened by its own secret: the last one's number says nothing of it.
        context.update_index(lambda index: replace(index, vault_generation=0, vault_recipient=recipient))
    generation = context.vault.generation()
    known = context.index.load()
    if known.vault_recipient != recipient or known.vault_generation < generation:
        context.update_index(
            lambda index: replace(
                index, vault_recipient=recipient, vault_generation=max(index.vault_generation, generation)
            )
        )
    with contextlib.suppress(KeyturnError):
        record_store.sync_index(context)


def restore(context: Context, passphrase: Secret | None, recovery_key: Secret | None) -> tuple[str, ...]:
    """Goes back to the newest state of a damaged vault that can be read, and closes it.

    :returns: what was done and what is lost, in lines for a person.
    :raises VaultCorrupt: nothing is left that can be read.
    """
    vault = context.vault
    before = vault.slots() if vault.state() is not VaultState.BROKEN else None
    if recovery_key is None:
        vault.unlock(passphrase=passphrase)
    else:
        _open_by_recovery_key(context, recovery_key)
    restored = vault.restore_newest_good()
    aside = journal_of(context).set_aside()
    again = previous_key.restore_rotated_keys(context) if restored is not None else ()
    previous_key.index_vault_keys(context)
    _remember(context)
    told = ("The newest state of the keys was sound.",) if restored is None else _messages(context, restored)
    if again:
        told += (f"Put in again from the rotation journal: the key of {', '.join(again)}.",)
    if aside:
        told += (
            f"The rotation journal of {', '.join(aside)} cannot be read and was put aside. Look at the user's keys: keyturn rotate PROFILE --status",
        )
    record_store.sync_index(context)
    if not vault.slots():
        told += (
            "Only the recovery key opens the vault now. Set a passphrase by: keyturn vault reset-passphrase",
        )
    elif before is None or vault.slots() != before:
        told += (f"The vault is opened by: {', '.join(vault.slots())}, and the recovery key.",)
    vault.forget()
    return told


def _open_by_recovery_key(context: Context, recovery_key: Secret) -> None:
    """Opens the vault, mending `recipient.txt` where that is what is wrong. A later keyturn's is left alone."""
    if context.vault.state() is not VaultState.BROKEN:
        try:
            context.vault.unlock(recovery_key=recovery_key)
        except VaultCorrupt:
            pass
        else:
            return
    context.vault.restore_recipient_file(recovery_key)


def _messages(context: Context, restored: Restored) -> tuple[str, ...]:
    lost = restored.newest - restored.origin
    changes = "the last change" if lost < 1 else "1 change" if lost == 1 else f"{lost} changes"
    told = [
        f"Restored what {restored.file} holds, generation {restored.origin}; it is now {restored.generation}."
    ]
    if restored.aside is not None:
        told.append(f"The damaged file is kept as {restored.aside}.")
    if lost > 0 or restored.aside is not None:
        told.append(f"Lost: {changes} of the keys made after that, as far as this machine knows.")
    missing = _without_key(context)
    if missing:
        told.append(
            f"Not in the vault any more: the key of {', '.join(missing)}. What the shared files were before it was adopted"
            f" may be sealed in {context.paths.history_dir}: age -d -i RECOVERY-KEY-FILE FILE. Else make a new key at AWS."
        )
    return tuple(told)


def _without_key(context: Context) -> list[str]:
    """Managed profiles whose long-term key the vault does not hold."""
    try:
        managed = managed_profiles.load(context.paths.profiles_file)
    except KeyturnError:
        return []
    held = set(context.vault.key_names())
    return sorted(name for name, one in managed.items() if one.key and key_entry(one.key) not in held)


def export_vault(context: Context, passphrase: Secret) -> bytes:
    """Everything that a second home needs, sealed by `passphrase`: identity, keys, and `profiles.toml`.

    :raises KeyturnError: the vault is closed, or `profiles.toml` cannot be read.
    """
    with files.os_error_text("reading the definitions"):
        content = files.read(context.paths.profiles_file)
    managed_profiles.decode(content, str(context.paths.profiles_file))
    return context.vault.export(passphrase, None if content is None else content.decode("utf-8"))


def import_vault(
    context: Context, exported: bytes, export_passphrase: Secret, slot: str, passphrase: Secret | None
) -> tuple[str, ...]:
    """Makes the vault from an export, takes over the definitions that are not here yet, and closes it. Where the vault
    is here already, as after an import that was interrupted, only the definitions are taken over.

    :returns: what was taken over and what was not, in lines for a person.
    :raises VaultExists: there is another vault, or one that cannot be read.
    :raises KeyturnError: the export, the slot or the definitions are off, or another act holds the lock: nothing is made
        then. If the disk refuses later, the vault is there, and the import can be done again.
    """
    export = read_export(exported, export_passphrase)
    with context.state_lock():
        managed_profiles.load(context.paths.profiles_file)
        try:
            if context.vault.state() is VaultState.ABSENT:
                _forget_another(context)
                context.vault.import_export(_require_no_pending_rotation(context, export), slot, passphrase)
            else:
                _open_same(context, export)
            _remember(context)
            context.update_index(lambda index: replace(index, recovery_key_seen=True))
            return _take_over(context, export.definitions)
        finally:
            context.vault.forget()


def _open_same(context: Context, export: Export) -> None:
    """Opens the vault that is here, which the export must be of."""
    try:
        same = context.vault.recipient() == export.identity.recipient
    except VaultError:
        same = False
    if not same:
        why = "there is a vault already, and the export is not of it"
        raise VaultExists("vault import", why, "Nothing was changed. See: keyturn vault status")
    context.vault.unlock(recovery_key=export.identity.reveal())


def _require_no_pending_rotation(context: Context, export: Export) -> Export:
    """Has what adopt took on the first home go back, on release, to the shared files of this one, and nowhere else."""
    entries = copy.deepcopy(export.keys.entries)
    # An export that is none of ours may hold anything; release looks again.
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        for entry in entries.values():
            for table in entry.get("sections", ()) if isinstance(entry, dict) else ():
                table |= {"path": str(path_of(context.paths, FileKind(table["kind"]))), "file_made": False}
        return replace(export, keys=replace(export.keys, entries=entries))
    return export


def _take_over(context: Context, carried: str | None) -> tuple[str, ...]:
    """Adds the definitions of an export. One that is here already stays as it is."""
    if carried is None:
        return ()
    try:
        table = managed_profiles.decode(carried.encode("utf-8", "replace"), "the export's profiles.toml")
    except KeyturnError as error:
        return (f"The keys are here, the definitions are not: {error.line()}",)
    added: list[str] = []
    kept: list[str] = []

    def edit(here: dict[str, ManagedProfile]) -> None:
        for name, one in table.items():
            if name not in here:
                here[name] = one
                added.append(name)
            elif here[name] != one:
                kept.append(name)

    if table:
        managed_profiles.change(context.paths.profiles_file, edit)
    told = [f"Managed here too: {', '.join(added)}."] if added else []
    if kept:
        told.append(f"Defined here already, in another way, and left so: {', '.join(kept)}.")
    missing = [name for name in _without_key(context) if name in added]
    if missing:
        told.append(f"The vault here does not hold the key of {', '.join(missing)}.")
    return (*told, *_undelivered(context, added))


def _undelivered(context: Context, added: Sequence[str]) -> Iterator[str]:
    """Why AWS clients of this home do not find what was taken over, and what to do."""
    problems = {row.name: row.problem for row in context.read().rows() if row.name in added and row.problem}
    unnamed = [name for name, problem in problems.items() if problem == status.process_line_missing(name)]
    if unnamed:
        run = "keyturn deliver NAME --to credential-process"
        yield f"AWS clients here do not ask keyturn for {', '.join(unnamed)} yet. For each, run: {run}"
    for name, problem in problems.items():
        if name not in unnamed:
            yield f"{name}: {problem}."


def _forget_another(context: Context) -> None:
    """Where there is no vault, what is remembered of one that was there before does not hold for the next."""
    if context.vault.state() is VaultState.ABSENT:
        context.index.change(
            lambda index: replace(index, vault_generation=0, vault_recipient="", recovery_key_seen=False)
        )


def _remember(context: Context) -> None:
    """Notes the generation and the recipient of the vault that is open in this process."""
    generation, recipient = context.vault.generation(), context.vault.recipient()
    context.index.change(lambda index: replace(index, vault_generation=generation, vault_recipient=recipient))
