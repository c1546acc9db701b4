"""How a rotation reads: its steps, what stands if it stops there, and the keys that make sense. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from keyturn.model.profile import Profile, Snapshot
from keyturn.model.text import ASCII, Glyphs, masked_key_id, safe
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn_tui.rendering.profile_cells import Line, Span, fit, rotation_words, waiting_words
from keyturn_tui.rendering.profile_detail import policy_words, wrapped

#: From this width on each step has what it does and how it stands side by side.
WIDE = 62
#: Cells of mark, number and name, and of how a step stands.
_HEAD, _NOTE = 16, 20
#: Names of other profiles that are written out.
_NAMED = 3


class Phase(StrEnum):
    """What goes on at this moment."""

    REST = "rest"
    """Nothing, until a key is pressed."""
    WORK = "work"
    """An act is in flight."""
    WAIT = "wait"
    """AWS spreads something, and is asked again soon."""


@dataclass(frozen=True, slots=True)
class RotationView:
    """Where a rotation stands, as far as it was seen."""

    profile: Profile
    """As the latest snapshot has it."""
    phase: Phase = Phase.REST
    progress: Progress | None = None
    """What the last act gave; None where only the snapshot was read."""
    until: datetime | None = None
    """When a wait is over."""
    reached: Mapping[Step, datetime] = field(default_factory=dict)
    """When each step was reached, as far as somebody watched."""
    failed: bool = False
    """The last act raised."""
    is_turning: bool = False
    """The way back was begun, and its first act has not answered yet."""
    is_full: bool = False
    """Both of the user's key slots are used."""
    is_amiss: bool = False
    """Somebody else changed the keys at AWS, so that what was reached does not tell how they stand."""
    is_stopping: bool = False
    """No further act is begun."""
    also: tuple[str, ...] = ()
    """Other profiles that rest on the key."""

    @property
    def step(self) -> Step | None:
        """The step that was reached; None where no rotation waits, or where one on its way back was not looked at."""
        if self.progress is not None:
            return self.progress.step
        waits = self.profile.rotation.waits
        return Step(waits) if waits is not None and waits != "undoing" else None

    @property
    def is_undoing(self) -> bool:
        if self.is_turning:
            return True
        if self.progress is not None:
            return self.progress.is_undoing
        return self.profile.rotation.waits == "undoing"

    @property
    def has_begun(self) -> bool:
        return self.step is not None or self.is_undoing

    @property
    def is_over(self) -> bool:
        return self.progress is not None and self.progress.is_over

    @property
    def orphans(self) -> tuple[str, ...]:
        return self.progress.orphans if self.progress is not None else ()

    @property
    def old(self) -> str:
        """The old key, masked, or in words where nobody has looked yet."""
        if self.progress is not None:
            return masked_key_id(self.progress.old_id)
        key = self.profile.key
        is_old = self.step is None or not self.step.is_past(Step.STORED)
        return masked_key_id(key.key_id) if key and is_old and not self.is_undoing else "the old key"

    @property
    def new(self) -> str:
        """The new key, likewise."""
        if self.progress is not None:
            return masked_key_id(self.progress.new_id) if self.progress.new_id else "the new key"
        key = self.profile.key
        is_new = self.step is not None and self.step.is_past(Step.STORED)
        return masked_key_id(key.key_id) if key and is_new else "the new key"

    @property
    def in_use(self) -> str:
        """The one of the two that sessions come from."""
        step = self.step
        if step is not None and step is not Step.UNDONE and step.is_past(Step.STORED):
            return self.new
        return self.old


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of the list, and the record's step that it ends with."""

    name: str
    what: str
    ends: Step


@dataclass(frozen=True, slots=True)
class StepGlyphs:
    """One character for how a step stands."""

    done: str
    here: str
    work: str
    wait: str
    failed: str


_UNICODE = StepGlyphs("✓", "▸", "↻", "…", "✗")
_ASCII = StepGlyphs("+", ">", "~", ":", "X")

