"""Deadline of one operation over all its AWS calls, role hops and retries.

A botocore timeout limits one wait for one packet: a hanging resolver, a slow response, a chain of roles and
the user's own `max_attempts` can all exceed it. The AWS SDK for Go kills a credential_process after 60
seconds, so an operation ends before that and tells why.
"""

from __future__ import annotations

import time
from collections.abc import Callable

#: Limit of an operation, if the user has configured no timeouts or retries.
DEFAULT_SECONDS = 20.0
#: Limit if the user has configured them, or if an external program must answer.
EXTENDED_SECONDS = 40.0
#: Upper limit, including the wait for the next MFA code.
MAX_SECONDS = 45.0


class Deadline:
    """Time limit of one operation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._extra = 0.0
        self._longest = (1.0, "")

    def add_time(self, seconds: float, spent_on: str = "") -> None:
        """Exclude time that was not spent on AWS.

        :param spent_on: for display, for example `waiting for a new MFA code`.
        """
        self._extra += seconds
        self._longest = max(self._longest, (seconds, spent_on))

    def exclude(self, seconds: float) -> None:
        """Exclude time that a foreign program took, or that was spent waiting for one. It has a limit of its
        own, so it does not count against the upper limit either.
        """
        self._started += seconds

    def elapsed(self) -> str:
        """Return the longest excluded time as text, `, after 21 s of waiting for a new MFA code`, or an
        empty string if none reached one second.
        """
        seconds, what = self._longest
        return f", after {seconds:.0f} s of {what}" if what else ""

    def left(self, seconds: float = DEFAULT_SECONDS) -> float:
        """Return the remaining seconds of an operation that may take `seconds`; 0 or less if it has
        expired.
        """
        return self._started + min(seconds + self._extra, MAX_SECONDS) - self._clock()
