"""What somebody else did at AWS to the keys of a rotation, and what to do about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.model.text import masked_key_id
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.state_machine import PROPAGATION_TIME, ObservedKeys, is_gone


@dataclass(frozen=True, slots=True)
class KeyDrift:
    """Why the record alone does not tell how the keys stand."""

    why: str
    hint: str

    def __str__(self) -> str:
        return f"{self.why}. {self.hint}"


def find_drift(record: Record, seen: ObservedKeys) -> KeyDrift | None:
    """What AWS's list has that the record does not account for; None where the two agree.

    What AWS may only not have spread yet is nothing amiss.
    """
    if record.new is None or record.step.is_last:
        return None
    old, new = (_status(seen, key.access_key_id) for key in (record.old, record.new))
    if not record.is_undoing and (found := _of_new(record, old, new, seen)) is not None:
        return found
    return _of_old(record, old, seen)


def _of_new(record: Record, old: str | None, new: str | None, seen: ObservedKeys) -> KeyDrift | None:
    again, name = f"keyturn rotate {record.profile}", _new(record)
    used = ", and the vault uses it" if record.step.is_past(Step.STORED) else ""
    if new is None:
        if record.new is None or not is_gone(record.new.access_key_id, record, seen):
            return None
        if old == "Active":
            hint = f"Go back to {_old(record)}, which works: {again} --resume"
        else:
            hint = f"Have {_old(record)} switched on at AWS, then go back to it: {again} --undo"
        return KeyDrift(f"{name} was deleted at AWS by somebody{used}", hint)
    if new != "Active":
        hint = f"Go back to {_old(record)}: {again} --undo; or have {name} switched on there, then: {again} --resume"
        return KeyDrift(f"{name} is {new.lower()} at AWS, by somebody else's doing{used}", hint)
    return None


def _of_old(record: Record, old: str | None, seen: ObservedKeys) -> KeyDrift | None:
    again, name = f"keyturn rotate {record.profile}", _old(record)
    used = "" if record.step.is_past(Step.STORED) else ", and the vault uses it"
    if old is None:
        return KeyDrift(f"{name} is gone at AWS{used}", f"Go on with {_new(record)}: {again} --resume")
    if record.is_undoing:
        return None
    if old != "Active" and not record.step.is_past(Step.DEACTIVATED):
        hint = f"Go on with {_new(record)}: {again} --resume; or back, which switches it on again: {again} --undo"
        # The cause is unknown: this may be our own UpdateAccessKey, if the process ended before it wrote the step.
        return KeyDrift(f"{name} is already {old.lower()} at AWS{used}", hint)
    off_since = record.at.get(Step.DEACTIVATED)
    is_on_again = off_since is not None and seen.now - off_since > PROPAGATION_TIME and old == "Active"
    if record.step is Step.DEACTIVATED and is_on_again:
        hint = f"Switch it off: {again} --resume; or go back to it: {again} --undo"
        return KeyDrift(f"{name} was switched on again at AWS by somebody", hint)
    return None


def _status(seen: ObservedKeys, key_id: str) -> str | None:
    """A key's status in AWS's list; None where it is not in it."""
    listed = seen.listed.get(key_id)
    return None if listed is None else listed.status


def _old(record: Record) -> str:
    return masked_key_id(record.old.access_key_id)


def _new(record: Record) -> str:
    return masked_key_id(record.new.access_key_id) if record.new else "the new key"
