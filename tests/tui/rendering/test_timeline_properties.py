"""Timeline rows as a pure function: properties for every session, window, width and moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keyturn_tui.rendering.timeline_scale import (
    MAX_SCROLL,
    SPANS,
    Edge,
    Interval,
    Window,
    age_bar,
    end_order,
    now_cell,
    timeline_row,
    window_at,
    zoom,
)
from tests.tui.sample_profiles import NOW

MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds the zone
NEAR = st.timedeltas(timedelta(days=-3), timedelta(days=3)).map(lambda away: NOW + away)
ENDS = st.none() | MOMENTS | NEAR
LIVES = st.builds(Interval, st.text(max_size=8), ENDS, ENDS, ENDS)
WIDTHS = st.integers(1, 300)
MOMENT_OF_LOOKING = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WINDOWS = st.builds(window_at, NEAR, st.sampled_from(SPANS), st.integers(-8 * MAX_SCROLL, 8 * MAX_SCROLL))


@given(st.lists(LIVES, max_size=12), WINDOWS, WIDTHS, NEAR)
def test_a_bar_never_leaves_the_chart_and_never_ends_before_it_starts(
    lives: list[Interval], window: Window, width: int, now: datetime
) -> None:
    for life in lives:
        lane = timeline_row(life, window, width, now)
        if lane.bar is not None:
            first, last = lane.bar
            assert 0 <= first <= last < width
        if lane.renewal is not None:
            assert 0 <= lane.renewal < width


@given(st.lists(LIVES, max_size=12))
def test_lanes_are_in_the_order_in_which_they_end(lives: list[Interval]) -> None:
    ends = [life.expires for life in sorted(lives, key=end_order)]
    known = [end for end in ends if end is not None]
    assert known == sorted(known)
    assert ends[: len(known)] == known, "what ends at no known time comes last"


@given(LIVES, WINDOWS, WIDTHS, NEAR)
def test_a_lane_says_truly_where_its_life_ends(
    life: Interval, window: Window, width: int, now: datetime
) -> None:
    lane = timeline_row(life, window, width, now)
    assert (lane.edge is Edge.UNKNOWN) is (life.expires is None)
    if life.expires is not None:
        assert (lane.edge is Edge.HERE) is (window.start <= life.expires < window.end)
        assert (lane.edge is Edge.BEFORE) is (life.expires < window.start)
    assert (lane.bar is not None) is (lane.edge in (Edge.HERE, Edge.BEYOND))


@given(MOMENT_OF_LOOKING, st.sampled_from(SPANS), st.integers(-20, 20), WIDTHS)
def test_zoom_keeps_now_on_screen(now: datetime, span: timedelta, by: int, width: int) -> None:
    window = window_at(now, zoom(span, by))
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
    early = timeline_row(Interval("p", window.start, now), window, width, now)
    late = timeline_row(Interval("p", window.start, max(one, other)), window, width, now)
    if early.bar is not None and late.bar is not None:
        assert early.bar[1] <= late.bar[1]


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
