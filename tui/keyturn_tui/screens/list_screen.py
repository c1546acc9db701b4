"""The keys that move a cursor up and down a list, for every screen that has one."""

from __future__ import annotations

from typing import Protocol

from keyturn_tui.screens.base import ActionScreen
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


class ListKeys(ActionScreen):
    """Has one list that the moving keys are about."""

    @property
    def walked(self) -> ScrollableList:
        """The list."""
        raise NotImplementedError  # each screen names its own; Textual's screens cannot be abstract classes

    def gone(self) -> Key | None:
        """See `Slip`; whoever asks tells the person."""
        gone = self.walked.guard.gone()
        self.walked.guard.moved()
        return gone

    def moved(self, by: int) -> None:
        """One row, by a key or the other."""
        self.walked.move(by)

    def do_list_down(self) -> None:
        """`j`."""
        self.moved(1)

    def do_list_up(self) -> None:
        """`k`."""
        self.moved(-1)

    def do_list_first(self) -> None:
        """`g`."""
        self.walked.move_first()

    def do_list_last(self) -> None:
        """`G`."""
        self.walked.move_last()

    def do_list_half_down(self) -> None:
        """ctrl+d."""
        self.walked.move_page(0.5)

    def do_list_half_up(self) -> None:
        """ctrl+u."""
        self.walked.move_page(-0.5)

    def do_list_page_down(self) -> None:
        """PgDn."""
        self.walked.move_page(1)

    def do_list_page_up(self) -> None:
        """PgUp."""
        self.walked.move_page(-1)
