"""Lines of styled text, and the texts and colour roles of a profile's cells. Pure over a profile and the
time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from rich.cells import cell_len, set_cell_size

from keyturn.model.labels import LOGIN_WORDS, REACHED_WORDS, WAITING_WORDS
from keyturn.model.profile import (
    Failure,
    Kind,
    Profile,
    Renew,
    RotationState,
    Snapshot,
    State,
    VaultState,
    has_login,
    login_state,
    state_of,
)
from keyturn.model.text import UNICODE, Glyphs, countdown, safe

#: A piece of a line: its text, and its colour role (a key of `theme.ROLES`).
Span = tuple[str, str]
Line = tuple[Span, ...]

TYPES: Mapping[str, str] = {
    Kind.IAM_KEY: "IAM key",
    Kind.ROLE: "Role",
    Kind.SSO_ROLE: "SSO role",
    Kind.SAML_ROLE: "SAML role",
    Kind.WEB_IDENTITY: "Web ident",
    Kind.CONSOLE_LOGIN: "Login",
    Kind.PROCESS: "Process",
    Kind.MFA_SESSION: "MFA sess.",
    Kind.STATIC_SESSION: "Session",
    Kind.UNKNOWN: "unknown",
}
STATE_ROLES = {
    State.FRESH: "fresh",
    State.SOON: "soon",
    State.EXPIRED: "expired",
    State.UNKNOWN: "unknown",
    State.NONE: "muted",
    State.LONG_TERM: "key",
    State.BROKEN: "broken",
    State.LOCKED: "unknown",
}


@dataclass(frozen=True, slots=True)
class View:
    """Everything besides the profile itself that determines how it looks."""

    snapshot: Snapshot
    now: datetime
    working: AbstractSet[str] = frozenset()
    """Names of profiles with a running operation."""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """Failures since the snapshot, by profile name."""
    glyphs: Glyphs = UNICODE
    read_only: bool = False

    @property
    def vault(self) -> VaultState:
        return self.snapshot.vault

    def at(self, now: datetime) -> View:
        """Return the same view at another time."""
        return replace(self, now=now)

    def failure(self, profile: Profile) -> Failure | None:
        """Return the last failure of a profile, unless something succeeded since."""
        return self.failures.get(profile.name, profile.failure)


def type_label(profile: Profile) -> str:
    """Return the type of a profile in few letters."""
    return TYPES.get(profile.kind) or profile.kind_label or profile.kind


def fit(text: str, width: int) -> str:
    """Return `text` in exactly `width` cells: made safe, cut with `…`, padded."""
    if width <= 0:
        return ""
    shown = safe(text, limit=4 * width + 8)
    length = cell_len(shown)
    if length <= width:
        return shown + " " * (width - length)
    return set_cell_size(shown, width - 1) + "…"


def wrap(text: str, width: int) -> list[str]:
    """Return `text`, made safe, in lines of at most `width` cells. Breaks at spaces, and inside a word that
    is too long."""
    width = max(4, width)
    lines, line = [], ""
    for word in _pieces(safe(text), width):
        candidate = f"{line} {word}" if line else word
        if cell_len(candidate) <= width:
            line = candidate
        else:
            lines.append(line)
            line = word
    return [*lines, line]


def _pieces(text: str, width: int) -> Iterator[str]:
    for word in text.split(" "):
        piece = ""
        for ch in word:
            if cell_len(piece + ch) > width:
                yield piece
                piece = ""
            piece += ch
        yield piece


def paragraph(text: str, width: int, role: str = "text") -> list[Line]:
    """Return a text, made safe and wrapped."""
    return [((line, role),) for line in wrap(text, width)]


def marked_paragraph(mark: str, text: str, width: int, role: str) -> list[Line]:
    """Return a text, made safe and wrapped, after a mark that is as wide as the indent of the other lines."""
    return [
        ((f"{' ' * len(mark) if nth else mark} {line}", role),)
        for nth, line in enumerate(wrap(text, width - len(mark) - 1))
    ]


def line_width(line: Line) -> int:
    """Return the width of a line in cells."""
    return sum(cell_len(text) for text, _ in line)


def join_names(names: Sequence[str], limit: int = 3) -> str:
    """Return the first names, made safe, and the number of the others."""
    listed = ", ".join(safe(name, 60) for name in names[:limit])
    return listed if len(names) <= limit else f"{listed} and {len(names) - limit} more"


def state_glyph(profile: Profile, view: View) -> Span:
    """Return the one-cell glyph of a profile's state, and its role."""
    glyphs = view.glyphs
    if profile.name in view.working:
        return glyphs.working, "working"
    state = state_of(profile, view.vault, view.now)
    sign = {
        State.FRESH: glyphs.fresh,
        State.SOON: glyphs.soon,
        State.EXPIRED: glyphs.expired,
        State.UNKNOWN: glyphs.unknown,
        State.NONE: glyphs.none,
        State.LONG_TERM: glyphs.long_term,
        State.BROKEN: glyphs.broken,
        State.LOCKED: glyphs.unknown,
    }[state]
    return sign, STATE_ROLES[state]


