"""Text of the rotation dialog: steps, state of the keys if it stops now, available keys. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from keyturn.model.profile import Profile, Snapshot
from keyturn.model.text import ASCII, Glyphs, masked_key_id, safe
from keyturn.operations.rotation.progress import STEP_TEXTS, Progress
from keyturn.operations.rotation.record import Step
from keyturn_tui.rendering.profile_cells import (
    Line,
    Span,
    fit,
    join_names,
    next_step_text,
    paragraph,
    rotation_text,
)
from keyturn_tui.rendering.profile_detail import policy_text

#: Minimum width for description and note side by side.
WIDE = 62
#: Width of mark, number and name, and width of the note.
_HEAD_WIDTH, _NOTE_WIDTH = 16, 20


class Phase(StrEnum):
    """Activity of a rotation."""

    IDLE = "rest"
    """Nothing runs; the user presses a key."""
    RUNNING = "work"
    """A step is running."""
    WAITING = "wait"
    """AWS has not propagated a change yet and will be asked again."""


@dataclass(frozen=True, slots=True)
class RotationView:
    """Known state of a rotation."""

    profile: Profile
    """The profile in the latest snapshot."""
    phase: Phase = Phase.IDLE
    progress: Progress | None = None
    """Result of the last step; None if only the snapshot is known."""
    until: datetime | None = None
    """End of the current wait."""
    reached_at: Mapping[Step, datetime] = field(default_factory=dict)
    """Time at which each step was reached in this dialog."""
    failed: bool = False
    """The last step raised an error."""
    is_undo_starting: bool = False
    """An undo was started and its first step has not returned yet."""
    slots_full: bool = False
    """Both access key slots of the user are in use."""
    has_drift: bool = False
    """The keys at AWS were changed outside keyturn, so the reached step does not describe them."""
    is_stopping: bool = False
    """No further step will be started."""
    shared_with: tuple[str, ...] = ()
    """Other profiles that use the key."""

    @property
    def step(self) -> Step | None:
        """The last completed step; None without a pending rotation, or for an undo whose progress is
        unknown."""
        if self.progress is not None:
            return self.progress.step
        waits = self.profile.rotation.pending_step
        return Step(waits) if waits is not None and waits != "undoing" else None

    @property
    def is_undoing(self) -> bool:
        if self.is_undo_starting:
            return True
        if self.progress is not None:
            return self.progress.is_undoing
        return self.profile.rotation.pending_step == "undoing"

    @property
    def has_started(self) -> bool:
        return self.step is not None or self.is_undoing

    @property
    def is_over(self) -> bool:
        return self.progress is not None and self.progress.is_finished

    @property
    def orphans(self) -> tuple[str, ...]:
        return self.progress.orphans if self.progress is not None else ()

    @property
    def uses_new(self) -> bool:
        """Return True if sessions are made from the new key."""
        return self.step not in (None, Step.UNDONE) and self.step.is_at_least(Step.STORED)

    @property
    def old(self) -> str:
        """The old key, masked, or `the old key` if its id is unknown."""
        if self.progress is not None:
            return masked_key_id(self.progress.old_id)
        is_known = not self.uses_new and not self.is_undoing
        return masked_key_id(self.profile.key.key_id) if self.profile.key and is_known else "the old key"

    @property
    def new(self) -> str:
        """The new key, masked, or `the new key` if its id is unknown."""
        if self.progress is not None:
            return masked_key_id(self.progress.new_id) if self.progress.new_id else "the new key"
        key = self.profile.key
        return masked_key_id(key.key_id) if key and self.uses_new else "the new key"

    @property
    def in_use(self) -> str:
        """The key that sessions are made from."""
        return self.new if self.uses_new else self.old


@dataclass(frozen=True, slots=True)
class StepRow:
    """A row of the step list, and the recorded step that completes it."""

    name: str
    description: str
    final_step: Step


#: Mark of a row by its status: in Unicode, in ASCII, and its role.
_MARKS = {
    "done": ("✓", "+", "good"),
    "current": ("▸", ">", "title"),
    "running": ("↻", "~", "working"),
    "waiting": ("…", ":", "soon"),
    "failed": ("✗", "X", "error"),
    "open": (" ", " ", "muted"),
}
#: Number of completed rows by recorded step, for a rotation that is not undone.
_DONE = {
    Step.INTENT: 1, Step.CREATED: 3, Step.VERIFIED: 4, Step.STORED: 4, Step.DELIVERED: 5, Step.DEACTIVATED: 6,
    Step.DONE: 7,
}  # fmt: skip


def step_rows(view: RotationView) -> tuple[StepRow, ...]:
    """Return the steps of the rotation, or of its undo."""
    old, new = view.old, view.new
    if view.is_undoing:
        return (
            StepRow("Reactivate", f"{_key_text('old', old)}, until it works", Step.VERIFIED),
            StepRow("Store", "old key as current key in the vault", Step.VERIFIED),
            StepRow("Delete", f"{_key_text('new', new)}, no longer used", Step.UNDONE),
        )
    created_key = masked_key_id(view.orphans[0]) if view.orphans else new
    is_off = _DONE.get(view.step or Step.INTENT, 0) >= _DONE[Step.DEACTIVATED]
    return (
        StepRow("Check", "user, keys, free key slot", Step.CREATED),
        StepRow(
            "Create", _key_text("new", created_key) if view.progress else "a new key at AWS", Step.CREATED
        ),
        StepRow("Save", "new key encrypted in the journal", Step.CREATED),
        StepRow("Verify", "AWS accepts it three times in a row", Step.VERIFIED),
        StepRow("Store", "new key in the vault, old key kept", Step.DELIVERED),
        StepRow(
            "Deactivate",
            f"{_key_text('old', old)} {'is inactive' if is_off else '(reversible)'}",
            Step.DEACTIVATED,
        ),
        StepRow(
            "Delete", f"{_key_text('old', old)}{'' if view.is_over else ', after you confirm'}", Step.DONE
        ),
    )


def done_count(view: RotationView) -> int:
    """Return the number of completed rows."""
    if not view.is_undoing:
        return _DONE.get(view.step or Step.UNDONE, 0)
    if view.step is None or view.uses_new:
        return 0
    return 3 if view.step is Step.UNDONE else 2


def dialog_title(view: RotationView, room: int, glyphs: Glyphs) -> str:
    """Return the dialog's title with profile and progress."""
    rule = "--" if glyphs is ASCII else "──"
    count = len(step_rows(view))
    description = "Undo rotation" if view.is_undoing else "Rotate access key"
    step_text = f" {rule} step {min(done_count(view) + 1, count)} of {count}" if view.has_started else ""
    progress_text = f" {rule} done" if view.is_over else step_text
    name_width = max(8, room - len(description) - len(progress_text) - 4)
    return f"{description}: {fit(view.profile.name, name_width).rstrip()}{progress_text}"


