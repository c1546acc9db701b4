"""Compare the rotation record with AWS's list of keys, and say what to do about a difference. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.model.errors import THEN_RUN, Parts, Remedy, words
from keyturn.operations.rotation.journal import record_name
from keyturn.operations.rotation.record import PROPAGATION_TIME, Record, Step
from keyturn.operations.rotation.state_machine import (
    REVERSIBLE_STATUSES,
    ObservedKeys,
    are_keys_lost,
    is_new_key_gone,
)


@dataclass(frozen=True, slots=True)
class KeyDrift:
    """A difference between the rotation record and AWS's list of keys, with the commands that resolve it."""

    why: str
    hint: Parts

    def parts(self) -> Parts:
        """Return the difference and its hint as one hint."""
        return (f"{self.why}. ", *self.hint)

    def __str__(self) -> str:
        return words(self.parts())


def find_drift(record: Record, observed: ObservedKeys) -> KeyDrift | None:
    """Return the first difference between AWS's list and the record, or None if they agree.

    A difference that AWS's eventual consistency explains is not drift. A hint names a command only where it
    changes something, if need be after a key is reactivated at AWS.
    """
    if record.new is None or record.step.is_last:
        return None
    old, new = observed.status(record.old), observed.status(record.new)
    if are_keys_lost(record, observed):
        return _lost_keys(record, old, new)
    if record.is_undoing:
        return _undo_drift(record, old, new, observed)
    return _new_key_drift(record, old, new, observed) or _old_key_drift(record, old, observed)


def _lost_keys(record: Record, old: str | None, new: str | None) -> KeyDrift:
    file = f"rotation/{record_name(record.user)}.age"
    new_id, old_id = record.masked_new_id, record.masked_old_id
    return KeyDrift(
        f"{new_id} is {_status_word(new)} at AWS, and {old_id} is {_status_word(old)}",
        (
            f"No key is left to use. Move {file} out of the vault's folder to end the rotation, then check: ",
            Remedy("rotate", record.profile, "--status"),
        ),
    )


def _undo_drift(record: Record, old: str | None, new: str | None, observed: ObservedKeys) -> KeyDrift | None:
    """Return the drift of an undo, for which the new key matters only if the old one cannot be reactivated by
    keyturn."""
    resume, undo = _commands(record)
    old_id, new_id = record.masked_old_id, record.masked_new_id
    if old not in REVERSIBLE_STATUSES:
        hint: Parts = (f"To continue with {new_id}: ", resume)
        if new == "Inactive":
            hint = (f"Reactivate {new_id} at AWS, then ", THEN_RUN, resume)
        return KeyDrift(f"{old_id} is {_status_word(old)} at AWS{_vault_use_of_old(record)}", hint)
    if old == "Inactive" and (new == "Inactive" or is_new_key_gone(record, observed)):
        return KeyDrift(
            f"{old_id} is inactive at AWS, and {new_id} is {_status_word(new)}",
            (f"Reactivate {old_id} at AWS, then ", THEN_RUN, undo),
        )
    return None


def _new_key_drift(
    record: Record, old: str | None, new: str | None, observed: ObservedKeys
) -> KeyDrift | None:
    resume, undo = _commands(record)
    old_id, new_id = record.masked_old_id, record.masked_new_id
    vault_use = ", and the vault uses it" if record.step.is_at_least(Step.STORED) else ""
    if new is None:
        if not is_new_key_gone(record, observed):
            return None
        if old == "Active":
            hint: Parts = (f"To return to {old_id}, which works: ", resume)
        else:
            hint = (f"Reactivate {old_id} at AWS, then return to it: ", undo)
        return KeyDrift(f"{new_id} was deleted at AWS, outside keyturn{vault_use}", hint)
    if new == "Active":
        return None
    if old not in REVERSIBLE_STATUSES:
        hint = (f"Reactivate {new_id} at AWS, then ", THEN_RUN, resume)
    else:
        to_old = f"To return to {old_id}: "
        if old != "Active":
            to_old = f"Reactivate {old_id} at AWS, then return to it: "
        hint = (to_old, undo, f"; or reactivate {new_id} at AWS, then ", THEN_RUN, resume)
    return KeyDrift(f"{new_id} is {new.lower()} at AWS, changed outside keyturn{vault_use}", hint)


def _old_key_drift(record: Record, old: str | None, observed: ObservedKeys) -> KeyDrift | None:
    resume, undo = _commands(record)
    old_id = record.masked_old_id
    vault_use = _vault_use_of_old(record)
    hint: Parts = (f"To continue with {record.masked_new_id}: ", resume)
    if old is None:
        return KeyDrift(f"{old_id} is deleted at AWS{vault_use}", hint)
    if old != "Active" and not record.step.is_at_least(Step.DEACTIVATED):
        if old in REVERSIBLE_STATUSES:
            hint = (*hint, "; to reactivate it and undo: ", undo)
        # The cause is unknown: this may be our own UpdateAccessKey, if the process ended before it wrote the
        # step.
        return KeyDrift(f"{old_id} is already {old.lower()} at AWS{vault_use}", hint)
    deactivated_at = record.step_times.get(Step.DEACTIVATED, observed.now)
    has_propagated = observed.now - deactivated_at > PROPAGATION_TIME
    if record.step is Step.DEACTIVATED and has_propagated and old == "Active":
        return KeyDrift(
            f"{old_id} was reactivated at AWS, outside keyturn",
            ("To deactivate it: ", resume, "; to return to it: ", undo),
        )
    return None


def _vault_use_of_old(record: Record) -> str:
    return "" if record.step.is_at_least(Step.STORED) else ", and the vault uses it"


def _status_word(status: str | None) -> str:
    return status.lower() if status is not None else "deleted"


def _commands(record: Record) -> tuple[Remedy, Remedy]:
    """Return the commands that resume and undo the rotation."""
    return Remedy("rotate", record.profile, "--resume"), Remedy("rotate", record.profile, "--undo")
