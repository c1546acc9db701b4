"""The request that a thread serves for another process: how long it may still take, and if the other process
still waits for it.

What waits for a program in that thread looks here, because no parameter passes from the agent's event loop
through an operation to the wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class RunningCall:
    """One request.

    :param is_abandoned: returns True once nobody needs the result any more. It is asked several times a
        second, in the thread that serves the request.
    """

    def __init__(
        self, is_abandoned: Callable[[], bool] = lambda: False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.is_abandoned = is_abandoned
        self._clock = clock
        self._until = 0.0

    def allow(self, seconds: float) -> None:
        """Record that the request may take `seconds` from now, because it waits for a program with a limit of
        its own.
        """
        self._until = max(self._until, self._clock() + seconds)

    def seconds_left(self) -> float:
        """Return the seconds that :meth:`allow` has granted from now; 0 if none."""
        return max(0.0, self._until - self._clock())


_current: ContextVar[RunningCall | None] = ContextVar("keyturn-running-call", default=None)


def current() -> RunningCall:
    """Return the request that this thread serves, or one that is never abandoned."""
    return _current.get() or RunningCall()


@contextmanager
def serving(call: RunningCall) -> Iterator[None]:
    """Make `call` the request that this thread serves."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)
