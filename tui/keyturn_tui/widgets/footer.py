"""The last line: which keys make sense now."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal

from keyturn_tui.actions import BY_ID, Action
from keyturn_tui.cells import View
from keyturn_tui.rows import Row
from keyturn_tui.widgets.buttons import Buttons, width_of

#: Always there, at the right.
LAST = (BY_ID["help"], BY_ID["quit"])


def fitting(
    steady: Sequence[Action], varying: Sequence[Action], row: Row | None, view: View, width: int
) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    """As many of both as there is room for beside help and quit: the last steady ones go first."""
    room = width - 1 - width_of(LAST, row, view)
    chosen, also = list(steady), list(varying)
    while chosen and width_of([*chosen, *also], row, view) > room:
        chosen.pop()
    while also and width_of(also, row, view) > room:
        also.pop()
    return tuple(chosen), tuple(also)


class Footer(Horizontal):
    """Steady keys at the left, then what this row offers, help and quit at the right."""

    DEFAULT_CSS = """
    Footer { height: 1; padding: 0 0 0 1; }
    Footer #varying { width: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """Three parts; the middle one takes the gap, so that no other moves when it changes."""
        yield Buttons(id="steady")
        yield Buttons(id="varying")
        yield Buttons(id="always")

    def offer(self, steady: Sequence[Action], varying: Sequence[Action], row: Row | None, view: View) -> None:
        """Show these actions, as they stand for this row."""
        first, second = fitting(steady, varying, row, view, self.size.width or self.app.size.width)
        self.query_one("#steady", Buttons).offer(first, row, view)
        self.query_one("#varying", Buttons).offer(second, row, view)
        self.query_one("#always", Buttons).offer(LAST, row, view)
