"""The timeline's rows and how each is drawn: pure over a catalog, a view, a window and the room there is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from rich.cells import cell_len

from keyturn.model.profile import Kind, Profile, RotationState, State, session_state
from keyturn.model.text import ASCII, Glyphs, countdown
from keyturn.profiles.renewal_policy import planned
from keyturn_tui.rendering.layout import GUTTER
from keyturn_tui.rendering.profile_cells import STATE_ROLES, Line, Span, View, fit, rotation_words
from keyturn_tui.rendering.profile_rows import Catalog, Entry
from keyturn_tui.rendering.timeline_scale import (
    Edge,
    Interval,
    TimelineRow,
    Window,
    age_bar,
    by_end,
    cell_of,
    lane_of,
    now_cell,
)

#: Cells of what is left, or of a key's status; what changes with time stands at the left, as in the list.
_LEFT = 13
#: Below this a chart says nothing any more, and the ends are written out.
_LEAST = 58
_AXIS_STEPS = (
    *(timedelta(minutes=minutes) for minutes in (15, 30)),
    *(timedelta(hours=hours) for hours in (1, 2, 3, 6, 12)),
    *(timedelta(days=days) for days in (1, 2, 7)),
)
_MINUTE = timedelta(minutes=1)
_DAWN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TimelineGlyphs:
    """One character for each thing that a lane is made of."""

    bar: str
    end: str
    beyond: str
    before: str
    now: str
    renewal: str
    age: str
    rest: str


_UNICODE = TimelineGlyphs("━", "▌", "→", "←", "┃", "↻", "█", "░")
_ASCII = TimelineGlyphs("=", "]", ">", "<", "|", "r", "#", ".")


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A lane with the profile that acts on it are about."""

    entry: Entry
    label: str
    """From a file, so hostile until shown through `fit`."""
    life: Interval | None
    """None for a long-term key, which has an age and no end."""
    is_login: bool = False
    """A login, which a profile of the same label is not."""

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same over snapshots."""
        kind = "key" if self.life is None else "login" if self.is_login else "session"
        return kind, self.label


@dataclass(frozen=True, slots=True)
class Room:
    """Cells of a row's parts, gaps included; GUTTER comes first."""

    left: int
    name: int
    chart: int
    """0 where the ends are written out instead."""
    end: int = 0


