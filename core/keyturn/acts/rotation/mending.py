"""After the vault went back to an older state: the keys that rotations have come to are put in again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keyturn.acts.desk import Desk, key_entry
from keyturn.acts.rotation.looking import held_keys, journal_of, records
from keyturn.index import Index
from keyturn.model import Credentials, Key
from keyturn.rotation.record import Record, Step
from keyturn.vault.journal import name_of


def reinstate(desk: Desk) -> tuple[str, ...]:
    """Puts the key that each rotation has come to wherever a profile looks for it and an older state of the vault has
    another, or none: those are switched off or deleted at AWS by now.

    :returns: the profiles' entries concerned.
    """
    looked_for = {one.key for one in desk.read().definitions.values()}
    wanted = {
        key_entry(name): key
        for record in records(desk)
        if (key := _present_key(record)) is not None
        for name in record.entries
        if name in looked_for
    }
    changed: list[str] = []

    def edit(entries: dict[str, Any]) -> None:
        for name, key in wanted.items():
            if entries.get(name, {}).get("key_id") != key.access_key_id:
                entries[name] = {"key_id": key.access_key_id, "secret": key.secret_access_key.reveal()}
                changed.append(name.removeprefix(key_entry("")))

    if wanted:
        generation = desk.vault.change_keys(edit)
        desk.note(lambda index: replace(index, vault_generation=max(index.vault_generation, generation)))
    return tuple(changed)


def _present_key(record: Record) -> Credentials | None:
    """The key that clients are to be served with by what the record says; None where it does not tell."""
    if record.step is Step.UNDONE or not record.step.is_past(Step.STORED):
        return record.old if record.old.secret_access_key else None
    return record.new


def note_held(desk: Desk) -> None:
    """Has the index tell of the keys that the vault holds: an older state may have others, of which nothing else is known."""
    held = held_keys(desk)

    def edit(index: Index) -> None:
        for entry, key in held.items():
            known = index.keys.get(entry)
            if known is None or known.key_id != key.access_key_id:
                index.keys[entry] = Key(key.access_key_id)

    desk.note(edit)


def forget_ended(desk: Desk, names: list[str]) -> None:
    """Drops the records of rotations that are over, for names whose keys leave the vault or come into it: what is under the
    same name from now on is another key."""
    for record in list(records(desk)):
        if record.step.is_last and set(record.entries) & set(names):
            journal_of(desk).remove(name_of(record.user))
