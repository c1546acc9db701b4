"""Registry of all user actions. Key bindings, footer, help and command palette are generated from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding, BindingType

from keyturn.awsconfig import process_line
from keyturn.model.errors import RUN, THEN_RUN, KeyturnError, Parts, Remedy, parts_of
from keyturn.model.profile import FileWarning, Profile, RotationState, State, VaultState, state_of
from keyturn.profiles.status import Refusal, why_not_adoptable, why_not_rotatable
from keyturn_tui.rendering.profile_cells import View
from keyturn_tui.rendering.profile_rows import Entry, Problem, Row

#: Words before a key in a hint, by those before a command.
_PRESS = {RUN: "Press ", THEN_RUN: "press "}
#: Keys of a row, by the verb that does the same.
_KEYS_OF_VERBS = {"adopt": "m", "release": "m", "refresh": "r", "rotate": "R"}


class Area(StrEnum):
    """Headings of the help screen."""

    MOVE = "Move"
    PROFILE = "Profile"
    APP = "App"


@dataclass(frozen=True, slots=True)
class Action:
    """One user action.

    `id` determines the method that runs it: `session.refresh` calls `do_session_refresh` of the screen.
    """

    id: str
    keys: tuple[str, ...]
    """Key names as Textual writes them."""
    key_label: str
    """Keys as the help screen shows them; the first is shown in the footer."""
    label: str
    """Label in footer and palette. Ends in `…` if the action asks for confirmation first."""
    help: str
    area: Area
    writes: bool = False
    """True if the action fetches, stores or ends something. Refused with --read-only."""
    row: bool = False
    """True if the action needs a selected profile."""
    palette: bool = True


ACTIONS: tuple[Action, ...] = (
    Action("list.down", ("j", "down"), "j ↓", "Down", "one row down", Area.MOVE, palette=False),
    Action("list.up", ("k", "up"), "k ↑", "Up", "one row up", Area.MOVE, palette=False),
    Action("list.first", ("g", "home"), "g Home", "Top", "first row", Area.MOVE, palette=False),
    Action("list.last", ("G", "end"), "G End", "Bottom", "last row", Area.MOVE, palette=False),
    Action(
        "list.half_down",
        ("ctrl+d",),
        "ctrl+d",
        "Half page down",
        "half a page down",
        Area.MOVE,
        palette=False,
    ),
    Action("list.half_up", ("ctrl+u",), "ctrl+u", "Half page up", "half a page up", Area.MOVE, palette=False),
    Action("list.page_down", ("pagedown",), "PgDn", "Page down", "a page down", Area.MOVE, palette=False),
    Action("list.page_up", ("pageup",), "PgUp", "Page up", "a page up", Area.MOVE, palette=False),
    Action("pane.next", ("tab",), "Tab", "Next pane", "switch to the other pane", Area.MOVE, palette=False),
    Action("pane.list", ("1",), "1", "Profiles", "go to the list", Area.MOVE, palette=False),
    Action("pane.detail", ("2",), "2", "Details", "go to the details", Area.MOVE, palette=False),
    Action("timeline", ("t", "3"), "t 3", "Timeline", "session expiry and key age", Area.MOVE),
    Action(
        "timeline.zoom_in",
        ("plus", "equals_sign"),
        "+",
        "Zoom in",
        "timeline: shorter time span",
        Area.MOVE,
        palette=False,
    ),
    Action(
        "timeline.zoom_out",
        ("minus",),
        "-",
        "Zoom out",
        "timeline: longer time span",
        Area.MOVE,
        palette=False,
    ),
    Action(
        "timeline.earlier", ("h", "left"), "h ←", "Earlier", "timeline: earlier", Area.MOVE, palette=False
    ),
    Action("timeline.later", ("l", "right"), "l →", "Later", "timeline: later", Area.MOVE, palette=False),
    Action(
        "timeline.now", ("full_stop", "0"), ". 0", "Now", "timeline: back to now", Area.MOVE, palette=False
    ),
    Action("filter", ("slash",), "/", "Filter", "type:sso state:expired acct:4444 !word text", Area.MOVE),
    Action(
        "back",
        ("escape",),
        "Esc",
        "Back",
        "go back; stop a refresh of all; clear the filter",
        Area.MOVE,
        palette=False,
    ),
    Action(
        "session.refresh",
        ("r",),
        "r",
        "Refresh",
        "get a new session for this profile",
        Area.PROFILE,
        writes=True,
        row=True,
    ),
    Action(
        "session.refresh_due",
        ("a",),
        "a",
        "Refresh due",
        "refresh all due; asks about expired unused ones",
        Area.PROFILE,
        writes=True,
    ),
    Action(
        "login",
        ("i",),
        "i",
        "Sign in",
        "sign in, or enter the MFA code, for this profile",
        Area.PROFILE,
        writes=True,
        row=True,
    ),
    Action(
        "manage",
        ("m",),
        "m",
        "Manage…",
        "adopt a native profile or release a managed one",
        Area.PROFILE,
        writes=True,
        row=True,
    ),
    Action(
        "key.rotate",
        ("R",),
        "R",
        "Rotate…",
        "replace the access key, step by step",
        Area.PROFILE,
        writes=True,
        row=True,
    ),
    Action(
        "session.stop",
        ("x",),
        "x",
        "Stop",
        "end the session and remove delivered credentials",
        Area.PROFILE,
        writes=True,
        row=True,
    ),
    Action(
        "open",
        ("enter",),
        "Enter",
        "Open",
        "show all details of this profile",
        Area.PROFILE,
        row=True,
        palette=False,
    ),
    Action("sort", ("s",), "s", "Sort", "sort by source, attention, time left or name", Area.APP),
    Action("sort.reverse", ("S",), "S", "Reverse", "reverse the sort order", Area.APP),
    Action(
        "lock",
        ("L",),
        "L",
        "Lock vault",
        "you can still browse; the next refresh asks",
        Area.APP,
        writes=True,
    ),
    Action(
        "renewal.pause", ("p",), "p", "Pause renewal", "pause or resume auto-renewal", Area.APP, writes=True
    ),
    Action("theme", ("T",), "T", "Theme", "switch theme: dark, light, colour-blind variants", Area.APP),
    Action("redraw", ("ctrl+l",), "ctrl+l", "Redraw", "redraw the screen", Area.APP, palette=False),
    Action(
        "palette",
        ("ctrl+p", "colon"),
        ": ctrl+p",
        "Commands",
        "find an action or a profile",
        Area.APP,
        palette=False,
    ),
    Action("help", ("question_mark",), "?", "Help", "show this list", Area.APP),
    Action("quit", ("q",), "q", "Quit", "quit; delivered credentials stay in place", Area.APP),
)
BY_ID = {action.id: action for action in ACTIONS}


def allowed_actions(ids: Iterable[str], view: View) -> tuple[Action, ...]:
    """Return the actions with these ids, without those that --read-only refuses."""
    return tuple(BY_ID[id_] for id_ in ids if not (BY_ID[id_].writes and view.read_only))


def bindings(ids: tuple[str, ...] = tuple(BY_ID)) -> list[BindingType]:
    """Return Textual bindings that call `run('ID')` of the screen.

    The binding of `filter` has priority, because it moves the focus: Textual then runs it before it handles
    the next key, which would otherwise still be taken for an action.
    """
    return [
        Binding(
            ",".join(BY_ID[id_].keys), f"run('{id_}')", BY_ID[id_].label,
            id=id_, show=False, priority=id_ == "filter",
        )
        for id_ in ids
    ]  # fmt: skip


def why_unavailable(action: Action, row: Row | None, view: View) -> str | None:  # noqa: PLR0911  # one return for each row of the table
    """Return the reason that an action cannot run on this row, as a clause; None if it can. The row's profile
    is `it`.
    """
    if action.writes and view.read_only:
        return "keyturn was started with --read-only"
    if action.id == "lock" and view.vault in (VaultState.ABSENT, VaultState.LOCKED):
        return "there is no vault yet" if view.vault is VaultState.ABSENT else "the vault is already locked"
    if action.id == "renewal.pause" and not view.snapshot.agent:
        return "no agent is running, so auto-renewal is off"
    if not action.row or action.id == "open":
        return None
    if isinstance(row, Problem):
        if isinstance(row.problem, FileWarning):
            return "this row is a line that AWS tools misread; correct it, or select a profile"
        return "this row is a file that AWS tools reject; fix it, or select a profile"
    if not isinstance(row, Entry):
        return "select a profile first"
    profile = row.profile
    if profile.name in view.working:
        return "another operation on it is running"
    if action.id == "session.stop" and profile.session is None:
        return "it has no session"
    if action.id == "manage":
        return why_not_manageable(profile)
    return _text_of(profile, why_not_rotatable(profile)) if action.id == "key.rotate" else None


def label_of(action: Action, row: Row | None) -> str:
    """Return the label for this row. `m` is `Adopt…` or `Release…`, `i` may be `MFA code`, `R` resumes a
    pending rotation."""
    if isinstance(row, Entry):
        if action.id == "manage":
            return "Release…" if row.profile.managed else "Adopt…"
        if action.id == "login" and row.profile.mfa_serial:
            return "MFA code"
        if action.id == "key.rotate" and row.profile.rotation.pending_step is not None:
            return "Resume…"
    return action.label


def row_actions(row: Row | None, view: View) -> tuple[Action, ...]:
    """Return the actions that the footer shows for this row only: at most two, most urgent first."""
    if not isinstance(row, Entry) or view.read_only:
        return ()
    profile = row.profile
    state = state_of(profile, view.vault, view.now)
    offered = {
        "key.rotate": needs_rotation(profile),
        "login": profile.mfa_serial and state in (State.EXPIRED, State.NONE, State.SOON),
        "manage": why_not_manageable(profile) is None,
        "session.stop": profile.managed and profile.session is not None,
    }
    return tuple(BY_ID[id_] for id_, applies in offered.items() if applies)[:2]


def why_not_manageable(profile: Profile) -> str | None:
    """Return the reason that a profile can be neither adopted nor released, judged by its row; None if it
    may be. The service also checks the files.
    """
    refusal = None if profile.managed else why_not_adoptable(profile)
    if refusal is not None:
        return _text_of(profile, refusal)
    try:
        process_line.check_name(profile.name)
    except KeyturnError as error:
        return f"{error.why}; rename it in the files"
    return None


def _text_of(profile: Profile, refusal: Refusal | None) -> str | None:
    if refusal is None:
        return None
    parts = parts_of(refusal.hint)
    if any(isinstance(part, Remedy) and part.operation == "show" for part in parts):
        return refusal.why  # the details are one key away everywhere
    hint = words_with_keys(parts, lambda remedy: _key_of(remedy, profile.name))
    return f"{refusal.why}. {hint}" if hint else refusal.why


def _key_of(remedy: Remedy, name: str) -> str | None:
    """Return the key that does the same on the row of `name`, or on another profile's row; None if there is
    none."""
    key = None if remedy.flag else _KEYS_OF_VERBS.get(remedy.operation)
    return key and (key if remedy.profile == name else f"{key} on {remedy.profile}")


def words_with_keys(parts: Parts, key_of: Callable[[Remedy], str | None]) -> str:
    """Word a hint with keys in place of the commands that have one: "Press u" for "Run: keyturn rotate NAME
    --undo".
    """
    texts: list[str] = []
    for part in parts:
        key = None if isinstance(part, str) else key_of(part)
        if key and texts:
            texts[-1] = _PRESS.get(texts[-1], texts[-1])
        texts.append(part if isinstance(part, str) else key or part.command())
    return "".join(texts)


def needs_rotation(profile: Profile) -> bool:
    """Return True if the key is due or overdue, or its rotation is pending, and `R` can act on it."""
    states = (RotationState.DUE, RotationState.OVERDUE, RotationState.IN_PROGRESS)
    return profile.rotation.state in states and why_not_rotatable(profile) is None
