"""A yes-or-no question about something that can be had back, but not for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from keyturn_tui.cells import Line
from keyturn_tui.desk import Desk
from keyturn_tui.screens.dialog import Dialog, key_line, paragraph


class ConfirmScreen(Dialog[bool]):
    """`y` does it. Enter does nothing, so that a second Enter never confirms by accident."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", show=False),
        Binding("n", "cancel", show=False),
    ]

    def __init__(
        self, desk: Desk, title: str, lines: Sequence[str], verb: str, *, keep: str = "Keep"
    ) -> None:
        super().__init__(desk, title)
        self._keep = keep
        self._lines = lines
        self._verb = verb

    def body(self) -> Sequence[Line]:
        """The facts."""
        return [line for text in self._lines for line in paragraph(text, self.room)]

    def keys(self) -> Sequence[Line]:
        """To change nothing is the default."""
        return (key_line(("y", f"Yes, {self._verb}"), ("Esc", f"{self._keep} (default)")),)

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)  # noqa: FBT003  # the dialog's result
