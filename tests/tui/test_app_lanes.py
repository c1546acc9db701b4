"""Lanes as a pure function: what holds for every session, window, width and moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn_tui.rendering.timeline_scale import (
    FARTHEST,
    SPANS,
    USUAL_SPAN,
    Edge,
    Interval,
    Window,
    age_bar,
    lanes,
    now_cell,
    window_at,
    zoomed,
)
from tests.tui.believable import NOW

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds the zone
NEAR = st.timedeltas(timedelta(days=-3), timedelta(days=3)).map(lambda away: NOW + away)
ENDS = st.none() | MOMENTS | NEAR
LIVES = st.builds(Interval, st.text(max_size=8), ENDS, ENDS, ENDS)
WIDTHS = st.integers(1, 300)
MOMENT_OF_LOOKING = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WINDOWS = st.builds(window_at, NEAR, st.sampled_from(SPANS), st.integers(-8 * FARTHEST, 8 * FARTHEST))


@given(st.lists(LIVES, max_size=12), WINDOWS, WIDTHS, NEAR)
def test_a_bar_never_leaves_the_chart_and_never_ends_before_it_starts(
    lives: list[Interval], window: Window, width: int, now: datetime
) -> None:
    for lane in lanes(lives, window, width, now):
        if lane.bar is not None:
            first, last = lane.bar
            assert 0 <= first <= last < width
        if lane.renewal is not None:
            assert 0 <= lane.renewal < width


@given(st.lists(LIVES, max_size=12), WINDOWS, WIDTHS, NEAR)
def test_lanes_are_in_the_order_in_which_they_end_and_none_is_lost(
    lives: list[Interval], window: Window, width: int, now: datetime
) -> None:
    # Equal names would not tell which lane is whose.
    lives = [replace(life, name=f"{nth:02d}") for nth, life in enumerate(lives)]
    expires = {life.name: life.expires for life in lives}
    names = [lane.name for lane in lanes(lives, window, width, now)]
    ends = [expires[name] for name in names]
    known = [end for end in ends if end is not None]
    assert sorted(names) == sorted(expires)
    assert known == sorted(known)
    assert ends[: len(known)] == known, "what ends at no known time comes last"


@given(LIVES, WINDOWS, WIDTHS, NEAR)
def test_a_lane_says_truly_where_its_life_ends(
    life: Interval, window: Window, width: int, now: datetime
) -> None:
    (lane,) = lanes([life], window, width, now)
    assert (lane.edge is Edge.UNKNOWN) is (life.expires is None)
    if life.expires is not None:
        assert (lane.edge is Edge.HERE) is (window.start <= life.expires < window.end)
        assert (lane.edge is Edge.BEFORE) is (life.expires < window.start)
    assert (lane.bar is not None) is (lane.edge in (Edge.HERE, Edge.BEYOND))


@given(MOMENT_OF_LOOKING, st.sampled_from(SPANS), st.integers(-20, 20), WIDTHS)
def test_zoom_keeps_now_on_screen(now: datetime, span: timedelta, by: int, width: int) -> None:
    window = window_at(now, zoomed(span, by))
    cell = now_cell(window, width, now)
    assert cell is not None
    assert 0 <= cell < width
    assert timedelta() < now - window.start < window.span / 2, "more of what comes is shown than of what was"


@given(MOMENT_OF_LOOKING, st.sampled_from(SPANS), st.timedeltas(timedelta(), timedelta(days=2)))
def test_the_window_follows_now_by_eighths_and_not_between(
    now: datetime, span: timedelta, passed: timedelta
) -> None:
    moved = window_at(now + passed, span).start - window_at(now, span).start
    assert moved % (span / 8) == timedelta()
    assert abs(moved - passed) < span / 8


@given(WINDOWS, WIDTHS, NEAR, NEAR)
def test_an_end_that_comes_later_never_stands_further_left(
    window: Window, width: int, one: datetime, other: datetime
) -> None:
    now = min(one, other)
    (early,) = lanes([Interval("p", window.start, now)], window, width, now)
    (late,) = lanes([Interval("p", window.start, max(one, other))], window, width, now)
    if early.bar is not None and late.bar is not None:
        assert early.bar[1] <= late.bar[1]


def test_zoom_stops_at_its_ends() -> None:
    assert zoomed(SPANS[0], -1) == SPANS[0]
    assert zoomed(SPANS[-1], 1) == SPANS[-1]
    assert zoomed(USUAL_SPAN, 1) > USUAL_SPAN > zoomed(USUAL_SPAN, -1)


HOUR = timedelta(hours=1)
FOUR = Window(NOW, 4 * HOUR)


@pytest.mark.parametrize(
    ("issued", "expires", "edge", "bar"),
    [
        (0, 1, Edge.HERE, (0, 10)),
        (-3, 1, Edge.HERE, (0, 10)),
        (1, 9, Edge.BEYOND, (10, 39)),
        (-9, -1, Edge.BEFORE, None),
        (4, 9, Edge.LATER, None),
        (2, 1, Edge.HERE, (10, 10)),
        (None, 2, Edge.HERE, (10, 20)),
        (0, None, Edge.UNKNOWN, None),
    ],
    ids=[
        "within",
        "began before",
        "ends beyond",
        "is over",
        "is to come",
        "ends first",
        "no start",
        "no end",
    ],
)
def test_lanes_by_cells(
    issued: int | None, expires: int | None, edge: Edge, bar: tuple[int, int] | None
) -> None:
    begins, ends = (None if hours is None else NOW + hours * HOUR for hours in (issued, expires))
    life = Interval("p", begins, ends)
    (lane,) = lanes([life], FOUR, 40, NOW + HOUR)
    assert (lane.edge, lane.bar) == (edge, bar)


@pytest.mark.parametrize(("hours", "cell"), [(0.5, None), (1, None), (1.5, 15), (3.99, 39), (4, None)])
def test_a_renewal_is_marked_while_it_is_to_come_and_in_the_window(hours: float, cell: int | None) -> None:
    life = Interval("p", NOW, NOW + 9 * HOUR, NOW + hours * HOUR)
    (lane,) = lanes([life], FOUR, 40, NOW + HOUR)
    assert lane.renewal == cell


@given(st.integers(0, 10_000), st.integers(1, 4000), st.integers(3, 300))
def test_only_the_bar_of_an_overdue_key_goes_past_the_line(age: int, limit: int, width: int) -> None:
    bar = age_bar(age, limit, width)
    assert 0 <= bar.limit < width - 1
    assert 0 <= bar.filled <= width
    assert (bar.filled > bar.limit + 1) is (age >= limit)
    assert not bar.beyond or bar.filled == width


@given(st.integers(0, 10_000), st.integers(0, 1000), st.integers(1, 4000), st.integers(3, 300))
def test_an_older_key_never_has_the_shorter_bar(age: int, more: int, limit: int, width: int) -> None:
    assert age_bar(age, limit, width).filled <= age_bar(age + more, limit, width).filled
