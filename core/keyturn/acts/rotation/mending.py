"""After the vault went back to an older state: the keys of rotations that are over by now are put in again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keyturn.acts.desk import Desk, key_entry
from keyturn.acts.rotation.looking import records
from keyturn.rotation.record import Record, Step


def reinstate(desk: Desk) -> tuple[str, ...]:
    """Puts the new key of every rotation that has ended where an older state of the vault still has the old one, which is
    deleted at AWS. Those that wait see to it themselves when they are gone on with.

    :returns: the profiles concerned.
    """
    over = {
        record.old.access_key_id: record
        for record in records(desk)
        if record.step is Step.DONE and record.new
    }
    changed: list[str] = []

    def edit(entries: dict[str, Any]) -> None:
        for name, entry in entries.items():
            record = over.get(str(entry.get("key_id")))
            if name.startswith(key_entry("")) and record is not None:
                entries[name] = _pair(record)
                changed.append(name.removeprefix(key_entry("")))

    if over:
        generation = desk.vault.change_keys(edit)
        desk.note(lambda index: replace(index, vault_generation=max(index.vault_generation, generation)))
    return tuple(changed)


def _pair(record: Record) -> dict[str, str]:
    new = record.new or record.old
    return {"key_id": new.access_key_id, "secret": new.secret_access_key.reveal()}
