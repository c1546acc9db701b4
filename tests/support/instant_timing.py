"""Timing of the shared files' writer for tests in which nobody else writes: waiting costs no time."""

from __future__ import annotations

import time

from keyturn.system.shared_file import Timing


def instant_timing() -> Timing:
    """Return timing in which waiting costs nothing: a sleep moves its clocks."""
    waited = [0.0]

    def sleep(seconds: float) -> None:
        waited[0] += seconds

    return Timing(lambda: time.time() + waited[0], lambda: waited[0], sleep, lambda: 0.5)
