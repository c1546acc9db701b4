"""Wait times of the writer, and the clocks that it uses. Tests pass their own clocks."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from keyturn.system.clock import system_clock

#: Seconds for which a file must be unchanged before its bytes count (safety.md 2.1, step 3).
QUIET = 0.030
#: The same for an empty file, in seconds, because a program that truncates may take time before it writes.
QUIET_EMPTY = 0.500
#: The same for a file that looks truncated, in seconds.
QUIET_CUT = 2.0
#: Seconds to watch for a program that read the file before it was replaced and writes it now.
LATE_WRITE_WAIT = 0.030
#: The same while others have just written it, in seconds, because they may be slowed down by each other and
#: by keyturn.
CONTENDED_WAIT = 0.300
#: Seconds for which a program that wrote the file is expected to write it again.
CONTENTION_PERIOD = 2.0
#: Seconds to wait for another keyturn process.
LOCK_LIMIT = 10.0
#: Seconds for which a file may keep changing before the read fails.
READ_LIMIT = 10.0
#: Minimum number of attempts, and minimum seconds, for an edit that others undo. A slow disk and a busy
#: writer can collide for a while.
ATTEMPTS = 10
ATTEMPT_LIMIT = 20.0


def _wall() -> float:
    return system_clock().timestamp()


@dataclass(frozen=True, slots=True)
class Timing:
    """Clocks and randomness of the writer. All times in seconds."""

    wall: Callable[[], float] = _wall
    """Seconds since the epoch; compared with the times of the file system."""
    elapsed: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    """Random number from 0 to 1 that keeps several writers out of step."""
