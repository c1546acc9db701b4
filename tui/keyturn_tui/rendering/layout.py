"""Where everything goes: pure functions of the terminal's size (ui.md, breakpoints)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Field(StrEnum):
    """What a column shows."""

    LEFT = "left"
    PROFILE = "profile"
    TYPE = "type"
    ACCOUNT = "account"
    ROTATION = "rotation"


class DetailPlace(StrEnum):
    """Where the chosen profile is described."""

    RIGHT = "right"
    """A pane beside the list."""
    LINES = "lines"
    """Two lines under the list; Enter opens the whole."""
    SCREEN = "screen"
    """Only on the screen that Enter opens."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list; `width` in cells, the gap to the next column included."""

    field: Field
    title: str
    width: int


@dataclass(frozen=True, slots=True)
class Frame:
    """The main screen's parts at one size."""

    list_width: int
    """Cells of the list pane, its border included."""
    detail: DetailPlace
    detail_width: int
    """Cells of the right pane, its border included; 0 without one."""
    borders: bool
    header: bool
    too_small: bool
    """Nothing but one line that asks for more room."""
    strip: bool = False
    """What ends first is charted under list and detail; else the timeline has a screen of its own only."""

    @property
    def inner_width(self) -> int:
        """Cells of a list row."""
        return self.list_width - (2 if self.borders else 0)


#: Cells at the left of each row: cursor, space, glyph, space.
GUTTER = 4
_LEFT = 10
_TYPE = 10
_ACCOUNT = 14
_ROTATION = 14
_NAME_LIMIT = 64
MIN_WIDTH, MIN_HEIGHT = 40, 10
TOO_SMALL = f"Make the window larger ({MIN_WIDTH}x{MIN_HEIGHT})"


def frame_for(width: int, height: int) -> Frame:
    """The parts of the main screen in a terminal of `width` x `height` cells."""
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        return Frame(width, DetailPlace.SCREEN, 0, borders=False, header=False, too_small=True)
    if width < 60 or height < 14:
        return Frame(width, DetailPlace.SCREEN, 0, borders=False, header=False, too_small=False)
    if width < 80:
        return Frame(width, DetailPlace.SCREEN, 0, borders=True, header=True, too_small=False)
    if width < 100:
        return Frame(width, DetailPlace.LINES, 0, borders=True, header=True, too_small=False)
    beside = 38 if width < 120 else 44 + (width - 120) // 3
    strip = width >= 120 and height >= 34
    return Frame(
        width - beside, DetailPlace.RIGHT, beside, borders=True, header=True, too_small=False, strip=strip
    )


def columns_for(width: int, height: int = 24) -> tuple[Column, ...]:
    """The list's columns, in order, in a terminal of `width` x `height` cells. PROFILE takes what the others leave."""
    frame = frame_for(width, height)
    after = [Column(Field.ROTATION, "ROTATION", _ROTATION)]
    if width < 60 or height < 14:
        after = []
    elif width >= 120:
        after = [Column(Field.TYPE, "TYPE", _TYPE), Column(Field.ACCOUNT, "ACCOUNT", _ACCOUNT), *after]
    elif width >= 80:
        after = [Column(Field.TYPE, "TYPE", _TYPE), *after]
    taken = GUTTER + _LEFT + sum(column.width for column in after)
    name = min(_NAME_LIMIT, max(8, frame.inner_width - taken))
    return (Column(Field.LEFT, "LEFT", _LEFT), Column(Field.PROFILE, "PROFILE", name), *after)
