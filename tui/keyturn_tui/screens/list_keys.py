"""Keys that move the cursor of a list."""

from __future__ import annotations

from keyturn_tui.widgets.cursor import FAR, CursorList, Key


class ListKeys:
    """Mixin for an `ActionScreen` with one list, `row_list`."""

    @property
    def row_list(self) -> CursorList:
        """The list. Each screen overrides it; a mixin of Textual's screens cannot be abstract, because their
        metaclass is not ABCMeta."""
        raise NotImplementedError

    def lost_row(self) -> Key | None:
        """Return the row that the pressed key was meant for, if it was just removed; see
        :class:`CursorGuard`."""
        lost_row = self.row_list.guard.lost_row()
        self.row_list.guard.cursor_moved()
        return lost_row

    def move_cursor(self, by: int) -> None:
        """Move by rows; negative is up."""
        self.row_list.move(by)

    def do_list_down(self) -> None:
        self.move_cursor(1)

    def do_list_up(self) -> None:
        self.move_cursor(-1)

    def do_list_first(self) -> None:
        self.row_list.move(-FAR)

    def do_list_last(self) -> None:
        self.row_list.move(FAR)

    def do_list_half_down(self) -> None:
        self.row_list.move_page(0.5)

    def do_list_half_up(self) -> None:
        self.row_list.move_page(-0.5)

    def do_list_page_down(self) -> None:
        self.row_list.move_page(1)

    def do_list_page_up(self) -> None:
        self.row_list.move_page(-1)
