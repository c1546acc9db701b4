"""Progress of a rotation as front ends show it, without secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from keyturn.model.json_codec import stored
from keyturn.model.text import masked_key_id
from keyturn.operations.rotation.record import Record, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """State of a rotation after one step."""

    profile: str
    user: str
    old_id: str
    new_id: str | None = None
    step: Step
    is_undoing: bool = field(default=False, metadata=stored("undoing"))
    wait: float = 0.0
    """Seconds to wait before the next step, because AWS has not propagated a change yet."""
    is_halted: bool = field(default=False, metadata=stored("halted"))
    """The rotation waits for a decision of the user."""
    note: str = ""
    """An additional remark on the last step."""
    orphans: tuple[str, ...] = ()
    """Ids of keys at AWS whose secret keyturn does not hold."""
    deletable_from: datetime | None = None
    """End of the old key's grace period."""
    drift: str = field(default="", metadata=stored("amiss"))
    """Difference between AWS's list of keys and the record, with the commands that resolve it."""

    @property
    def is_finished(self) -> bool:
        """Return True if no step is left."""
        return self.step.is_last

    def summary(self) -> str:
        """Return a sentence that says which keys exist and which command comes next."""
        old = masked_key_id(self.old_id)
        new = masked_key_id(self.new_id) if self.new_id else "a new key"
        command = f"keyturn rotate {self.profile}"
        if self.drift:
            return self.drift
        if self.orphans:
            orphan_ids = ", ".join(masked_key_id(key) for key in self.orphans)
            return (
                f"{old} works and is in use. {orphan_ids} exists at AWS, but its secret is lost. "
                f"To delete it: {command} --drop {self.orphans[0][-4:]}"
            )
        if self.is_undoing and not self.is_finished:
            return f"{old} and {new} may both exist; nothing is lost. To continue the undo:  {command} --undo"
        return _SUMMARIES[self.step].format(old=old, new=new, again=command)


_NEXT_COMMANDS = "nothing is lost. To continue: {again} --resume; to undo: {again} --undo"
_SUMMARIES = {
    Step.INTENT: "{old} works and is in use. It is unknown if {new} was created. To check: {again} --resume",
    Step.CREATED: "{old} and {new} exist, {old} is in use; " + _NEXT_COMMANDS,
    Step.VERIFIED: "{old} and {new} work, {old} is in use; " + _NEXT_COMMANDS,
    Step.STORED: "{old} and {new} work, {new} is in use; " + _NEXT_COMMANDS,
    Step.DELIVERED: "{old} and {new} work, {new} is in use; " + _NEXT_COMMANDS,
    Step.DEACTIVATED: (
        "{new} is in use, {old} is deactivated. To reactivate it: {again} --undo; to delete it: {again} --finish"
    ),
    Step.DONE: "{new} is in use, {old} is deleted",
    Step.UNDONE: "{old} is in use, as before",
}


def progress_of(record: Record, **fields: Any) -> Progress:
    """Return the progress of a record."""
    return Progress(
        profile=record.profile,
        user=record.user,
        old_id=record.old.access_key_id,
        step=record.step,
        new_id=record.new.access_key_id if record.new else None,
        is_undoing=record.is_undoing,
        deletable_from=record.deletable_from(),
        **fields,
    )
