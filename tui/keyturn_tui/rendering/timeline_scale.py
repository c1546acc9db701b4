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
DEFAULT_SPAN = timedelta(hours=4)
#: How many times its own span a window may lie away from now; a person who goes further has lost the way.
MAX_SCROLL = 50
#: Windows' lengths beyond which a moment is no further away.
_MAX_DISTANCE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    start = _EPOCH + ((now - _EPOCH) // step) * step
    return Window(start - 2 * step + offset * step, span)


def zoom(span: timedelta, by: int) -> timedelta:
    """The span `by` places further in `SPANS`, stopping at its ends."""
    return SPANS[min(max(0, SPANS.index(span) + by), len(SPANS) - 1)]


def cell_of(moment: datetime, window: Window, width: int) -> int:
    """The cell in which a moment lies; below 0 or from `width` on where it is not in the window."""
    # Far away is far away: beyond some windows a product of times would leave what a time can hold.
    offset_time = min(max(moment - window.start, -window.span * _MAX_DISTANCE), window.span * _MAX_DISTANCE)
    return offset_time * width // window.span


def now_cell(window: Window, width: int, now: datetime) -> int | None:
    """The cell of the line of now, None where it is out of sight."""
    return cell_of(now, window, width) if now in window else None


def end_order(interval: Interval) -> tuple[datetime, str]:
    """What sorts lives: the one that ends first before the others, unknown ends last."""
    return interval.expires or _NEVER, interval.name


def timeline_rows(
    intervals: Iterable[Interval], window: Window, width: int, now: datetime
) -> list[TimelineRow]:
    """A lane for each life, in the order in which they end.

    :param width: cells of the chart, at least 1.
    """
    return [timeline_row(interval, window, width, now) for interval in sorted(intervals, key=end_order)]


def timeline_row(interval: Interval, window: Window, width: int, now: datetime) -> TimelineRow:
    """The lane of one life. One whose start is not known begins at now; one that ends before its start, at its end."""
    if interval.expires is None:
        return TimelineRow(interval.name, Edge.UNKNOWN, None)
    last = cell_of(interval.expires, window, width)
    first = min(cell_of(interval.issued or now, window, width), last)
    if last < 0:
        return TimelineRow(interval.name, Edge.BEFORE, None)
    if first >= width:
        return TimelineRow(interval.name, Edge.LATER, None)
    renewal = None
    if interval.renews is not None and now < interval.renews in window:
        renewal = cell_of(interval.renews, window, width)
    edge = Edge.HERE if last < width else Edge.BEYOND
    return TimelineRow(interval.name, edge, (max(0, first), min(width - 1, last)), renewal)


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
