"""Whether a cursor has come to stand on another row by itself, since the one that it stood on is gone."""

from __future__ import annotations

import time
from collections.abc import Callable

Key = tuple[str, str]
#: Seconds in which a key that is pressed was meant for the row before: nobody has seen the other one yet.
REACTION_TIME = 1.0


class CursorGuard:
    """What one list remembers of its cursor.

    :param clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lost_row: Key | None = None
        self._lost_at = 0.0

    def rows_changed(self, before: Key | None, after: Key | None) -> None:
        """The rows were swapped; the cursor stood on one key and stands on the other."""
        if before is not None and before != after:
            self._lost_row, self._lost_at = before, self._clock()

    def cursor_moved(self) -> None:
        """A person moved the cursor, or was told."""
        self._lost_row = None

    def lost_row(self) -> Key | None:
        """The row that the cursor stood on a moment ago; None where a person has had time to see the other."""
        return self._lost_row if self._clock() - self._lost_at < REACTION_TIME else None
