"""Find, read and write rotation records: encrypted in the journal, and summarised in the index, which is
readable without unlocking."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

from keyturn.model.errors import NeedsUnlock, NotFound, Remedy, VaultCorrupt, VaultNewer
from keyturn.model.json_codec import to_secret_table
from keyturn.operations.context import Context, credentials_in, key_entry
from keyturn.operations.rotation.journal import Journal, record_name
from keyturn.operations.rotation.progress import rotation_halted
from keyturn.operations.rotation.record import Record, Step, record_from_table
from keyturn.profiles.inventory import Inventory
from keyturn.storage.index import Index, RotationSummary

#: Seconds to wait for another process that rotates the same key. It may take much longer.
LOCK_TIMEOUT = 2.0


def user_lock(context: Context, user: str) -> AbstractContextManager[None]:
    """Return the lock for one step of a user's rotation. It excludes all processes of this system user.

    :raises FileBusy: if another process holds it.
    """
    return context.exclusive_lock(
        "rotation-" + hashlib.sha256(user.encode("utf-8", "surrogateescape")).hexdigest()[:24], LOCK_TIMEOUT
    )


def journal_of(context: Context) -> Journal:
    """Return the rotation journal of this user's vault."""
    return Journal(context.vault, context.paths.rotation_dir, context.paths.rotation_fallback_dirs)


# -- find and read -------------------------------------------------------------------------------------------


def records(context: Context) -> Iterator[Record]:
    """Yield all readable records.

    :raises NeedsUnlock: if the vault is closed.
    """
    journal = journal_of(context)
    for name in journal.names():
        try:
            table = journal.read(name)
        except (VaultCorrupt, VaultNewer):
            continue  # reading that record by its user reports the error
        if table is not None:
            yield record_from_table(table)


def record_of_user(context: Context, user: str) -> Record | None:
    """Return the last rotation of a user's key, pending or finished.

    :raises VaultCorrupt: if its record is unreadable, so that its content is unknown.
    """
    table = journal_of(context).read(record_name(user))
    return None if table is None else record_from_table(table)


def require_pending_record(context: Context, name: str) -> Record:
    """Return the pending rotation of a profile's key.

    :raises NotFound: if there is none.
    """
    record = pending_record(context, name)
    if record is None:
        raise NotFound(f"No pending rotation of {name}", "", ("To start one: ", Remedy("rotate", name)))
    return record


def pending_record(context: Context, name: str) -> Record | None:
    """Return the pending rotation of a profile's key, or None. Raises as :func:`pending_records`."""
    return pending_records(context, context.read(), [name]).get(name)


def pending_records(context: Context, inventory: Inventory, names: Sequence[str]) -> dict[str, Record]:
    """Return the pending rotations of the keys of several profiles, by profile. The journal is read once.

    :raises KeyturnError: if `profiles.toml` is unreadable, so that the keys and their sessions are unknown.
    :raises VaultCorrupt: or `VaultNewer`: if the record of one of the other keys is unreadable.
    """
    inventory.require_definitions()
    pending: dict[str, Record] = {}
    for record in records(context):
        if not record.step.is_last:
            pending = dict.fromkeys(record.entries, record) | pending
    entries = {name: _entry_of(inventory, name) for name in names}
    _require_readable(context, set(entries.values()) - pending.keys())
    return {
        name: _reconcile_with_vault(context, pending[entry])
        for name, entry in entries.items()
        if entry in pending
    }


def _entry_of(inventory: Inventory, name: str) -> str:
    """Return the vault entry of a profile's key."""
    definition = inventory.definitions.get(name)
    return definition.key if definition is not None and definition.key else name


def _require_readable(context: Context, entries: Collection[str]) -> None:
    """Require that the journal holds no unreadable record of the key of an entry.

    :raises VaultCorrupt: or `VaultNewer`: if it does.
    """
    journal, index = journal_of(context), context.index.load()
    keys = [index.keys[entry] for entry in entries if entry in index.keys]
    own_names = {record_name(key.user) for key in keys if key.user}
    for name in journal.names() if entries else ():
        summary = index.rotations.get(name)
        if name in own_names or summary is None or not set(entries).isdisjoint(summary.entries):
            with contextlib.suppress(NeedsUnlock):
                journal.read(name)