def room_in(width: int) -> Room:
    """The parts of a row of `width` cells."""
    rest = max(0, width - GUTTER - _LEFT)
    if width < _LEAST:
        end = 7
        return Room(_LEFT, max(0, rest - end), 0, end)
    name = min(28, max(12, rest // 3))
    return Room(_LEFT, name, rest - name)


def session_rows(listed: Catalog) -> tuple[TimelineEntry, ...]:
    """A lane for each session, and one for each login however many profiles hang on it; what ends first comes first."""
    rows: dict[tuple[str, str], tuple[Interval, TimelineEntry]] = {}
    for entry in listed.entries:
        profile = entry.profile
        session = profile.session
        if session is None:
            continue
        login = _is_login(profile)
        label = (
            f"login {(profile.source or profile.name).removeprefix('https://')}" if login else profile.name
        )
        life = Interval(label, session.issued, session.expires)
        rows.setdefault(
            ("login" if login else "session", label), (life, TimelineEntry(entry, label, life, login))
        )
    return tuple(row for _, row in sorted(rows.values(), key=lambda pair: by_end(pair[0])))


def key_rows(listed: Catalog) -> tuple[TimelineEntry, ...]:
    """A lane for each long-term key; first those whose rotation waits, then what is furthest past its policy, or nearest
    to it."""
    rows = [TimelineEntry(entry, entry.profile.name, None) for entry in listed.entries if entry.profile.key]
    return tuple(sorted(rows, key=lambda row: (_days_left(row.entry.profile), row.label)))


def _is_login(profile: Profile) -> bool:
    """What the files know of it is the sign-in alone: an Identity Center token, or one of `aws login`."""
    session = profile.session
    return session is not None and (not session.key_id or profile.kind is Kind.CONSOLE_LOGIN)


def _days_left(profile: Profile) -> float:
    rotation = profile.rotation
    if rotation.waits is not None:
        return float("-inf")
    if rotation.age_days is None or not rotation.limit_days:
        return float("inf")
    return (rotation.limit_days - rotation.age_days) / rotation.limit_days


def to_come(rows: Sequence[TimelineEntry], now: datetime) -> int:
    """The place of the first row whose end lies ahead, in rows sorted by end; 0 where there is none."""
    return next((nth for nth, row in enumerate(rows) if _is_to_come(row, now)), 0)


def live(rows: Iterable[TimelineEntry], now: datetime, most: int) -> list[TimelineEntry]:
    """The first rows whose ends lie ahead, at most so many."""
    return list(islice((row for row in rows if _is_to_come(row, now)), most))


def _is_to_come(row: TimelineEntry, now: datetime) -> bool:
    return row.life is not None and row.life.expires is not None and row.life.expires > now


def lane_line(row: TimelineEntry, view: View, window: Window, room: Room, *, chosen: bool = False) -> Line:
    """One row: cursor, sign, what is left, whose it is, and its lane."""
    sign, words = _sign(row, view), _words(row, view)
    mark = view.glyphs.cursor if chosen else " "
    head: list[Span] = [(f"{mark} {sign[0]} {fit(words, room.left - 1)} ", sign[1])]
    head.append((fit(row.label, room.name - 1) + " ", "title" if chosen else "text"))
    if not room.chart:
        return *head, (fit(_end_words(row, view), room.end), "muted")
    if row.life is None:
        return *head, *_age(row.entry.profile, room.chart, sign[1], view)
    renewed = view.snapshot.agent and not view.snapshot.paused
    life = replace(row.life, renews=planned(row.entry.profile, view.now) if renewed else None)
    return *head, *_lane(lane_of(life, window, room.chart, view.now), view, window, room.chart, sign[1])


def _sign(row: TimelineEntry, view: View) -> Span:
    glyphs, profile = view.glyphs, row.entry.profile
    if profile.name in view.working:
        return glyphs.working, "working"
    if row.life is None:
        state = profile.rotation.state
        if state is RotationState.IN_PROGRESS:
            return glyphs.due, "due"
        due = state in (RotationState.DUE, RotationState.OVERDUE)
        return (glyphs.due, state.value) if due else (glyphs.long_term, "key")
    if row.life.expires is None:
        return glyphs.unknown, "unknown"
    state_now = session_state(profile.session, view.now)
    by_state = {State.FRESH: glyphs.fresh, State.SOON: glyphs.soon, State.EXPIRED: glyphs.expired}
    return by_state.get(state_now, glyphs.none), STATE_ROLES[state_now]


def _words(row: TimelineEntry, view: View) -> str:
    """What is left, without seconds: all lanes in view may end within minutes, and each would be sent each second."""
    if row.entry.profile.name in view.working:
        return "working"
    if row.life is None:
        words, _ = rotation_words(row.entry.profile, view.glyphs)
        return words.removeprefix(f"{view.glyphs.due} ")
    if row.life.expires is None:
        return "unknown"
    left = row.life.expires - view.now
    if left <= timedelta():
        return f"expired {_coarse(-left)}".rstrip()
    if left < timedelta(minutes=10):
        return f"{left // _MINUTE}m" if left >= _MINUTE else "< 1m"
    return countdown(left)


def _coarse(length: timedelta) -> str:
    for unit, letter in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (_MINUTE, "m")):
        if length >= unit:
            return f"{length // unit}{letter}"
    return ""


def _end_words(row: TimelineEntry, view: View) -> str:
    if row.life is None:
        age = row.entry.profile.rotation.age_days
        return "" if age is None else f"{age}d"
    end = row.life.expires
    if end is None:
        return ""
    return f"{end:%d %b}" if abs(end - view.now) > timedelta(hours=20) else f"{end:%H:%M}"


def _lane(lane: TimelineRow, view: View, window: Window, width: int, role: str) -> Line:
    marks = _marks(view.glyphs)
    cells: list[Span] = [(" ", "text")] * width
    if lane.edge is Edge.UNKNOWN:
        cells = [(ch, "muted") for ch in fit("its end is not known", width)]
    elif lane.edge is Edge.BEFORE:
        cells[0] = (marks.before, role)
    elif lane.edge is Edge.LATER:
        cells[-1] = (marks.beyond, role)
    if lane.bar is not None:
        first, last = lane.bar
        cells[first : last + 1] = [(marks.bar, role)] * (last + 1 - first)
        if lane.renewal is not None:
            cells[lane.renewal] = (marks.renewal, "working")
        cells[last] = (marks.end if lane.edge is Edge.HERE else marks.beyond, role)
    now = now_cell(window, width, view.now)
    if now is not None and lane.edge is not Edge.UNKNOWN:
        cells[now] = (marks.now, "title")
    return tuple(cells)


def _age(profile: Profile, width: int, role: str, view: View) -> Line:
    rotation = profile.rotation
    marks = _marks(view.glyphs)
    if rotation.age_days is None:
        return ((fit("its age is not known", width), "muted"),)
    if not rotation.limit_days:
        return ((fit(f"{rotation.age_days}d old, no policy", width), "muted"),)
    bar = age_bar(rotation.age_days, rotation.limit_days, width)
    cells: list[Span] = [(marks.age, role)] * bar.filled
    cells += [(marks.rest, "dim")] * (bar.limit - bar.filled) + [(" ", "text")] * width
    cells[bar.limit] = (marks.now, "title")
    if bar.beyond:
        cells[width - 1] = (marks.beyond, role)
    return tuple(cells[:width])


def _marks(glyphs: Glyphs) -> TimelineGlyphs:
    return _ASCII if glyphs is ASCII else _UNICODE


def time_axis(window: Window, room: Room, now: datetime) -> Line:
    """The heading over the sessions: the hours, and where now is."""
    labels: list[tuple[int, str]] = []
    at = now_cell(window, room.chart, now) if room.chart else None
    if at is not None:
        labels.append((at, "now"))
    if room.chart:
        step = next((s for s in _AXIS_STEPS if s * room.chart // window.span >= 9), _AXIS_STEPS[-1])
        moment = _DAWN - ((_DAWN - window.start) // step) * step
        while moment < window.end:
            days = step >= timedelta(days=1) or (moment - _DAWN) % timedelta(days=1) == timedelta()
            labels.append(
                (cell_of(moment, window, room.chart), f"{moment:%d %b}" if days else f"{moment:%H:%M}")
            )
            moment += step
    return _axis("LEFT", "SESSION", "ENDS", labels, room)


def key_axis(rows: Iterable[TimelineEntry], room: Room) -> Line:
    """The heading over the keys: days where all have one policy, else shares of each one's own."""
    limits = {row.entry.profile.rotation.limit_days for row in rows} - {None}
    labels: list[tuple[int, str]] = []
    if room.chart and limits:
        limit = age_bar(0, 1, room.chart).limit
        common = limits.pop() if len(limits) == 1 else None
        for third in (3, 0, 1, 2):
            label = f"{100 * third // 3}%" if common is None else f"{common * third // 3}d"
            labels.append((limit * third // 3, label))
    return _axis("POLICY", "LONG-TERM KEY", "AGE", labels, room)


def _axis(left: str, name: str, end: str, labels: Iterable[tuple[int, str]], room: Room) -> Line:
    head = " " * GUTTER + fit(left, room.left) + fit(name, room.name - 1) + " "
    if not room.chart:
        return ((head + fit(end, room.end), "heading"),)
    line = [" "] * room.chart
    for cell, label in labels:
        start = min(cell, room.chart - cell_len(label))
        if start >= 0 and all(ch == " " for ch in line[max(0, start - 1) : start + len(label) + 1]):
            line[start : start + len(label)] = label
    return ((head + "".join(line), "heading"),)
