"""One end for all that an act asks of AWS, however many hops and tries that takes.

botocore's time-outs bound one wait for one packet: a silent resolver, a dripping answer, a chain of roles and a
person's own `max_attempts` all pass them. Go kills a credential_process after 60 seconds, so an act ends before that
and says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

#: What an act may take in all where the person configured nothing about time-outs and retries.
DEFAULT_SECONDS = 20.0
#: The same where they did, or where a foreign program has to answer.
EXTENDED_SECONDS = 40.0
#: Nothing may take longer, waiting for the next MFA code included.
MAX_SECONDS = 45.0


class DeadlineExceeded(Exception):
    """The end came before the answer."""


class Deadline:
    """When one act must be over."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._extra = 0.0
        self._longest = (1.0, "")

    def add_time(self, seconds: float, spent_on: str = "") -> None:
        """Time that was spent on something else than AWS.

        :param spent_on: `waiting for a new MFA code`.
        """
        self._extra += seconds
        self._longest = max(self._longest, (seconds, spent_on))

    def elapsed(self) -> str:
        """`, after 21 s of waiting for a new MFA code`, by what took longest; empty if nothing took a second."""
        seconds, what = self._longest
        return f", after {seconds:.0f} s of {what}" if what else ""

    def left(self, seconds: float = DEFAULT_SECONDS) -> float:
        """Seconds until an act that may take `seconds` is over; 0 or less once it is."""
        return self._started + min(seconds + self._extra, MAX_SECONDS) - self._clock()


class _Call(Generic[Answer]):
    """A call in a thread of its own, and what became of it."""

    def __init__(self, function: Callable[[], Answer]) -> None:
        self._function = function
        self._results: list[Answer] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:  # noqa: BLE001 - the boundary of a thread: raised again where it is awaited
            self._error = error

    def result(self) -> Answer:
        if self._error is not None:
            raise self._error
        return self._results[0]


def run_with_timeout(seconds: float, function: Callable[[], Answer]) -> Answer:
    """What `function` gives, or raises, within `seconds`.

    Past them it goes on in a thread that nobody waits for; what it brings is thrown away.

    :raises Late: it took longer, or there was no time left to begin.
    """
    if seconds <= 0:
        raise DeadlineExceeded
    call = _Call(function)
    thread = threading.Thread(target=call.run, name="keyturn-aws", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise DeadlineExceeded
    return call.result()
