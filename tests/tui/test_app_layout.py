"""Where everything goes, as tables (ui.md, breakpoints)."""

from __future__ import annotations

import pytest

from keyturn_tui.rendering.layout import GUTTER, DetailPlace, Field, columns_for, frame_for

ALL = ["left", "profile", "type", "account", "rotation"]


@pytest.mark.parametrize(
    ("width", "height", "fields"),
    [
        (200, 50, ALL),
        (120, 36, ALL),
        (119, 36, ["left", "profile", "type", "rotation"]),
        (100, 30, ["left", "profile", "type", "rotation"]),
        (99, 30, ["left", "profile", "type", "rotation"]),
        (80, 24, ["left", "profile", "type", "rotation"]),
        (79, 24, ["left", "profile", "rotation"]),
        (60, 14, ["left", "profile", "rotation"]),
        (59, 24, ["left", "profile"]),
        (80, 13, ["left", "profile"]),
        (40, 10, ["left", "profile"]),
    ],
)
def test_columns_by_width(width: int, height: int, fields: list[str]) -> None:
    assert [column.field for column in columns_for(width, height)] == fields


@pytest.mark.parametrize(
    ("width", "height", "detail", "borders", "too_small"),
    [
        (120, 36, DetailPlace.RIGHT, True, False),
        (100, 24, DetailPlace.RIGHT, True, False),
        (99, 24, DetailPlace.LINES, True, False),
        (80, 24, DetailPlace.LINES, True, False),
        (79, 24, DetailPlace.SCREEN, True, False),
        (59, 24, DetailPlace.SCREEN, False, False),
        (100, 13, DetailPlace.SCREEN, False, False),
        (40, 10, DetailPlace.SCREEN, False, False),
        (39, 24, DetailPlace.SCREEN, False, True),
        (80, 9, DetailPlace.SCREEN, False, True),
    ],
)
def test_frame_by_size(width: int, height: int, detail: DetailPlace, borders: bool, too_small: bool) -> None:
    frame = frame_for(width, height)
    assert (frame.detail, frame.borders, frame.too_small) == (detail, borders, too_small)
    assert frame.list_width + frame.detail_width == width


@pytest.mark.parametrize("width", range(40, 240))
def test_columns_never_take_more_than_the_row_has(width: int) -> None:
    for height in (10, 14, 24, 60):
        columns = columns_for(width, height)
        assert GUTTER + sum(column.width for column in columns) <= frame_for(width, height).inner_width
        assert columns[0].field is Field.LEFT, "what changes each second stands at the left"
        assert columns[1].width >= 16
