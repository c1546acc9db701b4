"""Whether a cursor has come to stand on another row by itself, since the one that it stood on is gone."""

from __future__ import annotations

import time
from collections.abc import Callable

Key = tuple[str, str]
#: Seconds in which a key that is pressed was meant for the row before: nobody has seen the other one yet.
UNSEEN = 1.0


class CursorGuard:
    """What one list remembers of its cursor.

    :param clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._gone: Key | None = None
        self._at = 0.0

    def swapped(self, before: Key | None, after: Key | None) -> None:
        """The rows were swapped; the cursor stood on one key and stands on the other."""
        if before is not None and before != after:
            self._gone, self._at = before, self._clock()

    def moved(self) -> None:
        """A person moved the cursor, or was told."""
        self._gone = None

    def gone(self) -> Key | None:
        """The row that the cursor stood on a moment ago; None where a person has had time to see the other."""
        return self._gone if self._clock() - self._at < UNSEEN else None
