"""Compare the rotation record with AWS's list of keys, and say what to do about a difference. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.model.errors import THEN_RUN, Parts, Remedy, words
from keyturn.operations.rotation.record import PROPAGATION_TIME, Record, Step
from keyturn.operations.rotation.state_machine import ObservedKeys, is_new_key_gone


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

    A difference that AWS's eventual consistency explains is not drift.
    """
    if record.new is None or record.step.is_last:
        return None
    old, new = observed.status(record.old), observed.status(record.new)
    if not record.is_undoing and (drift := _new_key_drift(record, old, new, observed)) is not None:
        return drift
    return _old_key_drift(record, old, observed)


def _new_key_drift(
    record: Record, old: str | None, new: str | None, observed: ObservedKeys
) -> KeyDrift | None:
    resume, undo = _commands(record)
    new_id = record.masked_new_id
    vault_use = ", and the vault uses it" if record.step.is_at_least(Step.STORED) else ""
    if new is None:
        if not is_new_key_gone(record, observed):
            return None
        if old == "Active":
            hint = (f"To return to {record.masked_old_id}, which works: ", resume)
        else:
            hint = (f"Reactivate {record.masked_old_id} at AWS, then return to it: ", undo)
        return KeyDrift(f"{new_id} was deleted at AWS, outside keyturn{vault_use}", hint)
    if new != "Active":
        return KeyDrift(
            f"{new_id} is {new.lower()} at AWS, changed outside keyturn{vault_use}",
            (
                f"To return to {record.masked_old_id}: ", undo,
                f"; or reactivate {new_id} at AWS, then ", THEN_RUN, resume,
            ),
        )  # fmt: skip
    return None


def _old_key_drift(record: Record, old: str | None, observed: ObservedKeys) -> KeyDrift | None:
    resume, undo = _commands(record)
    old_id = record.masked_old_id
    vault_use = "" if record.step.is_at_least(Step.STORED) else ", and the vault uses it"
    if old is None:
        return KeyDrift(
            f"{old_id} is deleted at AWS{vault_use}", (f"To continue with {record.masked_new_id}: ", resume)
        )
    if record.is_undoing:
        return None
    if old != "Active" and not record.step.is_at_least(Step.DEACTIVATED):
        hint = (f"To continue with {record.masked_new_id}: ", resume, "; to reactivate it and undo: ", undo)
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


def _commands(record: Record) -> tuple[Remedy, Remedy]:
    """Return the commands that resume and undo the rotation."""
    return Remedy("rotate", record.profile, "--resume"), Remedy("rotate", record.profile, "--undo")
