"""Lives of sessions and ages of keys as cells of a chart: pure functions of a window, a width and the moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

#: The spans that `+` and `-` go through, the shortest first. In one hour now would move on every 49 seconds at 120 columns,
#: and with it every lane: more bytes than an idle screen may send.
SPANS = (
    *(timedelta(hours=hours) for hours in (2, 4, 8, 12, 24)),
    *(timedelta(days=days) for days in (3, 7, 30)),
)
USUAL_SPAN = timedelta(hours=4)
#: How many times its own span a window may lie away from now; a person who goes further has lost the way.
FARTHEST = 50
#: Windows' lengths beyond which a moment is no further away.
_FAR = 100
_DAWN = datetime(1970, 1, 1, tzinfo=UTC)
#: What ends at no known time is sorted behind what does.
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time; its end is not part of it."""

    start: datetime
    span: timedelta

    @property
    def end(self) -> datetime:
        return self.start + self.span

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True, slots=True)
class Interval:
    """One session or login."""

    name: str
    issued: datetime | None
    expires: datetime | None
    renews: datetime | None = None
    """When the agent means to renew it; None if it does not."""


class Edge(StrEnum):
    """Where a life ends."""

    HERE = "here"
    BEYOND = "beyond"
    """Behind the window, the bar goes on to its last cell."""
    BEFORE = "before"
    """All of it lies before the window."""
    LATER = "later"
    """All of it lies behind the window."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One life in cells, counted from 0 at the window's start."""

    name: str
    edge: Edge
    bar: tuple[int, int] | None
    """First and last cell, both of the bar; None where none of it is in the window."""
    renewal: int | None = None
    """Cell of the planned renewal, where that is still to come and in the window."""


@dataclass(frozen=True, slots=True)
class AgeBar:
    """A key's age against its policy, in cells."""

    filled: int
    """Cells of its age, at most the width."""
    limit: int
    """Cell of the policy's end; what is past it is overdue."""
    beyond: bool
    """It is older than the chart can show."""


def window_at(now: datetime, span: timedelta, offset: int = 0) -> Window:
    """The window of `span` in which `now` stands in the second quarter; `offset` eighths later.

    It moves by an eighth at a time, so that in between only the line of now moves.
    """
    step = span / 8
    start = _DAWN + ((now - _DAWN) // step) * step
    return Window(start - 2 * step + offset * step, span)


def zoomed(span: timedelta, by: int) -> timedelta:
    """The span `by` places further in `SPANS`, stopping at its ends."""
    return SPANS[min(max(0, SPANS.index(span) + by), len(SPANS) - 1)]


def cell_of(moment: datetime, window: Window, width: int) -> int:
    """The cell in which a moment lies; below 0 or from `width` on where it is not in the window."""
    # Far away is far away: beyond some windows a product of times would leave what a time can hold.
    away = min(max(moment - window.start, -window.span * _FAR), window.span * _FAR)
    return away * width // window.span


def now_cell(window: Window, width: int, now: datetime) -> int | None:
    """The cell of the line of now, None where it is out of sight."""
    return cell_of(now, window, width) if now in window else None


def by_end(life: Interval) -> tuple[datetime, str]:
    """What sorts lives: the one that ends first before the others, unknown ends last."""
    return life.expires or _NEVER, life.name


def lanes(lives: Iterable[Interval], window: Window, width: int, now: datetime) -> list[TimelineRow]:
    """A lane for each life, in the order in which they end.

    :param width: cells of the chart, at least 1.
    """
    return [lane_of(life, window, width, now) for life in sorted(lives, key=by_end)]


def lane_of(life: Interval, window: Window, width: int, now: datetime) -> TimelineRow:
    """The lane of one life. One whose start is not known begins at now; one that ends before its start, at its end."""
    if life.expires is None:
        return TimelineRow(life.name, Edge.UNKNOWN, None)
    last = cell_of(life.expires, window, width)
    first = min(cell_of(life.issued or now, window, width), last)
    if last < 0:
        return TimelineRow(life.name, Edge.BEFORE, None)
    if first >= width:
        return TimelineRow(life.name, Edge.LATER, None)
    renewal = None
    if life.renews is not None and now < life.renews in window:
        renewal = cell_of(life.renews, window, width)
    edge = Edge.HERE if last < width else Edge.BEYOND
    return TimelineRow(life.name, edge, (max(0, first), min(width - 1, last)), renewal)


def age_bar(age_days: int, limit_days: int, width: int) -> AgeBar:
    """A key's age on a scale that is its own policy: the limit stands at the same cell for each key.

    A key short of its limit stays left of it, an overdue one goes at least one cell past it.

    :param width: cells of the chart, at least 3.
    """
    limit = width - 1 - max(1, width // 10)
    filled = age_days * limit // limit_days
    if age_days >= limit_days:
        filled = max(filled, limit + 2)
    return AgeBar(min(filled, width), limit, filled > width)
