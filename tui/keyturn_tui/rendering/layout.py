"""Layout of the main screen as pure functions of the terminal's size."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Field(StrEnum):
    """Columns of the profile list; the heading is the value in capitals."""

    LEFT = "left"
    PROFILE = "profile"
    TYPE = "type"
    ACCOUNT = "account"
    ROTATION = "rotation"


class DetailPlace(StrEnum):
    """Place of the selected profile's details."""

    RIGHT = "right"
    """A pane beside the list."""
    LINES = "lines"
    """Two lines under the list; Enter opens all details."""
    SCREEN = "screen"
    """Only on the screen that Enter opens."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the profile list. `width` is in cells and includes the gap to the next column."""

    field: Field
    width: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Parts of the main screen at one size."""

    list_width: int
    """Width of the list pane in cells, including its border."""
    detail: DetailPlace
    detail_width: int
    """Width of the right pane in cells, including its border; 0 if there is none."""
    borders: bool
    too_small: bool
    """True if only a request to enlarge the window fits."""
    strip: bool = False
    """True if a timeline strip is shown under list and details; otherwise `t` opens the timeline on its own
    screen."""

    @property
    def inner_width(self) -> int:
        """Width of a list row in cells."""
        return self.list_width - (2 if self.borders else 0)


#: Cells at the left of each row: cursor, space, glyph, space.
GUTTER = 4
_LEFT = Column(Field.LEFT, 10)
_TYPE = Column(Field.TYPE, 10)
_ACCOUNT = Column(Field.ACCOUNT, 14)
_ROTATION = Column(Field.ROTATION, 14)
_NAME_LIMIT = 64
MIN_WIDTH, MIN_HEIGHT = 40, 10
TOO_SMALL = f"Make the window larger ({MIN_WIDTH}x{MIN_HEIGHT})"


def frame_for(width: int, height: int) -> Frame:
    """Return the parts of the main screen for a terminal of `width` x `height` cells."""
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        return Frame(width, DetailPlace.SCREEN, 0, borders=False, too_small=True)
    if width < 60 or height < 14:
        return Frame(width, DetailPlace.SCREEN, 0, borders=False, too_small=False)
    if width < 80:
        return Frame(width, DetailPlace.SCREEN, 0, borders=True, too_small=False)
    if width < 100:
        return Frame(width, DetailPlace.LINES, 0, borders=True, too_small=False)
    beside = 38 if width < 120 else 44 + (width - 120) // 3
    strip = width >= 120 and height >= 34
    return Frame(width - beside, DetailPlace.RIGHT, beside, borders=True, too_small=False, strip=strip)


def columns_for(width: int, height: int = 24) -> tuple[Column, ...]:
    """Return the list's columns in order. PROFILE takes the width that the others leave."""
    frame = frame_for(width, height)
    after = [_ROTATION]
    if width < 60 or height < 14:
        after = []
    elif width >= 120:
        after = [_TYPE, _ACCOUNT, _ROTATION]
    elif width >= 80:
        after = [_TYPE, _ROTATION]
    taken = GUTTER + _LEFT.width + sum(column.width for column in after)
    name = min(_NAME_LIMIT, max(8, frame.inner_width - taken))
    return (_LEFT, Column(Field.PROFILE, name), *after)
