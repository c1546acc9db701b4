"""Keys that move the cursor of a list."""

from __future__ import annotations

from typing import Protocol

from keyturn_tui.widgets.cursor_guard import CursorGuard, Key


class ScrollableList(Protocol):
    """A list whose cursor stops at both ends."""

    guard: CursorGuard

    def move(self, by: int) -> None:
        """Move by rows; negative is up."""

    def move_page(self, share: float) -> None:
        """Move by a fraction of the visible rows; negative is up."""

    def move_first(self) -> None:
        """Move to the first row."""

    def move_last(self) -> None:
        """Move to the last row."""


class _ListScreen(Protocol):
    """Members that :class:`ListKeys` needs."""

    @property
    def row_list(self) -> ScrollableList: ...
    def move_cursor(self, by: int) -> None: ...


class ListKeys:
    """Mixin for an `ActionScreen` with one list, `row_list`."""

    def lost_row(self: _ListScreen) -> Key | None:
        """Return the row that the pressed key was meant for, if it was just removed; see
        :class:`CursorGuard`."""
        lost_row = self.row_list.guard.lost_row()
        self.row_list.guard.cursor_moved()
        return lost_row

    def move_cursor(self: _ListScreen, by: int) -> None:
        """Move by rows; negative is up."""
        self.row_list.move(by)

    def do_list_down(self: _ListScreen) -> None:
        self.move_cursor(1)

    def do_list_up(self: _ListScreen) -> None:
        self.move_cursor(-1)

    def do_list_first(self: _ListScreen) -> None:
        self.row_list.move_first()

    def do_list_last(self: _ListScreen) -> None:
        self.row_list.move_last()

    def do_list_half_down(self: _ListScreen) -> None:
        self.row_list.move_page(0.5)

    def do_list_half_up(self: _ListScreen) -> None:
        self.row_list.move_page(-0.5)

    def do_list_page_down(self: _ListScreen) -> None:
        self.row_list.move_page(1)

    def do_list_page_up(self: _ListScreen) -> None:
        self.row_list.move_page(-1)