#: How many steps of the way on are done once a record's step is reached.
_DONE = {
    Step.INTENT: 1, Step.CREATED: 3, Step.VERIFIED: 4, Step.STORED: 4, Step.DELIVERED: 5, Step.DEACTIVATED: 6,
    Step.DONE: 7,
}  # fmt: skip
_BOTH = "Nothing is lost; R goes on, or back."
_SUMMARIES = {
    Step.INTENT: "{old} works and is in use. Whether a new key was made is not known yet; R looks for it.",
    Step.CREATED: "{old} and {new} exist, {old} is in use. " + _BOTH,
    Step.VERIFIED: "{old} and {new} work, {old} is in use. " + _BOTH,
    Step.STORED: "{old} and {new} work, {new} is in use. " + _BOTH,
    Step.DELIVERED: "{old} and {new} work, {new} is in use. " + _BOTH,
    Step.DEACTIVATED: "{new} is in use; {old} is switched off, and can be switched on again.",
    Step.DONE: "{new} is in use, {old} is deleted.",
    Step.UNDONE: "{old} is in use, as before.",
}


def rows_of(view: RotationView) -> tuple[StepRow, ...]:
    """The steps of the way on, or of the way back."""
    old, new = view.old, view.new
    if view.is_undoing:
        return (
            StepRow("Reactivate", f"{_key('old', old)}, until it answers", Step.VERIFIED),
            StepRow("Store", "it becomes the vault's key again", Step.VERIFIED),
            StepRow("Delete", f"{_key('new', new)}, which nothing uses", Step.UNDONE),
        )
    made = masked_key_id(view.orphans[0]) if view.orphans else new
    is_off = _DONE.get(view.step or Step.INTENT, 0) >= _DONE[Step.DEACTIVATED]
    return (
        StepRow("Check", "the user, its keys, room for another", Step.CREATED),
        StepRow("Create", _key("new", made) if view.progress else "a new key at AWS", Step.CREATED),
        StepRow("Seal", "new key in the journal, read back", Step.CREATED),
        StepRow("Verify", "AWS answers to it, three in a row", Step.VERIFIED),
        StepRow("Store", "becomes the vault's, old one kept", Step.DELIVERED),
        StepRow(
            "Deactivate", f"{_key('old', old)} {'is off' if is_off else '(reversible)'}", Step.DEACTIVATED
        ),
        StepRow("Delete", f"{_key('old', old)}{'' if view.is_over else ', once you confirm'}", Step.DONE),
    )


def done_of(view: RotationView) -> int:
    """How many of the rows are done."""
    step = view.step
    if not view.is_undoing:
        return _DONE.get(step, 0) if step is not None else 0
    if step is None or (step.is_past(Step.STORED) and step is not Step.UNDONE):
        return 0
    return 3 if step is Step.UNDONE else 2


def title_of(view: RotationView, room: int, glyphs: Glyphs) -> str:
    """The dialog's title: which key, and how far."""
    rule = "--" if glyphs is ASCII else "──"
    count = len(rows_of(view))
    what = "Back to the old key" if view.is_undoing else "Rotate access key"
    far = f" {rule} step {min(done_of(view) + 1, count)} of {count}" if view.has_begun else ""
    if view.is_over:
        far = f" {rule} over"
    left = max(8, room - len(what) - len(far) - 4)
    return f"{what}: {fit(view.profile.name, left).rstrip()}{far}"


def lines_of(view: RotationView, now: datetime, width: int, height: int, glyphs: Glyphs) -> list[Line]:
    """As much as there is room for: who, the steps, what stands, who else uses the key.

    :param height: lines that there is room for; what matters least goes first.
    """
    head, steps = _head(view, width, glyphs), step_lines(view, now, width, glyphs)
    stands = [] if view.is_amiss else _text(stop_words(view), width)
    also = _text(also_words(view), width, "muted")
    gap: list[Line] = [()]
    here = min(done_of(view), len(steps) - 1)
    short = [steps[here]] if view.has_begun else head
    choices = (
        [*head, *gap, *steps, *gap, *stands, *(gap if also else []), *also, *gap],
        [*head, *steps, *stands, *also],
        [*head, *steps, *stands],
        [*steps, *stands],
        [*short, *stands],
    )
    return next((choice for choice in choices if len(choice) <= height), choices[-1])


