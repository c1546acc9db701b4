"""Rows of the timeline and their drawing. Pure over a catalog, a view, a time window and the available
room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from rich.cells import cell_len

from keyturn.model.labels import LOGIN_WORDS, login_renewal_words
from keyturn.model.profile import (
    LOGIN_KINDS,
    Kind,
    Login,
    LoginState,
    Profile,
    RotationState,
    Session,
    State,
    login_end,
    login_state,
    session_state,
)
from keyturn.model.text import ASCII, Glyphs, countdown
from keyturn.profiles.renewal_policy import renewal_time
from keyturn_tui.rendering.layout import GUTTER
from keyturn_tui.rendering.profile_cells import STATE_ROLES, Line, Span, View, fit, rotation_text
from keyturn_tui.rendering.profile_rows import Catalog, Entry
from keyturn_tui.rendering.timeline_scale import (
    Edge,
    Interval,
    TimelineRow,
    Window,
    age_bar,
    cell_of,
    end_order,
    now_cell,
    timeline_row,
)

#: Width of the time left or the key's status. It is at the left, as in the list, because it changes most
#: often.
_LEFT = 13
#: Minimum terminal width for a chart; below it, expiry times are written out.
_MIN_CHART_WIDTH = 58
_AXIS_STEPS = (
    *(timedelta(minutes=minutes) for minutes in (15, 30)),
    *(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12)),
    *(timedelta(days=days) for days in (1, 2, 7)),
)
_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimelineGlyphs:
    """Characters that a row's chart is made of."""

    bar: str
    end: str
    beyond: str
    before: str
    now: str
    renewal: str
    age: str
    remaining: str


_UNICODE = TimelineGlyphs("━", "▌", "→", "←", "┃", "↻", "█", "░")
_ASCII = TimelineGlyphs("=", "]", ">", "<", "|", "r", "#", ".")


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A row of the timeline, with the profile that actions on it apply to."""

    entry: Entry
    label: str
    """Untrusted text from a file; show it through :func:`fit` only."""
    interval: Interval | None
    """None for a long-term key, which has an age but no expiry. Its end is unknown for a sign-in that AWS
    tools renew.
    """
    login: Login | None = None
    """The sign-in that the row is about; None for a session and a key."""

    @property
    def key(self) -> tuple[str, str]:
        """Identity of the row across snapshots."""
        if self.login is not None:
            return "login", self.login.name
        return "key" if self.interval is None else "session", self.label


@dataclass(frozen=True, slots=True)
class Room:
    """Widths of a row's parts in cells, including gaps. The gutter comes first."""

    left: int
    name: int
    chart: int
    """0 if expiry times are written out instead."""
    end: int = 0


