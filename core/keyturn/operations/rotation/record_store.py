"""Write rotation records: encrypted in the journal, and summarised in the index, which is readable without
unlocking."""

from __future__ import annotations

from keyturn.operations.context import Context
from keyturn.operations.rotation.journal import expect_step, record_name
from keyturn.operations.rotation.observe import journal_of, records
from keyturn.operations.rotation.record import Record, Step, record_table
from keyturn.storage.index import Index, RotationSummary


def start(context: Context, record: Record) -> None:
    """Write the first record of a rotation. It replaces the finished record of the same user.

    :raises VaultError: if the disk refuses it. The rotation has not started.
    """
    journal_of(context).write(record_name(record.user), lambda _: record_table(record))
    update_index(context, record)


def write_record(context: Context, record: Record, previous_step: Step) -> None:
    """Write the record to the journal, if the journal still has `previous_step` of the same rotation.

    :raises FileChanged: if the journal has another step or another rotation of the user.
    :raises VaultError: if the disk refuses it. The previous record is unchanged.
    """
    journal_of(context).write(
        record_name(record.user), expect_step(record.nonce, str(previous_step), record_table(record))
    )


def save_step(context: Context, record: Record, previous_step: Step) -> Record:
    """Write the record to the journal (:func:`write_record`) and to the index, and return it."""
    write_record(context, record, previous_step)
    update_index(context, record)
    return record


def sync_index(context: Context) -> None:
    """Update the index from the journal, because the index may be lost, or a process may have ended between
    the two writes."""
    journal = journal_of(context)
    for name in journal.names():
        journal.move_from_fallback(name)
    indexed = (
        context.index.load().rotations
    )  # before the journal: a rotation that starts in between is then found in the journal
    readable = list(records(context))
    pending = {record_name(record.user): record for record in readable if not record.step.is_last}
    unreadable = set(journal.names()) - {record_name(record.user) for record in readable}
    for name in indexed:
        if name not in pending and name not in unreadable:
            context.update_index(lambda index, name=name: _remove_summary(index, name))  # type: ignore[misc]
    for name, record in pending.items():
        if (
            name not in indexed
            or indexed[name].step != record.step
            or indexed[name].is_undoing != record.is_undoing
        ):
            update_index(context, record)


def _remove_summary(index: Index, name: str) -> None:
    index.rotations.pop(name, None)


def update_index(context: Context, record: Record) -> None:
    """Write the summary of a rotation to the index. The journal is authoritative."""

    def edit(index: Index) -> None:
        if record.step.is_last:
            index.rotations.pop(record_name(record.user), None)
            return
        index.rotations[record_name(record.user)] = RotationSummary(
            profile=record.profile,
            entries=record.entries,
            old_id=record.old.access_key_id,
            new_id=record.new.access_key_id if record.new else None,
            step=str(record.step),
            is_undoing=record.is_undoing,
            started=record.started,
            deletable_from=record.deletable_from(),
        )

    context.update_index(edit)
