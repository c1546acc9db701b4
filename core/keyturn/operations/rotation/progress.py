"""Progress of a rotation as front ends show it, without secrets: its texts, and the wait before the next
step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from keyturn.model.errors import Hint, Parts, Remedy, RotationHalted, words
from keyturn.model.json_codec import stored
from keyturn.model.text import masked_key_id
from keyturn.operations.rotation.record import Record, Step

#: Seconds that the propagation of a new key may take before the rotation stops and waits for the user.
TIMEOUT = 150.0


@dataclass(frozen=True, slots=True)
class StepText:
    """Text about the last completed step of a rotation."""

    keys: str
    """The keys that exist, and the one in use. `{old}` and `{new}` are their masked ids."""
    commands: Parts = ()
    """Continues `keys` on the command line. The commands have no profile yet."""
    app: str = "."
    """Continues `keys` in the app."""
    completed: str = ""
    """The step itself, on the command line."""
    undone: str = ""
    """The step as a step of the undo. An undo does not report the others."""


_RESUME, _UNDO, _FINISH = (Remedy("rotate", flag=flag) for flag in ("--resume", "--undo", "--finish"))
_RESUME_OR_UNDO: tuple[Parts, str] = (
    ("; nothing is lost. To continue: ", _RESUME, "; to undo: ", _UNDO),
    ". Nothing is lost; R resumes or undoes it.",
)
STEP_TEXTS: Mapping[Step, StepText] = {
    Step.INTENT: StepText(
        "{old} works and is in use",
        (". It is unknown if {new} was created. To check: ", _RESUME),
        ". A new key may exist at AWS; R checks for it.",
    ),
    Step.CREATED: StepText(
        "{old} and {new} exist, {old} is in use",
        *_RESUME_OR_UNDO,
        "the new key is encrypted in the rotation journal",
    ),
    Step.VERIFIED: StepText(
        "{old} and {new} work, {old} is in use",
        *_RESUME_OR_UNDO,
        "AWS accepted it three times in a row",
        "AWS accepts the old key, and the vault uses it again",
    ),
    Step.STORED: StepText(
        "{old} and {new} work, {new} is in use", *_RESUME_OR_UNDO, "the vault uses it, and keeps the old key"
    ),
    Step.DELIVERED: StepText(
        "{old} and {new} work, {new} is in use",
        *_RESUME_OR_UNDO,
        "sessions in the credentials file are renewed",
    ),
    Step.DEACTIVATED: StepText(
        "{new} is in use",
        (", {old} is deactivated. To reactivate it: ", _UNDO, "; to delete it: ", _FINISH),
        "; {old} is inactive and can be reactivated.",
        "the old key is deactivated; it can be reactivated",
    ),
    Step.DONE: StepText("{new} is in use, {old} is deleted", completed="the old key is deleted"),
    Step.UNDONE: StepText(
        "{old} is in use, as before",
        completed="the old key is the only one again",
        undone="the old key is the only one again",
    ),
}


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
        return words(self.summary_parts())

    def summary_parts(self) -> Parts:
        """Return the summary as words and commands."""
        old = masked_key_id(self.old_id)
        new = masked_key_id(self.new_id) if self.new_id else "a new key"
        if self.drift:
            return (self.drift,)
        if self.orphans:
            ids = ", ".join(masked_key_id(key) for key in self.orphans)
            text = f"{old} works and is in use. {ids} exists at AWS, but its secret is lost. To delete it: "
            return (text, Remedy("rotate", self.profile, f"--drop {self.orphans[0][-4:]}"))
        if self.is_undoing and not self.is_finished:
            text = f"{old} and {new} may both exist; nothing is lost. To continue the undo: "
            return (text, replace(_UNDO, profile=self.profile))
        step_text = STEP_TEXTS[self.step]
        return tuple(
            part.format(old=old, new=new) if isinstance(part, str) else replace(part, profile=self.profile)
            for part in (step_text.keys, *step_text.commands)
        )


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


def rotation_halted(record: Record, why: str, hint: Hint) -> RotationHalted:
    """Return the error for a rotation that waits for the user."""
    return RotationHalted(f"Rotation of {record.profile} stopped", why, hint)


@dataclass
class StepWaits:
    """Waits between the steps of one run, and their limit."""

    step: Step | None = None
    since: datetime | None = None
    """Time at which that step was reached."""

    def next_wait(self, progress: Progress, now: datetime) -> float | None:
        """Return the seconds to wait before the next step, or None if no step follows without the user.

        :raises RotationHalted: if AWS does not accept a key everywhere within :data:`TIMEOUT`.
        """
        if progress.is_finished or progress.is_halted:
            return None
        if self.since is None or progress.step is not self.step:
            self.step, self.since = progress.step, now
        if progress.wait and (now - self.since).total_seconds() > TIMEOUT:
            raise RotationHalted(
                f"Rotation of {progress.profile} stopped", progress.note, progress.summary_parts()
            )
        return progress.wait