def step_lines(view: RotationView, now: datetime, width: int, glyphs: Glyphs) -> list[Line]:
    """One line for each step."""
    marks = _ASCII if glyphs is ASCII else _UNICODE
    done, lines = done_of(view), []
    for nth, row in enumerate(rows_of(view)):
        if nth < done:
            mark, role = marks.done, "good"
        elif nth in _at(view) and _is_marked(view):
            mark, role = _here(view, marks)
        else:
            mark, role = " ", "muted"
        note = _note(view, row, nth, done, now)
        lines.append(_step_line(nth, row, (mark, role), note, width))
    return lines


def stop_words(view: RotationView) -> str:
    """What there is if nobody goes on: as an assurance, and for whoever wonders what to press."""
    if view.orphans:
        lost = ", ".join(masked_key_id(key) for key in view.orphans)
        return f"If you stop here: {view.old} works and is in use. {lost} exists at AWS, and its secret never arrived: nobody can use it."
    if view.is_over:
        words = _SUMMARIES[view.step or Step.UNDONE].format(old=view.old, new=view.new)
        return words[0].upper() + words[1:]
    if view.is_undoing:
        return f"If you stop here: {view.old} and {view.new} may both exist. Nothing is lost; R goes on back."
    if view.step is not None:
        return "If you stop here: " + _SUMMARIES[view.step].format(old=view.old, new=view.new)
    if view.phase is not Phase.REST:
        return f"If you stop here: {view.old} works and is in use; a new key that is made is kept. R goes on."
    return f"Start makes a new key, proves that it works, stores it, and switches {view.old} off. It is not deleted before you say so. Nothing has changed yet."


def waiting_line(snapshot: Snapshot) -> str:
    """What is said at the start of rotations that wait; empty where none does."""
    waiting = [one for one in snapshot.profiles if one.rotation.waits is not None]
    if not waiting:
        return ""
    first = waiting[0]
    others = len({one.key.key_id if one.key else one.name for one in waiting}) - 1
    more = f", and {others} more" if others else ""
    words = waiting_words(first.rotation.waits or "")
    return f"The rotation of the key of {safe(first.name, 60)} waits: {words}{more}. R goes on with it."


def also_words(view: RotationView) -> str:
    """Who else uses the key."""
    if not view.also or view.is_over:
        return ""
    named = ", ".join(safe(name, 60) for name in view.also[:_NAMED])
    more = f" and {len(view.also) - _NAMED} more" if len(view.also) > _NAMED else ""
    return f"Also used by: {named}{more}. {'They follow' if len(view.also) > 1 else 'It follows'}."


def keys_of(view: RotationView) -> tuple[tuple[str, str], ...]:  # noqa: PLR0911  # one return for each row of the table
    """What can be pressed, the likeliest first; nothing else does anything."""
    close = ("Esc", "Close")
    if view.phase is not Phase.REST:
        return (("Esc", "Leave it to end by itself" if view.is_stopping else "Stop safely"),)
    if view.is_over:
        return (("Enter", "Close"),)
    if view.orphans:
        return ("D", "Delete that key…"), ("Enter", "Look again"), close
    if view.is_undoing:
        return ("Enter", "Go on back"), close
    if view.step is None:
        again = ("Enter", "Try again" if view.failed else "Start")
        return (("D", "Look at the other key…"), again, close) if view.is_full else (again, close)
    if view.step is Step.INTENT:
        return ("Enter", "Look for the new key"), close
    back = ("u", "Back to the old key…")
    if view.step is Step.DEACTIVATED:
        return ("D", "Delete the old key…"), back, ("Enter", "Look again"), close
    return ("Enter", "Try again" if view.failed else "Go on"), back, close


