"""Guard against acting on the wrong row. If a reload removes the selected row, the cursor moves to a
neighbour; keys pressed within one second are rejected, because the user aimed at the removed row."""

from __future__ import annotations

import time
from collections.abc import Callable

Key = tuple[str, str]
#: Seconds after a row was removed in which a key was still meant for it.
REACTION_TIME = 1.0


class CursorGuard:
    """Tracks the cursor of one list.

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
