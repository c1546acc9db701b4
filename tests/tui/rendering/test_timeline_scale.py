"""Sessions and key ages as cells of a chart, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keyturn_tui.rendering.timeline_scale import (
    DEFAULT_SPAN,
    MAX_SCROLL,
    SPANS,
    AgeBar,
    Edge,
    Interval,
    TimelineRow,
    Window,
    age_bar,
    cell_of,
    end_order,
    now_cell,
    timeline_row,
    window_at,
    zoom,
)

MICROSECOND, MINUTE, HOUR, DAY = (
    timedelta(microseconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)
NOW = datetime(2026, 3, 14, 14, 5, 10, tzinfo=UTC)
#: Four hours in forty cells: a cell is six minutes.
START = datetime(2026, 3, 14, 14, tzinfo=UTC)
FOUR_HOURS, WIDTH = Window(START, 4 * HOUR), 40


def after(hours: float | None) -> datetime | None:
    return None if hours is None else START + hours * HOUR


# -- windows ---------------------------------------------------------------------------------------


def test_a_window_ends_before_the_next_one_begins() -> None:
    assert FOUR_HOURS.end == START + 4 * HOUR
    for moment, is_in in [
        (START - MICROSECOND, False),
        (START, True),
        (START + 4 * HOUR - MICROSECOND, True),
        (START + 4 * HOUR, False),
    ]:
        assert (moment in FOUR_HOURS) is is_in


def test_the_spans_go_from_two_hours_to_thirty_days() -> None:
    assert SPANS == (2 * HOUR, 4 * HOUR, 8 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY, 30 * DAY)
    assert DEFAULT_SPAN == 4 * HOUR
    assert MAX_SCROLL == 50


@pytest.mark.parametrize(
    ("now", "offset", "start"),
    [
        # An eighth of four hours is half an hour, and now stands in the third eighth.
        (START, 0, START - HOUR),
        (START + 30 * MINUTE - MICROSECOND, 0, START - HOUR),
        (START + 30 * MINUTE, 0, START - 30 * MINUTE),
        (START, 1, START - 30 * MINUTE),
        (START, -3, START - 150 * MINUTE),
        (datetime(1970, 1, 1, tzinfo=UTC), 0, datetime(1969, 12, 31, 23, tzinfo=UTC)),
    ],
)
def test_a_window_moves_by_eighths_of_its_span(now: datetime, offset: int, start: datetime) -> None:
    assert window_at(now, 4 * HOUR, offset) == Window(start, 4 * HOUR)


def test_a_window_shows_now_unless_told_otherwise() -> None:
    assert window_at(NOW, 4 * HOUR) == window_at(NOW, 4 * HOUR, 0)


@pytest.mark.parametrize(
    ("hours", "by", "expected"),
    [(4, 1, 8), (4, -1, 2), (4, 2, 12), (4, 0, 4), (2, -1, 2), (2, -9, 2), (12, 9, 720), (720, 1, 720)],
)
def test_zoom_goes_through_the_spans_and_stops_at_the_ends(hours: int, by: int, expected: int) -> None:
    assert zoom(hours * HOUR, by) == expected * HOUR


# -- cells -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "cell"),
    [
        (START, 0),
        (START + 6 * MINUTE - MICROSECOND, 0),
        (START + 6 * MINUTE, 1),
        (START + 4 * HOUR - MICROSECOND, 39),
        (START + 4 * HOUR, 40),
        (START - MICROSECOND, -1),
        (START - 12 * MINUTE, -2),
        (START + 400 * HOUR, 4000),
        (START + 401 * HOUR, 4000),
        (START - 400 * HOUR, -4000),
        (START - 401 * HOUR, -4000),
        (datetime(9998, 1, 1, tzinfo=UTC), 4000),
        (datetime(1, 1, 1, tzinfo=UTC), -4000),
    ],
)
def test_a_moment_lies_in_a_cell_and_one_far_away_at_a_hundred_windows(moment: datetime, cell: int) -> None:
    assert cell_of(moment, FOUR_HOURS, WIDTH) == cell


@pytest.mark.parametrize(("hours", "cell"), [(-0.1, None), (0, 0), (1, 10), (3.95, 39), (4, None)])
def test_the_line_of_now_is_shown_while_now_is_in_the_window(hours: float, cell: int | None) -> None:
    assert now_cell(FOUR_HOURS, WIDTH, START + hours * HOUR) == cell


# -- lanes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued", "expires", "edge", "bar"),
    [
        (0, 1, Edge.HERE, (0, 10)),
        (0.5, 1, Edge.HERE, (5, 10)),
        (-3, 1, Edge.HERE, (0, 10)),
        (-3, 0, Edge.HERE, (0, 0)),
        (1, 3.95, Edge.HERE, (10, 39)),
        (1, 4, Edge.BEYOND, (10, 39)),
        (-9, 9, Edge.BEYOND, (0, 39)),
        (3.95, 9, Edge.BEYOND, (39, 39)),
        (-9, -0.1, Edge.BEFORE, None),
        (4, 9, Edge.LATER, None),
        (2, 1, Edge.HERE, (10, 10)),
        (None, 2, Edge.HERE, (15, 20)),
        (None, 1, Edge.HERE, (10, 10)),
        (0, None, Edge.UNKNOWN, None),
        (None, None, Edge.UNKNOWN, None),
    ],
)
def test_a_session_is_a_bar_from_its_issue_to_its_end(
    issued: float | None, expires: float | None, edge: Edge, bar: tuple[int, int] | None
) -> None:
    life = Interval("p", after(issued), after(expires))
    assert timeline_row(life, FOUR_HOURS, WIDTH, START + 1.5 * HOUR) == TimelineRow(edge, bar)


@pytest.mark.parametrize(
    ("renews", "cell"), [(0.5, None), (1, None), (1.1, 11), (1.5, 15), (3.99, 39), (4, None), (None, None)]
)
def test_a_renewal_is_marked_while_it_is_to_come_and_in_the_window(
    renews: float | None, cell: int | None
) -> None:
    life = Interval("p", START, after(9), after(renews))
    assert timeline_row(life, FOUR_HOURS, WIDTH, START + HOUR).renewal == cell


def test_a_renewal_before_the_window_is_not_marked() -> None:
    life = Interval("p", START - 9 * HOUR, after(1), START - HOUR)
    assert timeline_row(life, FOUR_HOURS, WIDTH, START - 2 * HOUR).renewal is None


def test_lanes_are_in_the_order_of_their_ends_then_of_their_names_and_unknown_ends_last() -> None:
    intervals = [
        Interval(name, START, after(end)) for name, end in [("d", None), ("c", 2), ("b", 1), ("a", 2)]
    ]
    assert [interval.name for interval in sorted(intervals, key=end_order)] == ["b", "a", "c", "d"]
    assert end_order(intervals[0]) > end_order(Interval("z", None, datetime(9998, 12, 31, tzinfo=UTC)))


# -- ages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "limit", "width", "bar"),
    [
        # Of forty cells the policy ends at the 35th: a tenth is left for overdue keys.
        (0, 90, 40, AgeBar(0, 35, False)),
        (45, 90, 40, AgeBar(17, 35, False)),
        (89, 90, 40, AgeBar(34, 35, False)),
        (90, 90, 40, AgeBar(37, 35, False)),
        (91, 90, 40, AgeBar(37, 35, False)),
        (100, 90, 40, AgeBar(38, 35, False)),
        (103, 90, 40, AgeBar(40, 35, False)),
        (105, 90, 40, AgeBar(40, 35, False)),
        (106, 90, 40, AgeBar(40, 35, True)),
        (900, 90, 40, AgeBar(40, 35, True)),
        (1, 1, 3, AgeBar(3, 1, False)),
        (0, 1, 3, AgeBar(0, 1, False)),
        (0, 1, 20, AgeBar(0, 17, False)),
        (0, 1, 19, AgeBar(0, 17, False)),
        (0, 1, 9, AgeBar(0, 7, False)),
    ],
)
def test_a_key_short_of_its_policy_stays_left_of_the_line_and_an_overdue_one_passes_it(
    age: int, limit: int, width: int, bar: AgeBar
) -> None:
    assert age_bar(age, limit, width) == bar
