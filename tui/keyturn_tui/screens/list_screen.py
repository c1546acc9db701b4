"""The keys that move a cursor up and down a list, for every screen that has one."""

from __future__ import annotations

from typing import Protocol

from keyturn_tui.widgets.cursor_guard import CursorGuard, Key


class ScrollableList(Protocol):
    """A list with a cursor that stops at both ends."""

    guard: CursorGuard

    def move(self, by: int) -> None:
        """Rows, negative for up."""

    def move_page(self, share: float) -> None:
        """A share of what is in view, negative for up."""

    def move_first(self) -> None:
        """To the top."""

    def move_last(self) -> None:
        """To the bottom."""


class _ListScreen(Protocol):
    """A screen that :class:`ListKeys` is mixed into."""

    @property
    def row_list(self) -> ScrollableList: ...
    def move_cursor(self, by: int) -> None: ...


class ListKeys:
    """Mixin for an `ActionScreen` with one list, `row_list`."""

    def lost_row(self: _ListScreen) -> Key | None:
        """See `CursorGuard`; whoever asks tells the person."""
        lost_row = self.row_list.guard.lost_row()
        self.row_list.guard.cursor_moved()
        return lost_row

    def move_cursor(self: _ListScreen, by: int) -> None:
        """One row, by a key or the other."""
        self.row_list.move(by)

    def do_list_down(self: _ListScreen) -> None:
        """`j`."""
        self.move_cursor(1)

    def do_list_up(self: _ListScreen) -> None:
        """`k`."""
        self.move_cursor(-1)

    def do_list_first(self: _ListScreen) -> None:
        """`g`."""
        self.row_list.move_first()

    def do_list_last(self: _ListScreen) -> None:
        """`G`."""
        self.row_list.move_last()

    def do_list_half_down(self: _ListScreen) -> None:
        """ctrl+d."""
        self.row_list.move_page(0.5)

    def do_list_half_up(self: _ListScreen) -> None:
        """ctrl+u."""
        self.row_list.move_page(-0.5)

    def do_list_page_down(self: _ListScreen) -> None:
        """PgDn."""
        self.row_list.move_page(1)

    def do_list_page_up(self: _ListScreen) -> None:
        """PgUp."""
        self.row_list.move_page(-1)