def dialog_lines(view: RotationView, now: datetime, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """Return as much as fits: owner, steps, summary, other profiles.

    :param height: available lines; the least important part is dropped first.
    """
    header, steps = _header(view, width, glyphs), step_lines(view, now, width, glyphs)
    summary = [] if view.has_drift else paragraph(state_summary(view), width)
    shared_text = shared_with_text(view)
    shared_with = paragraph(shared_text, width, "muted") if shared_text else []
    gap: list[Line] = [()]
    current = min(done_count(view), len(steps) - 1)
    shortened = [steps[current]] if view.has_started else header
    layouts = (
        [*header, *gap, *steps, *gap, *summary, *(gap if shared_with else []), *shared_with, *gap],
        [*header, *steps, *summary, *shared_with],
        [*header, *steps, *summary],
        [*steps, *summary],
        [*shortened, *summary],
    )
    return next((layout for layout in layouts if len(layout) <= height), layouts[-1])


def step_lines(view: RotationView, now: datetime, width: int, glyphs: Glyphs) -> list[Line]:
    """Return one line for each step."""
    lines = []
    for index, row in enumerate(step_rows(view)):
        unicode_mark, ascii_mark, role = _MARKS[_row_status(view, index)]
        mark = ascii_mark if glyphs is ASCII else unicode_mark
        lines.append(_step_line(index, row, (mark, role), _row_note(view, row, index, now), width))
    return lines


def state_summary(view: RotationView) -> str:
    """Return the state of the keys if the rotation stops now."""
    if view.orphans:
        lost_keys = ", ".join(masked_key_id(key) for key in view.orphans)
        return (
            f"If you stop here: {view.old} works and is in use. {lost_keys} exists at AWS, "
            "but its secret was lost: nobody can use it."
        )
    if view.is_over:
        text = _keys_text(view, view.step or Step.UNDONE)
        return text[0].upper() + text[1:]
    if view.is_undoing:
        keys = f"{view.old} and {view.new} may both exist"
        return f"If you stop here: {keys}. Nothing is lost; R resumes the undo."
    if view.step is not None:
        return f"If you stop here: {_keys_text(view, view.step)}"
    if view.phase is not Phase.IDLE:
        return (
            f"If you stop here: {view.old} works and is in use; a new key, once created, is kept. R resumes."
        )
    return (
        f"Start creates a new key, verifies it, stores it, and deactivates {view.old}, "
        "which is deleted only after you confirm. Nothing has changed yet."
    )


def _keys_text(view: RotationView, step: Step) -> str:
    text = STEP_TEXTS[step]
    return (text.keys + text.app).format(old=view.old, new=view.new)


def pending_rotation_line(snapshot: Snapshot) -> str:
    """Return the message at start-up about pending rotations; empty if there are none."""
    pending = [profile for profile in snapshot.profiles if profile.rotation.pending_step is not None]
    if not pending:
        return ""
    others = len({profile.key.key_id if profile.key else profile.name for profile in pending}) - 1
    return pending_text(pending[0], f", and {others} more" if others else "")


def pending_text(profile: Profile, more: str = "") -> str:
    """Return the message about a profile's pending rotation, and about `more`."""
    step = next_step_text(profile.rotation.pending_step or "")
    return f"Rotation of {safe(profile.name, 60)} is pending (next: {step}){more}. Press R to resume."


def shared_with_text(view: RotationView) -> str:
    """Return the other profiles that use the key."""
    if not view.shared_with or view.is_over:
        return ""
    verb = "switch" if len(view.shared_with) > 1 else "switches"
    return f"Also used by: {join_names(view.shared_with)} ({verb} automatically)."


def available_keys(view: RotationView) -> tuple[tuple[str, str], ...]:  # noqa: PLR0911  # one return for each row of the table
    """Return the available keys with their labels, most likely first."""
    close = ("Esc", "Close")
    if view.phase is not Phase.IDLE:
        return (("Esc", "Finish in the background" if view.is_stopping else "Stop safely"),)
    if view.is_over:
        return (("Enter", "Close"),)
    if view.orphans:
        return ("D", "Delete the lost key…"), ("Enter", "Check again"), close
    if view.is_undoing:
        return ("Enter", "Resume undo"), close
    if view.step is None:
        retry = ("Enter", "Try again" if view.failed else "Start")
        return (("D", "Show the other key…"), retry, close) if view.slots_full else (retry, close)
    if view.step is Step.INTENT:
        return ("Enter", "Check for the new key"), close
    undo = ("u", "Undo…")
    if view.step is Step.DEACTIVATED:
        return ("D", "Delete the old key…"), undo, ("Enter", "Check again"), close
    return ("Enter", "Try again" if view.failed else "Continue"), undo, close


def _header(view: RotationView, width: int, glyphs: Glyphs) -> list[Line]:
    """Return the key's owner, age and policy."""
    profile, key = view.profile, view.profile.key
    is_active_key = key is not None and masked_key_id(key.key_id) == view.in_use
    user = f"IAM user {safe(key.user.rpartition('/')[2], 60)}, " if key and key.user else ""
    owner = f"{user}account {profile.account or 'unknown'}."
    age = profile.rotation.age_days if is_active_key else None
    old = f", {age} day{'' if age == 1 else 's'} old" if age is not None else ""
    which = f" In use: {_key_text('', view.in_use)}{old}."
    text, _ = rotation_text(profile, glyphs)
    status = f" ({text})" if is_active_key and profile.rotation.pending_step is None else ""
    policy_sentence = f" Policy: {policy_text(profile)}{status}."
    return paragraph(owner[0].upper() + owner[1:] + which + policy_sentence, width)


def _key_text(which: str, key: str) -> str:
    """Return for example `old key AKIA…4WQP`, or `the old key` if its id is unknown."""
    return key if key.startswith("the ") else f"{which} key {key}".lstrip()


def _row_status(view: RotationView, index: int) -> str:
    """Return the status of a row, a key of :data:`_MARKS`."""
    if index < done_count(view):
        return "done"
    if index not in _current_rows(view) or not _has_current_row(view):
        return "open"
    if view.phase is Phase.IDLE:
        return "failed" if view.failed else "current"
    return "running" if view.phase is Phase.RUNNING else "waiting"


def _row_note(view: RotationView, row: StepRow, index: int, now: datetime) -> str:
    """Return the right-hand column of a step."""
    done = done_count(view)
    if index < done:
        reached = view.reached_at.get(row.final_step)
        return f"{reached:%H:%M:%S}" if reached is not None else "done"
    if index in _current_rows(view) and view.phase is not Phase.IDLE:
        left = max(1, round((view.until - now).total_seconds())) if view.until else 1
        running_text = "stops after this" if view.is_stopping else "running"
        return running_text if view.phase is Phase.RUNNING else f"retry in {left} s"
    if row.final_step is Step.DONE:
        return _deletable_text(view, now)
    if index != done:
        return ""
    if view.orphans:
        return "secret lost"
    return "failed" if view.failed else "next" if _has_current_row(view) else ""


def _current_rows(view: RotationView) -> range:
    """Return the indices of the current steps. The first command checks, creates and seals, and reports only
    its end."""
    done = done_count(view)
    is_first = view.phase is Phase.RUNNING and not view.has_started
    return range(done, _DONE[Step.CREATED] if is_first else done + 1)


def _has_current_row(view: RotationView) -> bool:
    """Return True if there is a current step."""
    return not view.is_over and (view.has_started or view.failed or view.phase is not Phase.IDLE)


def _deletable_text(view: RotationView, now: datetime) -> str:
    """Return the time from which the old key may be deleted."""
    deletable_from = view.progress.deletable_from if view.progress else None
    if deletable_from is None:
        return "needs confirmation" if view.step is Step.DEACTIVATED else "after 24 h earliest"
    return f"from {deletable_from:%d %b %H:%M}Z" if deletable_from > now else "can be deleted now"


def _step_line(index: int, row: StepRow, mark: Span, row_note: str, width: int) -> Line:
    sign, role = mark
    header: Sequence[Span] = ((f"{sign} ", role), (f"{index + 1}  {row.name:<{_HEAD_WIDTH - 5}}", role))
    note_role = "muted" if role in ("good", "muted") else role
    if width < WIDE:
        return *header, (fit(row_note or row.description, max(0, width - _HEAD_WIDTH)), note_role)
    description_width = max(0, width - _HEAD_WIDTH - _NOTE_WIDTH)
    return (
        *header,
        (fit(row.description, description_width), "text" if role != "muted" else "muted"),
        (fit(row_note, _NOTE_WIDTH), note_role),
    )