def left_text(profile: Profile, view: View) -> str:
    """Return the text of LEFT: the time left, else the state of the sign-in that gets the next session, else
    the state. At most nine cells."""
    if profile.name in view.working:
        return "working"
    state = state_of(profile, view.vault, view.now)
    match state:
        case State.FRESH | State.SOON:
            session = profile.session
            return countdown(session.expires - view.now) if session and session.expires else "unknown"
        case State.NONE if profile.login is not None and has_login(profile, view.now):
            return LOGIN_WORDS[login_state(profile.login, view.now)]
        case State.LONG_TERM:
            age = profile.rotation.age_days
            return "key" if age is None else f"key {age}d"
        case _:
            return state.value


def rotation_cell(profile: Profile, view: View) -> Span:
    """Return the text of ROTATION: a pending rotation, else a failure, else the key's age against its policy,
    else the renewal mode of the session."""
    if profile.rotation.pending_step is not None:
        return rotation_text(profile, view.glyphs)
    failure = view.failure(profile)
    if failure is not None:
        return f"{view.glyphs.broken} failed {failure.at:%H:%M}", "error"
    if profile.problem is not None:
        return "-", "muted"
    if profile.rotation.state is not RotationState.NOT_APPLICABLE:
        return rotation_text(profile, view.glyphs)
    if not profile.managed:
        return "native", "muted"
    return (profile.renew or Renew.AUTO).value.replace("-", " "), "text"


def rotation_text(profile: Profile, glyphs: Glyphs) -> Span:  # noqa: PLR0911  # one return for each row of the table
    """Return a key's rotation status, for example `ok, due 78d`, `▲ due 19d`, `▲ overdue 4d`, `off` or
    `unknown`."""
    rotation = profile.rotation
    age, limit = rotation.age_days, rotation.limit_days
    match rotation.state:
        case RotationState.OK if age is not None and limit:
            return f"ok, due {limit - age}d", "text"
        case RotationState.DUE if age is not None and limit:
            return f"{glyphs.due} due {limit - age}d", "due"
        case RotationState.OVERDUE if age is not None and limit:
            return f"{glyphs.due} overdue {age - limit}d", "overdue"
        case RotationState.DUE | RotationState.OVERDUE:
            return f"{glyphs.due} {rotation.state.value}", rotation.state.value
        case RotationState.IN_PROGRESS if rotation.pending_step is not None:
            return REACHED_WORDS.get(rotation.pending_step, rotation.pending_step), "due"
        case RotationState.UNKNOWN:
            return "unknown", "muted"
        case _:
            return rotation.state.value, "muted"


def next_step_text(waits: str) -> str:
    """Return the next step of a pending rotation, for example `verify`."""
    return WAITING_WORDS.get(waits, waits)


def state_terms(profile: Profile, view: View) -> str:
    """Return every word that `state:` in a filter matches for this row."""
    words = {
        state_of(profile, view.vault, view.now).value: True,
        profile.rotation.state.value: True,
        "managed" if profile.managed else "native": True,
        "working": profile.name in view.working,
        "failed": view.failure(profile) is not None,
        "waits": profile.rotation.pending_step is not None,
    }
    if profile.login is not None:
        words[login_state(profile.login, view.now).value] = True
    return " ".join(word for word, applies in words.items() if applies)