def _head(view: RotationView, width: int, glyphs: Glyphs) -> list[Line]:
    """Whose key it is, how old, and by what policy."""
    profile, key = view.profile, view.profile.key
    is_known = key is not None and masked_key_id(key.key_id) == view.in_use
    user = f"IAM user {safe(key.user.rpartition('/')[2], 60)}, " if key and key.user else ""
    who = f"{user}account {profile.account or 'not known yet'}."
    age = profile.rotation.age_days if is_known else None
    old = f", {age} day{'' if age == 1 else 's'} old" if age is not None else ""
    which = f" In use: {_key('', view.in_use)}{old}."
    words, _ = rotation_words(profile, glyphs)
    status = f" ({words})" if is_known and profile.rotation.waits is None else ""
    policy = f" Policy: {policy_words(profile)}{status}."
    return _text(who[0].upper() + who[1:] + which + policy, width)


def _key(which: str, key: str) -> str:
    """`old key AKIA…4WQP`, or `the old key` where its id is not known."""
    return key if key.startswith("the ") else f"{which} key {key}".lstrip()


def _here(view: RotationView, marks: StepGlyphs) -> Span:
    if view.phase is Phase.WORK:
        return marks.work, "working"
    if view.phase is Phase.WAIT:
        return marks.wait, "soon"
    return (marks.failed, "error") if view.failed else (marks.here, "title")


def _note(view: RotationView, row: StepRow, nth: int, done: int, now: datetime) -> str:
    """How one step stands, for the right-hand column."""
    if nth < done:
        at = view.reached.get(row.ends)
        return f"{at:%H:%M:%S}" if at is not None else "done"
    if nth in _at(view) and view.phase is not Phase.REST:
        left = max(1, round((view.until - now).total_seconds())) if view.until else 1
        at_work = "stops after this" if view.is_stopping else "at work"
        return at_work if view.phase is Phase.WORK else f"asks again in {left} s"
    if row.ends is Step.DONE:
        return _grace(view, now)
    if nth == done and view.orphans:
        return "its secret is lost"
    if nth == done and view.failed:
        return "not done"
    return "next" if nth == done and _is_marked(view) else ""


def _at(view: RotationView) -> range:
    """The steps that the rotation stands at. The first act checks, creates and seals in one go, and tells no more than
    its end."""
    done = done_of(view)
    is_first = view.phase is Phase.WORK and not view.has_begun
    return range(done, _DONE[Step.CREATED] if is_first else done + 1)


def _is_marked(view: RotationView) -> bool:
    """Whether there is a step that the rotation stands at."""
    return not view.is_over and (view.has_begun or view.failed or view.phase is not Phase.REST)


def _grace(view: RotationView, now: datetime) -> str:
    """When the old key may be deleted."""
    grace = view.progress.deletable_from if view.progress else None
    if grace is None:
        return "waits for you" if view.step is Step.DEACTIVATED else "not before 24 h"
    return f"from {grace:%d %b %H:%M}Z" if grace > now else "may be deleted now"


def _step_line(nth: int, row: StepRow, mark: Span, note: str, width: int) -> Line:
    sign, role = mark
    head: Sequence[Span] = ((f"{sign} ", role), (f"{nth + 1}  {row.name:<{_HEAD - 5}}", role))
    quiet = "muted" if role in ("good", "muted") else role
    if width < WIDE:
        return *head, (fit(note or row.what, max(0, width - _HEAD)), quiet)
    what = max(0, width - _HEAD - _NOTE)
    return *head, (fit(row.what, what), "text" if role != "muted" else "muted"), (fit(note, _NOTE), quiet)


def _text(words: str, width: int, role: str = "text") -> list[Line]:
    return [((line, role),) for line in wrapped(words, width)] if words else []
