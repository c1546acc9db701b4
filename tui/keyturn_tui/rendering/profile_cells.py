"""The words in a row's cells, and the role that colours each: pure over a profile and the moment."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from rich.cells import cell_len, set_cell_size

from keyturn.model.labels import REACHED_WORDS, WAITING_WORDS
from keyturn.model.profile import (
    Failure,
    Kind,
    Profile,
    Renew,
    RotationState,
    Snapshot,
    State,
    VaultState,
    state_of,
)
from keyturn.model.text import UNICODE, Glyphs, countdown, safe

#: A piece of a line: its text, and the role (a name of `theme.ROLES`) that colours it.
Span = tuple[str, str]
Line = tuple[Span, ...]

TYPES = {
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
    State.NONE: "muted",
    State.LONG_TERM: "key",
    State.BROKEN: "broken",
    State.LOCKED: "unknown",
}


@dataclass(frozen=True, slots=True)
class View:
    """All that decides how a profile looks besides the profile itself."""

    snapshot: Snapshot
    now: datetime
    working: AbstractSet[str] = frozenset()
    """Names with an act in flight."""
    failures: tuple[tuple[str, Failure], ...] = ()
    """What went wrong since the snapshot, by name."""
    glyphs: Glyphs = UNICODE
    read_only: bool = False

    @property
    def vault(self) -> VaultState:
        return self.snapshot.vault

    def at(self, now: datetime) -> View:
        """The same view at another moment."""
        return replace(self, now=now)

    def failure(self, profile: Profile) -> Failure | None:
        """The last thing that went wrong for a profile, if nothing has gone right since."""
        for name, failure in self.failures:
            if name == profile.name:
                return failure
        return profile.failure


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: made harmless, cut with `…`, padded."""
    if width <= 0:
        return ""
    shown = safe(text, limit=4 * width + 8)
    length = cell_len(shown)
    if length <= width:
        return shown + " " * (width - length)
    return set_cell_size(shown, width - 1) + "…"


def state_glyph(profile: Profile, view: View) -> Span:
    """The one-cell sign of a profile's state and its role."""
    glyphs = view.glyphs
    if profile.name in view.working:
        return glyphs.working, "working"
    state = state_of(profile, view.vault, view.now)
    if has_unknown_expiry(profile, state):
        return glyphs.unknown, "unknown"
    sign = {
        State.FRESH: glyphs.fresh,
        State.SOON: glyphs.soon,
        State.EXPIRED: glyphs.expired,
        State.NONE: glyphs.none,
        State.LONG_TERM: glyphs.long_term,
        State.BROKEN: glyphs.broken,
        State.LOCKED: glyphs.unknown,
    }[state]
    return sign, STATE_ROLES[state]


def left_text(profile: Profile, view: View) -> str:
    """LEFT: the time left, or the word for why there is none. At most nine cells."""
    if profile.name in view.working:
        return "working"
    state = state_of(profile, view.vault, view.now)
    if has_unknown_expiry(profile, state):
        return "unknown"
    match state:
        case State.FRESH | State.SOON:
            session = profile.session
            return countdown(session.expires - view.now) if session and session.expires else "unknown"
        case State.LONG_TERM:
            age = profile.rotation.age_days
            return "key" if age is None else f"key {age}d"
        case _:
            return state.value


def rotation_cell(profile: Profile, view: View) -> Span:
    """ROTATION: a rotation that waits first, then a failure, else a key's status against its policy, else when keyturn
    renews the session."""
    if profile.rotation.waits is not None:
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
    return renew_text(profile.renew), "text"


def rotation_text(profile: Profile, glyphs: Glyphs) -> Span:  # noqa: PLR0911  # one return for each row of the table
    """A key's rotation status: `ok, due 78d`, `▲ due 19d`, `▲ overdue 4d`, `new sealed`, `off`, `unknown`."""
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
        case RotationState.IN_PROGRESS if rotation.waits is not None:
            return REACHED_WORDS.get(rotation.waits, rotation.waits), "due"
        case RotationState.UNKNOWN:
            return "unknown", "muted"
        case _:
            return rotation.state.value, "muted"


def next_step_text(waits: str) -> str:
    """What a rotation that waits would do next: `verify`."""
    return WAITING_WORDS.get(waits, waits)


def renew_text(renew: Renew | None) -> str:
    """`auto`, `on demand` or `off`; auto is the default."""
    return (renew or Renew.AUTO).value.replace("-", " ")


def state_terms(profile: Profile, view: View) -> str:
    """Every word that `state:` in a filter may name for this row."""
    words = [state_of(profile, view.vault, view.now).value, profile.rotation.state.value]
    words.append("managed" if profile.managed else "native")
    if profile.name in view.working:
        words.append("working")
    if view.failure(profile) is not None:
        words.append("failed")
    if profile.rotation.waits is not None:
        words.append("waits")
    return " ".join(words)


def has_unknown_expiry(profile: Profile, state: State) -> bool:
    """Temporary keys whose end nobody knows: fresh by the model, but a person must not take that for a promise."""
    return state is State.FRESH and (profile.session is None or profile.session.expires is None)
