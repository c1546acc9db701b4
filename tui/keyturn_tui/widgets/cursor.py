"""Cursors of lists, and scrolling of text that is longer than the screen."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.binding import Binding, BindingType
from textual.widget import Widget

Key = tuple[str, str]
#: Seconds after a row was removed in which a key was still meant for it.
REACTION_TIME = 1.0
#: More rows or lines than any list or text has.
FAR = 1_000_000


class CursorGuard:
    """Guards against acting on the wrong row. If a reload removes the selected row, the cursor moves to a
    neighbour; keys pressed within one second are rejected, because the user aimed at the removed row.

    :param clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost_row: Key | None = None
        self._lost_at = 0.0

    def rows_changed(self, before: Key | None, after: Key | None) -> None:
        """Record that a reload moved the cursor from one row to another."""
        if before is not None and before != after:
            self._lost_row, self._lost_at = before, self._clock()

    def cursor_moved(self) -> None:
        """Record that the user moved the cursor or was told about the removed row."""
        self._lost_row = None

    def lost_row(self) -> Key | None:
        """Return the row that was removed less than `REACTION_TIME` ago, else None."""
        return self._lost_row if self._clock() - self._lost_at < REACTION_TIME else None


class CursorList(Widget):
    """A list whose cursor stops at both ends. A subclass overrides `move`; a widget cannot be abstract,
    because its metaclass is not ABCMeta.
    """

    guard: CursorGuard

    def move(self, by: int) -> None:
        """Move by rows; negative is up."""
        raise NotImplementedError

    def move_page(self, share: float) -> None:
        """Move by a fraction of the visible rows; negative is up."""
        step = max(1, int(abs(share) * self.size.height))
        self.move(step if share > 0 else -step)


def scroll_bindings(action: str, page: int = 8, *, forward: str = "pagedown,ctrl+d") -> list[BindingType]:
    """Return bindings of the scroll keys to `action(BY)`; BY is in lines, negative is up.

    :param page: lines of a page.
    :param forward: keys that scroll down by a page.
    """
    by_keys = {"j,down": 1, "k,up": -1, forward: page, "pageup,ctrl+u": -page, "g,home": -FAR, "G,end": FAR}
    return [Binding(keys, f"{action}({by})", show=False) for keys, by in by_keys.items()]


def scroll_position(top: int, by: int, lines: int, room: int, *, keep_visible: int | None = None) -> int:
    """Return the first line to show after scrolling by `by`, clamped to both ends.

    :param keep_visible: a line that must stay visible.
    """
    top = min(max(0, top + by), max(0, lines - room))
    if keep_visible is not None:
        top = min(max(top, keep_visible - room + 1), keep_visible)
    return top