def _reconcile_with_vault(context: Context, record: Record) -> Record:
    """Return the record, or the later record that the vault implies if later states were lost: an entry with
    the old key as `previous` holds the new key."""
    if record.step is not Step.INTENT:
        return record
    for name in record.entries:
        entry = context.vault.key(key_entry(name)) or {}
        previous = entry.get("previous")
        if isinstance(previous, dict) and previous.get("key_id") == record.old.access_key_id:
            now = context.clock()
            created = context.index.load().keys.get(name)
            new = replace(
                record, new=credentials_in(name, entry), created=created.created if created else None
            )
            return new.with_step(Step.CREATED, now).with_step(Step.STORED, now)
    return record


def reload_record(context: Context, record: Record) -> Record:
    """Return the current record, now that the lock is held.

    :raises RotationHalted: if another process has finished the rotation.
    """
    current = record_of_user(context, record.user)
    if current is None or current.nonce != record.nonce or current.step.is_last:
        raise rotation_halted(
            record, "another process has finished it", Remedy("rotate", record.profile, "--status")
        )
    reconciled = _reconcile_with_vault(context, current)
    return current if reconciled is current else save_step(context, reconciled, current.step)


def path_of(context: Context, record: Record) -> Path:
    """Return the journal's file of a record."""
    return journal_of(context).path_of(record_name(record.user))


def fallback_note(context: Context, record: Record) -> str:
    """Return a warning if the only copy of a new key is in a folder that a restart empties, else an empty
    string."""
    journal = journal_of(context)
    name = record_name(record.user)
    if not journal.is_in_fallback(name):
        return ""
    return (
        f"the vault's disk refused the new key, so it is encrypted in {journal.path_of(name).parent}, "
        "which a restart empties: fix the disk first"
    )


# -- write ---------------------------------------------------------------------------------------------------


def start(context: Context, record: Record) -> None:
    """Write the first record of a rotation. It replaces the finished record of the same user.

    :raises VaultError: if the disk refuses it. The rotation has not started.
    """
    journal_of(context).write(record_name(record.user), to_secret_table(record))
    update_index(context, record)


def write_record(context: Context, record: Record, previous_step: Step) -> None:
    """Write the record to the journal, if the journal still has `previous_step` of the same rotation.

    :raises FileChanged: if the journal has another step or another rotation of the user.
    :raises VaultError: if the disk refuses it. The previous record is unchanged.
    """
    journal_of(context).write(record_name(record.user), to_secret_table(record), previous_step)


def save_step(context: Context, record: Record, previous_step: Step) -> Record:
    """Write the record to the journal (:func:`write_record`) and to the index, and return it."""
    write_record(context, record, previous_step)
    update_index(context, record)
    return record


def forget_finished_rotations(context: Context, names: list[str]) -> None:
    """Delete the records of finished rotations for entries that are removed or added, because the same entry
    name holds another key afterwards."""
    for record in list(records(context)):
        if record.step.is_last and set(record.entries) & set(names):
            journal_of(context).remove(record_name(record.user))


# -- index ---------------------------------------------------------------------------------------------------


def sync_index(context: Context) -> None:
    """Update the index from the journal, because the index may be lost, or a process may have ended between
    the two writes."""
    journal = journal_of(context)
    for name in journal.names():
        journal.move_from_fallback(name)
    # Before the journal: a rotation that starts in between is then found in the journal.
    indexed = context.index.load().rotations
    readable = {record_name(record.user): record for record in records(context)}
    unreadable = set(journal.names()) - readable.keys()
    for name, record in readable.items():
        summary = indexed.get(name)
        before = (summary.step, summary.is_undoing) if summary is not None else None
        after = (record.step, record.is_undoing) if not record.step.is_last else None
        if before != after:
            update_index(context, record)
    for name in indexed.keys() - readable.keys() - unreadable:
        context.update_index(partial(_remove_summary, name))


def _remove_summary(name: str, index: Index) -> None:
    index.rotations.pop(name, None)


def update_index(context: Context, record: Record) -> None:
    """Write the summary of a rotation to the index. The journal is authoritative."""

    def edit(index: Index) -> None:
        old = index.rotations.pop(record_name(record.user), None)
        if not record.step.is_last:
            index.rotations[record_name(record.user)] = RotationSummary(
                profile=record.profile,
                entries=record.entries,
                old_id=record.old.access_key_id,
                new_id=record.new.access_key_id if record.new else None,
                step=str(record.step),
                is_undoing=record.is_undoing,
                started=record.started,
                deletable_from=record.deletable_from(),
                other_fields=old.other_fields if old is not None and old.started == record.started else {},
            )

    context.update_index(edit)
