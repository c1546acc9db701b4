"""The layout of the screen at each breakpoint, as tables."""

from __future__ import annotations

import pytest

from keyturn_tui.rendering.layout import (
    GUTTER,
    TOO_SMALL,
    Column,
    DetailPlace,
    Field,
    Frame,
    columns_for,
    frame_for,
)

LEFT = Column(Field.LEFT, 10)
TYPE = Column(Field.TYPE, 10)
ACCOUNT = Column(Field.ACCOUNT, 14)
ROTATION = Column(Field.ROTATION, 14)


def profile(width: int) -> Column:
    return Column(Field.PROFILE, width)


@pytest.mark.parametrize(
    ("width", "height", "columns"),
    [
        (200, 50, (LEFT, profile(64), TYPE, ACCOUNT, ROTATION)),
        (156, 36, (LEFT, profile(46), TYPE, ACCOUNT, ROTATION)),
        (120, 36, (LEFT, profile(22), TYPE, ACCOUNT, ROTATION)),
        (119, 36, (LEFT, profile(41), TYPE, ROTATION)),
        (100, 30, (LEFT, profile(22), TYPE, ROTATION)),
        (99, 30, (LEFT, profile(59), TYPE, ROTATION)),
        (80, 24, (LEFT, profile(40), TYPE, ROTATION)),
        (79, 24, (LEFT, profile(49), ROTATION)),
        (60, 14, (LEFT, profile(30), ROTATION)),
        (59, 24, (LEFT, profile(45))),
        (80, 13, (LEFT, profile(64))),
        (40, 10, (LEFT, profile(26))),
        (20, 24, (LEFT, profile(8))),
        (23, 24, (LEFT, profile(9))),
    ],
)  # fmt: skip
def test_columns_by_size(width: int, height: int, columns: tuple[Column, ...]) -> None:
    assert columns_for(width, height) == columns


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_columns_are_those_of_a_terminal_of_24_lines_unless_told(width: int) -> None:
    assert columns_for(width) == columns_for(width, 24)
    assert columns_for(60, 24) != columns_for(60, 13)


BARE = {"borders": False}
FULL = {"borders": True, "too_small": False}
SCREEN, LINES, RIGHT = DetailPlace.SCREEN, DetailPlace.LINES, DetailPlace.RIGHT


@pytest.mark.parametrize(
    ("width", "height", "frame"),
    [
        (180, 36, Frame(116, RIGHT, 64, **FULL, strip=True)),
        (123, 36, Frame(78, RIGHT, 45, **FULL, strip=True)),
        (122, 36, Frame(78, RIGHT, 44, **FULL, strip=True)),
        (120, 34, Frame(76, RIGHT, 44, **FULL, strip=True)),
        (120, 33, Frame(76, RIGHT, 44, **FULL, strip=False)),
        (119, 34, Frame(81, RIGHT, 38, **FULL, strip=False)),
        (100, 14, Frame(62, RIGHT, 38, **FULL, strip=False)),
        (99, 60, Frame(99, LINES, 0, **FULL, strip=False)),
        (80, 14, Frame(80, LINES, 0, **FULL, strip=False)),
        (79, 14, Frame(79, SCREEN, 0, **FULL, strip=False)),
        (60, 14, Frame(60, SCREEN, 0, **FULL, strip=False)),
        (59, 14, Frame(59, SCREEN, 0, **BARE, too_small=False, strip=False)),
        (200, 13, Frame(200, SCREEN, 0, **BARE, too_small=False, strip=False)),
        (40, 10, Frame(40, SCREEN, 0, **BARE, too_small=False, strip=False)),
        (39, 60, Frame(39, SCREEN, 0, **BARE, too_small=True, strip=False)),
        (200, 9, Frame(200, SCREEN, 0, **BARE, too_small=True, strip=False)),
    ],
)
def test_frame_by_size(width: int, height: int, frame: Frame) -> None:
    assert frame_for(width, height) == frame


def test_the_least_size_is_named_where_it_is_missed() -> None:
    assert "(40x10)" in TOO_SMALL


@pytest.mark.parametrize(("width", "height", "inner"), [(80, 24, 78), (59, 24, 59), (120, 36, 74)])
def test_a_list_row_is_as_wide_as_its_pane_without_the_border(width: int, height: int, inner: int) -> None:
    assert frame_for(width, height).inner_width == inner


@pytest.mark.parametrize("width", range(40, 240))
def test_columns_never_take_more_than_the_row_has(width: int) -> None:
    for height in (10, 14, 24, 60):
        columns, frame = columns_for(width, height), frame_for(width, height)
        assert frame.list_width + frame.detail_width == width
        assert GUTTER + sum(column.width for column in columns) <= frame.inner_width
        assert columns[0].field is Field.LEFT, "what changes each second stands at the left"
        assert columns[1].width >= 16
