"""Sessions and key ages as cells of a chart. Pure over a time window, a width and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

#: Spans of `+` and `-`, shortest first. Two hours is the minimum: with one hour at 120 columns, now would
#: move every 49 seconds and shift every row, which exceeds the byte budget of an idle screen.
SPANS = (
    *(timedelta(hours=hours) for hours in (2, 4, 8, 12, 24)),
    *(timedelta(days=days) for days in (3, 7, 30)),
)
DEFAULT_SPAN = timedelta(hours=4)
#: Maximum distance of a window from now, in window lengths.
MAX_SCROLL = 50
#: Distance in window lengths at which cell positions are clamped.
_MAX_DISTANCE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Sorts unknown expiries last.
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open time range: `end` is not included."""

    start: datetime
    span: timedelta

    @property
    def end(self) -> datetime:
        return self.start + self.span

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


@dataclass(frozen=True, slots=True)
class Interval:
    """A session or sign-in."""

    name: str
    issued: datetime | None
    expires: datetime | None
    renews: datetime | None = None
    """Planned renewal by the agent; None if there is none."""


class Edge(StrEnum):
    """Position of an interval's end."""

    HERE = "here"
    BEYOND = "beyond"
    """After the window; the bar reaches the last cell."""
    BEFORE = "before"
    """The whole interval is before the window."""
    LATER = "later"
    """The whole interval is after the window."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """An interval in cells; cell 0 is the window's start."""

    edge: Edge
    bar: tuple[int, int] | None
    """First and last cell, both inclusive; None if the interval is outside the window."""
    renewal: int | None = None
    """Cell of the planned renewal, if it is ahead and in the window."""


@dataclass(frozen=True, slots=True)
class AgeBar:
    """A key's age compared with its policy, in cells."""

    filled: int
    """Cells of the age, at most the width."""
    limit: int
    """Cell of the policy's end; cells after it are overdue."""
    beyond: bool
    """True if the age exceeds the chart."""


def window_at(now: datetime, span: timedelta, offset: int = 0) -> Window:
    """Return the window of length `span` with `now` in its second quarter, shifted by `offset` eighths.

    The window moves in steps of an eighth, so that between two steps only the line of now moves.
    """
    step = span / 8
    start = _EPOCH + ((now - _EPOCH) // step) * step
    return Window(start - 2 * step + offset * step, span)


def zoom(span: timedelta, by: int) -> timedelta:
    """Return the span `by` places further in `SPANS`, clamped."""
    return SPANS[min(max(0, SPANS.index(span) + by), len(SPANS) - 1)]


def cell_of(moment: datetime, window: Window, width: int) -> int:
    """Return the cell of a time; negative or >= `width` if it is outside the window."""
    # Clamped, because the product of large durations exceeds the range of timedelta.
    offset_time = min(max(moment - window.start, -window.span * _MAX_DISTANCE), window.span * _MAX_DISTANCE)
    return offset_time * width // window.span


def now_cell(window: Window, width: int, now: datetime) -> int | None:
    """Return the cell of now, or None if it is outside the window."""
    return cell_of(now, window, width) if now in window else None


def end_order(interval: Interval) -> tuple[datetime, str]:
    """Return the sort key of an interval: by expiry, unknown expiry last."""
    return interval.expires or _NEVER, interval.name


def timeline_row(interval: Interval, window: Window, width: int, now: datetime) -> TimelineRow:
    """Return the row of one interval. An unknown start counts as now, and a start after the end as the
    end.

    :param width: width of the chart in cells, at least 1.
    """
    if interval.expires is None:
        return TimelineRow(Edge.UNKNOWN, None)
    last = cell_of(interval.expires, window, width)
    first = min(cell_of(interval.issued or now, window, width), last)
    if last < 0:
        return TimelineRow(Edge.BEFORE, None)
    if first >= width:
        return TimelineRow(Edge.LATER, None)
    renewal = None
    if interval.renews is not None and now < interval.renews in window:
        renewal = cell_of(interval.renews, window, width)
    edge = Edge.HERE if last < width else Edge.BEYOND
    return TimelineRow(edge, (max(0, first), min(width - 1, last)), renewal)


def age_bar(age_days: int, limit_days: int, width: int) -> AgeBar:
    """Return a key's age on a scale relative to its policy, so that the limit is at the same cell for every
    key.

    A key within its policy stays left of the limit; an overdue key passes it by at least one cell.

    :param width: width of the chart in cells, at least 3.
    """
    limit = width - 1 - max(1, width // 10)
    filled = age_days * limit // limit_days
    if age_days >= limit_days:
        filled = max(filled, limit + 2)
    return AgeBar(min(filled, width), limit, filled > width)
