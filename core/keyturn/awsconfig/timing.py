"""The writer's sense of time: what it waits for and by which clock, so that a test can move it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from keyturn.system.clock import system_clock

#: A file must have been left alone for this long before its bytes count, in seconds (safety.md 2.1, step 3).
QUIET = 0.030
#: The same for a file that is empty: a writer that truncates may take its time to write.
QUIET_EMPTY = 0.500
#: The same for a file that looks cut off.
QUIET_CUT = 2.0
#: How long to look for somebody who had read the file before it was replaced, and writes it now.
LATE_WRITE_WAIT = 0.030
#: The same where others have written it just now, and may be slowed down by each other and by us.
CONTENDED_WAIT = 0.300
#: For how long somebody who wrote the file is expected to write it again.
CONTENTION_PERIOD = 2.0
#: How long to wait for another keyturn process.
LOCK_LIMIT = 10.0
#: How long a file may keep changing under us before we give up on it.
READ_LIMIT = 10.0
#: How often an edit that others undo is tried at least, and for how many seconds at least: a slow disk and a busy writer
#: can come in each other's way for a while.
ATTEMPTS = 10
ATTEMPT_LIMIT = 20.0


def _wall() -> float:
    return system_clock().timestamp()


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds."""

    wall: Callable[[], float] = _wall
    """Compared with the times that the file system gives."""
    elapsed: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """From 0 to 1, to keep several writers out of step."""