def room_in(width: int) -> Room:
    """Return the widths for a row of `width` cells."""
    remaining = max(0, width - GUTTER - _LEFT)
    if width < _MIN_CHART_WIDTH:
        end = 7
        return Room(_LEFT, max(0, remaining - end), 0, end)
    name = min(28, max(12, remaining // 3))
    return Room(_LEFT, name, remaining - name)


def session_rows(catalog: Catalog) -> tuple[TimelineEntry, ...]:
    """Return a row for each session and one for each sign-in, however many profiles use it; earliest expiry
    first."""
    rows = [*_login_rows(catalog), *_own_session_rows(catalog)]
    return tuple(row for _, row in sorted(rows, key=lambda pair: end_order(pair[0])))


def _login_rows(catalog: Catalog) -> Iterator[tuple[Interval, TimelineEntry]]:
    """Yield a row for each sign-in, with the profile that signs in rather than a role that it is the source
    of."""
    names: set[str] = set()
    for entry in sorted(catalog.entries, key=lambda entry: entry.profile.kind not in LOGIN_KINDS):
        login = entry.profile.login
        if login is None or login.name in names:
            continue
        names.add(login.name)
        label = f"login {login.name.removeprefix('https://')}"
        interval = Interval(label, None, None if login.is_renewable else login.until)
        yield interval, TimelineEntry(entry, label, interval, login)


def _own_session_rows(catalog: Catalog) -> Iterator[tuple[Interval, TimelineEntry]]:
    """Yield a row for each session. That of `aws login` is the token of the sign-in, which has a row."""
    for entry in catalog.entries:
        profile, session = entry.profile, entry.profile.session
        if session is None or (profile.login is not None and profile.kind is Kind.CONSOLE_LOGIN):
            continue
        interval = Interval(profile.name, session.issued, session.expires)
        yield interval, TimelineEntry(entry, profile.name, interval)


def key_rows(catalog: Catalog) -> tuple[TimelineEntry, ...]:
    """Return a row for each long-term key: pending rotations first, then by the share of the policy that is
    left."""
    rows = [TimelineEntry(entry, entry.profile.name, None) for entry in catalog.entries if entry.profile.key]
    return tuple(sorted(rows, key=lambda row: (_days_left(row.entry.profile), row.label)))


def _days_left(profile: Profile) -> float:
    rotation = profile.rotation
    if rotation.pending_step is not None:
        return float("-inf")
    if rotation.age_days is None or not rotation.limit_days:
        return float("inf")
    return (rotation.limit_days - rotation.age_days) / rotation.limit_days


def first_upcoming(rows: Sequence[TimelineEntry], now: datetime) -> int:
    """Return the index of the first row that has not expired, in rows sorted by expiry; 0 if there is
    none."""
    return next((nth for nth, row in enumerate(rows) if _is_upcoming(row, now)), 0)


def upcoming(rows: Iterable[TimelineEntry], now: datetime, max_count: int) -> list[TimelineEntry]:
    """Return the first rows that have not expired, at most `max_count`."""
    return list(islice((row for row in rows if _is_upcoming(row, now)), max_count))


def _is_upcoming(row: TimelineEntry, now: datetime) -> bool:
    return row.interval is not None and row.interval.expires is not None and row.interval.expires > now


def row_line(row: TimelineEntry, view: View, window: Window, room: Room, *, selected: bool = False) -> Line:
    """Return one row: cursor, glyph, time left, label and chart."""
    glyph, text = _glyph(row, view), _left_text(row, view)
    cursor = view.glyphs.cursor if selected else " "
    head: list[Span] = [(f"{cursor} {glyph[0]} {fit(text, room.left - 1)} ", glyph[1])]
    head.append((fit(row.label, room.name - 1) + " ", "title" if selected else "text"))
    if not room.chart:
        return *head, (fit(_end_text(row, view), room.end), "muted")
    if row.interval is None:
        return *head, *_age_cells(row.entry.profile, room.chart, glyph[1], view)
    if row.login is not None:
        words = _login_text(row.login, view)
        if words:
            return *head, (fit(words, room.chart), "muted")
    is_renewed = view.snapshot.agent and not view.snapshot.paused
    interval = replace(row.interval, renews=renewal_time(row.entry.profile, view.now) if is_renewed else None)
    return *head, *_bar_cells(
        timeline_row(interval, window, room.chart, view.now), view, window, room.chart, glyph[1]
    )


def _login_text(login: Login, view: View) -> str:
    """Return the words for a sign-in that has ended or whose end is unknown; empty if it has a bar."""
    if login_state(login, view.now) is LoginState.ENDED:
        return "sign in again"
    return login_renewal_words(login) if login.is_renewable else ""


def _glyph(row: TimelineEntry, view: View) -> Span:
    glyphs, profile = view.glyphs, row.entry.profile
    if profile.name in view.working:
        return glyphs.working, "working"
    if row.interval is None:
        state = profile.rotation.state
        if state is RotationState.IN_PROGRESS:
            return glyphs.due, "due"
        due = state in (RotationState.DUE, RotationState.OVERDUE)
        return (glyphs.due, state.value) if due else (glyphs.long_term, "key")
    state_now = session_state(profile.session, view.now)
    if row.login is not None:
        state_now = _login_glyph_state(row.login, view)
    glyph_by_state = {
        State.FRESH: glyphs.fresh,
        State.SOON: glyphs.soon,
        State.EXPIRED: glyphs.expired,
        State.UNKNOWN: glyphs.unknown,
    }
    return glyph_by_state.get(state_now, glyphs.none), STATE_ROLES[state_now]


def _login_glyph_state(login: Login, view: View) -> State:
    """Return the state by which a sign-in is marked: `soon` only if a person must sign in again then."""
    if login.is_renewable:
        return State.EXPIRED if login_state(login, view.now) is LoginState.ENDED else State.FRESH
    return session_state(Session("", None, login.until), view.now)


def _left_text(row: TimelineEntry, view: View) -> str:
    """Return the time left without seconds, because many visible rows may change every second."""
    if row.entry.profile.name in view.working:
        return "working"
    if row.interval is None:
        text, _ = rotation_text(row.entry.profile, view.glyphs)
        return text.removeprefix(f"{view.glyphs.due} ")
    if row.login is None:
        return _time_left(row.interval.expires, view.now, "expired")
    state = login_state(row.login, view.now)
    if row.login.is_renewable and state is not LoginState.ENDED:
        return LOGIN_WORDS[state]
    return _time_left(login_end(row.login), view.now, "ended")


def _time_left(end: datetime | None, now: datetime, past: str) -> str:
    """Return the time until `end`, or the word `past` and the time since then."""
    if end is None:
        return "unknown"
    left = end - now
    if left <= timedelta():
        return f"{past} {_coarse_text(-left)}".rstrip()
    if left < timedelta(minutes=10):
        return f"{left // _MINUTE}m" if left >= _MINUTE else "< 1m"
    return countdown(left)


def _coarse_text(length: timedelta) -> str:
    for unit, letter in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (_MINUTE, "m")):
        if length >= unit:
            return f"{length // unit}{letter}"
    return ""


def _end_text(row: TimelineEntry, view: View) -> str:
    if row.interval is None:
        age = row.entry.profile.rotation.age_days
        return "" if age is None else f"{age}d"
    end = row.interval.expires
    if end is None:
        return ""
    return f"{end:%d %b}" if abs(end - view.now) > timedelta(hours=20) else f"{end:%H:%M}"


def _bar_cells(row_bar: TimelineRow, view: View, window: Window, width: int, role: str) -> Line:
    bar_glyphs = _bar_glyphs(view.glyphs)
    cells: list[Span] = [(" ", "text")] * width
    if row_bar.edge is Edge.UNKNOWN:
        cells = [(ch, "muted") for ch in fit("expiry unknown", width)]
    elif row_bar.edge is Edge.BEFORE:
        cells[0] = (bar_glyphs.before, role)
    elif row_bar.edge is Edge.LATER:
        cells[-1] = (bar_glyphs.beyond, role)
    if row_bar.bar is not None:
        first, last = row_bar.bar
        cells[first : last + 1] = [(bar_glyphs.bar, role)] * (last + 1 - first)
        if row_bar.renewal is not None:
            cells[row_bar.renewal] = (bar_glyphs.renewal, "working")
        cells[last] = (bar_glyphs.end if row_bar.edge is Edge.HERE else bar_glyphs.beyond, role)
    now = now_cell(window, width, view.now)
    if now is not None and row_bar.edge is not Edge.UNKNOWN:
        cells[now] = (bar_glyphs.now, "title")
    return tuple(cells)


def _age_cells(profile: Profile, width: int, role: str, view: View) -> Line:
    rotation = profile.rotation
    bar_glyphs = _bar_glyphs(view.glyphs)
    if rotation.age_days is None:
        return ((fit("age unknown", width), "muted"),)
    if not rotation.limit_days:
        return ((fit(f"{rotation.age_days}d old, no policy", width), "muted"),)
    bar = age_bar(rotation.age_days, rotation.limit_days, width)
    cells: list[Span] = [(bar_glyphs.age, role)] * bar.filled
    cells += [(bar_glyphs.remaining, "dim")] * (bar.limit - bar.filled) + [(" ", "text")] * width
    cells[bar.limit] = (bar_glyphs.now, "title")
    if bar.beyond:
        cells[width - 1] = (bar_glyphs.beyond, role)
    return tuple(cells[:width])


def _bar_glyphs(glyphs: Glyphs) -> TimelineGlyphs:
    return _ASCII if glyphs is ASCII else _UNICODE


def time_axis(window: Window, room: Room, now: datetime) -> Line:
    """Return the heading of the sessions: times of day, and the current time."""
    labels: list[tuple[int, str]] = []
    now_at = now_cell(window, room.chart, now) if room.chart else None
    if now_at is not None:
        labels.append((now_at, "now"))
    if room.chart:
        step = next((s for s in _AXIS_STEPS if s * room.chart // window.span >= 9), _AXIS_STEPS[-1])
        moment = _EPOCH - ((_EPOCH - window.start) // step) * step
        while moment < window.end:
            days = step >= timedelta(days=1) or (moment - _EPOCH) % timedelta(days=1) == timedelta()
            labels.append(
                (cell_of(moment, window, room.chart), f"{moment:%d %b}" if days else f"{moment:%H:%M}")
            )
            moment += step
    return _axis_line("LEFT", "SESSION", "EXPIRES", labels, room)


def key_axis(rows: Iterable[TimelineEntry], room: Room) -> Line:
    """Return the heading of the keys: days if all have the same policy, else percentages."""
    limits = {row.entry.profile.rotation.limit_days for row in rows} - {None}
    labels: list[tuple[int, str]] = []
    if room.chart and limits:
        limit = age_bar(0, 1, room.chart).limit
        common = limits.pop() if len(limits) == 1 else None
        for third in (3, 0, 1, 2):
            label = f"{100 * third // 3}%" if common is None else f"{common * third // 3}d"
            labels.append((limit * third // 3, label))
    return _axis_line("POLICY", "LONG-TERM KEY", "AGE", labels, room)


def _axis_line(left: str, name: str, end: str, labels: Iterable[tuple[int, str]], room: Room) -> Line:
    head = " " * GUTTER + fit(left, room.left) + fit(name, room.name - 1) + " "
    if not room.chart:
        return ((head + fit(end, room.end), "heading"),)
    line = [" "] * room.chart
    for cell, label in labels:
        start = min(cell, room.chart - cell_len(label))
        if start >= 0 and all(ch == " " for ch in line[max(0, start - 1) : start + len(label) + 1]):
            line[start : start + len(label)] = label
    return ((head + "".join(line), "heading"),)
