"""The clocks of the system."""

from __future__ import annotations

import time

from keyturn.system import clock


def test_the_clock_since_the_start_goes_on_and_is_not_the_wall_clock() -> None:
    before = clock.boot_seconds()
    assert 0 <= clock.boot_seconds() - before < 60
    assert before >= time.monotonic() - 1, "it counts at least the time that the machine was awake"
    assert abs(before - time.time()) > 86400
