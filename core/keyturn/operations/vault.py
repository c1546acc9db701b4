"""Create, open, restore, export and import the vault, and keep the index and the managed profiles consistent
with it.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from keyturn.awsconfig.document import FileKind
from keyturn.model.errors import (
    RUN,
    THEN_RUN,
    KeyturnError,
    NeedsUnlock,
    NeedsVault,
    Remedy,
    VaultCorrupt,
    VaultError,
    VaultExists,
    VaultNewer,
)
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.operations import key_delivery, write_check
from keyturn.operations.context import Context, key_entry
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.profiles import status
from keyturn.providers.registry import require_known_kinds
from keyturn.storage import managed_profiles
from keyturn.storage.index import VERSION as INDEX_VERSION
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.system import files
from keyturn.vault.create import Export, read_export
from keyturn.vault.restore import Restored
from keyturn.vault.slots import OutdatedSeal
from keyturn.vault.vault import Vault


def create(context: Context, slot: str, passphrase: Secret | None, *, anew: bool = False) -> Secret:
    """Create the vault and leave it open in this process.

    :param slot: `keyring` or `passphrase`.
    :param anew: create it even if managed profiles need the keys of a vault that is missing.
    :returns: the recovery key, to be shown once.
    :raises VaultExists: if there is a vault, readable or not.
    :raises VaultCorrupt: if a vault that managed profiles need is missing.
    """
    error = None if anew else missing_error(context)
    if error is not None:
        raise error
    _forget_previous_vault(context)
    recovery_key = context.vault.create(slot, passphrase)
    _record_vault(context)
    return recovery_key


def locked_error(context: Context, state: VaultState) -> KeyturnError:
    """Return the error for an operation that needs the vault open."""
    if state is VaultState.ABSENT:
        return (
            missing_error(context)
            or read_only_error(context)
            or NeedsVault("No vault yet", "", (RUN, Remedy("vault init"), ", or press r or m in the app"))
        )
    if state is VaultState.BROKEN:
        try:
            context.vault.check()
        except VaultNewer as error:
            return error
        except VaultError:
            pass
        return VaultCorrupt(
            "Vault is unreadable", "", ("Nothing was overwritten. ", RUN, Remedy("vault status"))
        )
    return NeedsUnlock("Vault is locked", "", Remedy("vault unlock"))


def read_only_error(context: Context) -> KeyturnError | None:
    """Return the error for a vault that cannot be created here, or None if it can."""
    try:
        write_check.require_own_folders(context.paths)
    except KeyturnError as error:
        return error
    return None


def missing_error(context: Context) -> VaultCorrupt | None:
    """Return the error for a missing vault whose keys managed profiles need, or None if that is not the
    case.
    """
    if context.vault.state() is not VaultState.ABSENT:
        return None
    names = [definition.name for definition in context.read().definitions.values() if definition.key]
    if not names:
        return None
    return VaultCorrupt(
        "Vault is missing",
        f"{context.paths.vault_dir} does not exist, and {_who_needs(names)} its keys",
        (
            "Restore the folder from a backup, or ",
            THEN_RUN,
            Remedy("vault import", flag="FILE"),
            ". To start without these keys: ",
            Remedy("vault init", flag="--anew"),
        ),
    )


def _who_needs(names: Sequence[str]) -> str:
    return f"{names[0]} needs" if len(names) == 1 else f"{len(names)} managed profiles need"


def open_vault(
    context: Context,
    passphrase: Secret | None,
    recovery_key: Secret | None,
    cancelled: threading.Event | None = None,
) -> None:
    """Open the vault in this process with the passphrase, the recovery key or the system keyring, and record
    its recipient and generation in the index.

    An `identity.age` with another work factor than new ones have is sealed anew in a thread, so that the
    result does not wait for it. The process does, for about a second at its exit, because a thread that is
    killed would leave the work to the next unlock.

    :param cancelled: set by another thread to end the work of the passphrase.
    :raises UnsafeFile: if a file of keyturn belongs to another user or can be used by one.
    :raises WaitCancelled: if it was cancelled; the vault stays as it was.
    :raises WrongPassphrase: if the passphrase or key is not this vault's.
    :raises KeyturnError: if the keyring is locked, denied or absent, or the vault is unreadable.
    """
    context.paths.check_private()
    outdated = context.vault.unlock(passphrase=passphrase, recovery_key=recovery_key, cancelled=cancelled)
    if outdated is not None:
        threading.Thread(
            target=_renew_seal, args=(context.vault, outdated), name="keyturn-renew-seal"
        ).start()
    recipient = context.vault.recipient()
    if context.index.load().vault_recipient not in ("", recipient):
        # This is another vault than the recorded one, so the recorded generation does not apply to it.
        context.update_index(lambda index: replace(index, vault_generation=0, vault_recipient=recipient))
    _expect_journal_generation(context)
    generation = context.vault.generation()
    context.vault.record_generation()
    stored = context.index.load()
    if stored.vault_recipient != recipient or stored.vault_generation < generation:
        context.update_index(
            lambda index: replace(index, vault_recipient=recipient).with_generation(generation)
        )
    with contextlib.suppress(KeyturnError):
        record_store.sync_index(context)
    with contextlib.suppress(KeyturnError):
        key_delivery.synchronize(context, context.read())


def _expect_journal_generation(context: Context) -> None:
    """Let the open vault refuse an older generation than the rotation journal knows."""
    with contextlib.suppress(KeyturnError):
        context.vault.expect_generation(record_store.journal_of(context).newest_generation())


def _renew_seal(vault: Vault, outdated: OutdatedSeal) -> None:
    """Renew the passphrase slot. The present one still opens the vault if that fails, for instance because
    the disk is full, no process can be started, or the vault was locked again; the next unlock tries again.
    """
    with contextlib.suppress(KeyturnError, OSError):
        vault.renew_seal(outdated)


def restore(context: Context, passphrase: Secret | None, recovery_key: Secret | None) -> tuple[str, ...]:
    """Restore the newest readable generation of a damaged vault and lock the vault.

    :returns: messages about what was restored and what is lost.
    :raises VaultCorrupt: if no generation is readable.
    :raises KeyturnError: if the index cannot be written. The keys are restored; repeat it to record that.
    """
    vault = context.vault
    before = vault.slots() if vault.state() is not VaultState.BROKEN else None
    if recovery_key is None:
        vault.unlock(passphrase=passphrase)
    else:
        _open_with_recovery_key(context, recovery_key)
    _expect_journal_generation(context)
    restored = vault.restore_newest_good()
    unreadable = record_store.journal_of(context).set_aside()
    reinstated = vault_keys.restore_rotated_keys(context) if restored is not None else ()
    vault_keys.index_vault_keys(context)
    # An index of a later version cannot be written, and must not prevent the repair.
    if context.index.load().version <= INDEX_VERSION:
        _record_vault(context)
    messages = (
        ("The newest generation of the keys is intact.",)
        if restored is None
        else _restore_messages(context, restored)
    )
    if reinstated:
        messages += (f"Restored from the rotation journal: the key of {', '.join(reinstated)}.",)
    if unreadable:
        messages += (
            (
                f"The rotation journal of {', '.join(unreadable)} is unreadable and was set aside. "
                "Check the user's keys: keyturn rotate PROFILE --status"
            ),
        )
    record_store.sync_index(context)
    if not vault.slots():
        messages += (
            (
                "Only the recovery key opens the vault now. To set a passphrase, run: keyturn vault "
                "reset-passphrase"
            ),
        )
    elif before is None or vault.slots() != before:
        messages += (f"The vault can be unlocked with: {', '.join(vault.slots())}, recovery key.",)
    vault.forget()
    return messages


def _open_with_recovery_key(context: Context, recovery_key: Secret) -> None:
    """Open the vault with the recovery key, and repair `recipient.txt` if it is damaged. A file of a later
    version is not changed.
    """
    if context.vault.state() is not VaultState.BROKEN:
        with contextlib.suppress(VaultCorrupt):
            context.vault.unlock(recovery_key=recovery_key)
            return
    context.vault.restore_recipient_file(recovery_key)


def _restore_messages(context: Context, restored: Restored) -> tuple[str, ...]:
    lost_generations = restored.newest - restored.origin
    loss = (
        "the last change"
        if lost_generations < 1
        else "1 change"
        if lost_generations == 1
        else f"{lost_generations} changes"
    )
    messages = [
        (
            f"Restored generation {restored.origin} from {restored.file}; it is now generation "
            f"{restored.generation}."
        )
    ]
    if restored.aside is not None:
        messages.append(f"The damaged file was saved as {restored.aside}.")
    if lost_generations > 0 or restored.aside is not None:
        messages.append(f"Lost: {loss} to the keys after that generation, as far as this machine knows.")
    missing = _profiles_without_key(context)
    if missing:
        messages.append(
            f"Missing from the vault: the key of {', '.join(missing)}. The shared files before the adoption"
            f" may be in {context.paths.history_dir}, encrypted; to decrypt, run: age -d -i "
            "RECOVERY-KEY-FILE FILE. Otherwise create a new key in AWS."
        )
    return tuple(messages)


def _profiles_without_key(context: Context) -> list[str]:
    """Return the managed profiles whose access key is not in the vault."""
    try:
        definitions = managed_profiles.load(context.paths.profiles_file)
    except KeyturnError:
        return []
    entries = set(context.vault.key_names())
    return sorted(
        name
        for name, definition in definitions.items()
        if definition.key and key_entry(definition.key) not in entries
    )


def export_vault(context: Context, passphrase: Secret) -> bytes:
    """Return the identity, the keys and `profiles.toml`, encrypted with `passphrase`.

    :raises KeyturnError: if the vault is locked, or `profiles.toml` cannot be read.
    """
    with files.os_error_text("Could not read profiles.toml"):
        content = files.read(context.paths.profiles_file)
    managed_profiles.decode(content, str(context.paths.profiles_file))
    return context.vault.export(passphrase, None if content is None else content.decode("utf-8"))


def import_vault(
    context: Context, exported: bytes, export_passphrase: Secret, slot: str, passphrase: Secret | None
) -> tuple[str, ...]:
    """Create the vault from an export, add managed profiles that are missing here, and lock it.

    If the vault exists already, for instance after an interrupted import, only the managed profiles are
    added.

    :returns: messages about what was imported and what was not.
    :raises VaultExists: if there is another vault, or one that cannot be read.
    :raises KeyturnError: if the export, the slot or `profiles.toml` is invalid, or another operation holds
        the lock; nothing is created then. If a write fails later, the vault exists and the import can be
        repeated.
    """
    export, profiles_file = read_export(exported, export_passphrase), context.paths.profiles_file
    with context.state_lock():
        require_known_kinds(managed_profiles.load(profiles_file), str(profiles_file))
        try:
            if context.vault.state() is VaultState.ABSENT:
                _forget_previous_vault(context)
                context.vault.import_export(_with_local_paths(context, export), slot, passphrase)
            else:
                _open_existing(context, export)
            _record_vault(context)
            context.update_index(lambda index: replace(index, recovery_key_seen=True))
            return _merge_definitions(context, export.definitions)
        finally:
            context.vault.forget()


def _open_existing(context: Context, export: Export) -> None:
    """Open the vault on this machine, which must be the exported one."""
    try:
        is_same = context.vault.recipient() == export.identity.recipient
    except VaultError:
        is_same = False
    if not is_same:
        raise VaultExists(
            "Could not import the vault",
            "there is another vault already",
            ("Nothing was changed. See: ", Remedy("vault status")),
        )
    context.vault.unlock(recovery_key=export.identity.reveal())


def _with_local_paths(context: Context, export: Export) -> Export:
    """Return the export with the paths of removed settings replaced by those of this machine, because release
    writes to them.
    """
    entries = copy.deepcopy(export.keys.entries)
    paths = {
        FileKind.CONFIG: str(context.paths.aws_config),
        FileKind.CREDENTIALS: str(context.paths.aws_credentials),
    }
    # A manipulated export may hold anything here; release validates the entries.
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        for entry in entries.values():
            for table in entry.get("sections", ()) if isinstance(entry, dict) else ():
                table |= {"path": paths[FileKind(table["kind"])], "file_made": False}
        return replace(export, keys=replace(export.keys, entries=entries))
    return export


def _merge_definitions(context: Context, content: str | None) -> tuple[str, ...]:
    """Add the managed profiles of an export. Existing ones are not changed."""
    if content is None:
        return ()
    try:
        path = "the export's profiles.toml"
        imported = require_known_kinds(
            managed_profiles.decode(content.encode("utf-8", "replace"), path), path
        )
    except KeyturnError as error:
        return (f"The keys were imported, the managed profiles were not: {error.line()}",)
    added: list[str] = []
    different: list[str] = []

    def edit(definitions: dict[str, ManagedProfile]) -> None:
        for name, definition in imported.items():
            if name not in definitions:
                definitions[name] = definition
                added.append(name)
            elif definitions[name] != definition:
                different.append(name)

    if imported:
        context.change_definitions(edit)
    messages = [f"Imported managed profiles: {', '.join(added)}."] if added else []
    if different:
        messages.append(
            f"Not imported, because they are already defined differently: {', '.join(different)}."
        )
    missing = [name for name in _profiles_without_key(context) if name in added]
    if missing:
        messages.append(f"Missing from the vault: the key of {', '.join(missing)}.")
    return (*messages, *_delivery_messages(context, added))


def _delivery_messages(context: Context, added: Sequence[str]) -> Iterator[str]:
    """Return messages about imported profiles that AWS clients on this machine do not resolve yet, with the
    next step.
    """
    problems = {row.name: row.problem for row in context.read().rows() if row.name in added and row.problem}
    without_line = [
        name for name, problem in problems.items() if problem == status.process_line_missing(name)
    ]
    if without_line:
        run = "keyturn deliver NAME --to credential-process"
        yield f"AWS clients here do not resolve {', '.join(without_line)} yet. For each, run: {run}"
    for name, problem in problems.items():
        if name not in without_line:
            yield f"{name}: {problem}."


def _forget_previous_vault(context: Context) -> None:
    """Delete what the index recorded of an earlier vault if there is no vault, because it does not apply to
    the next one.
    """
    if context.vault.state() is VaultState.ABSENT:
        context.index.change(
            lambda index: replace(index, vault_generation=0, vault_recipient="", recovery_key_seen=False)
        )


def _record_vault(context: Context) -> None:
    """Record the generation and recipient of the open vault in the index."""
    generation, recipient = context.vault.generation(), context.vault.recipient()
    context.index.change(lambda index: replace(index, vault_generation=generation, vault_recipient=recipient))
