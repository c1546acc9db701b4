"""Wall clock, and the clock since the start of the system. No other module reads them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

Clock = Callable[[], datetime]

OFFSET_FILE = "clock-offset"


def system_clock() -> datetime:
    """Return the current time, aware UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def boot_seconds() -> float:
    """Return the seconds since an arbitrary moment, with the time that the machine was suspended. Nobody can
    set this clock, and it does not follow the wall clock."""
    # macOS has no CLOCK_BOOTTIME, and its CLOCK_MONOTONIC counts the time of a suspension.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def clock_for(environ: Mapping[str, str]) -> Clock:
    """Return the clock for an environment: the system clock, or the adjustable clock of a sandbox.

    Only a sandbox may move time: `KEYTURN_SANDBOX` names its folder, which must be private to this user and
    contain `KEYTURN_HOME`. The offset in seconds is read from that folder at each call, so that all processes
    of the sandbox share one time.
    """
    folder = environ.get("KEYTURN_SANDBOX", "")
    home = environ.get("KEYTURN_HOME", "")
    if not folder or not home or not Path(home).is_relative_to(folder):
        return system_clock
    try:
        status = Path(folder).stat()
    except OSError:
        return system_clock
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        return system_clock
    return lambda: system_clock() + timedelta(seconds=read_offset(Path(folder) / OFFSET_FILE))


def read_offset(path: Path) -> float:
    """Return the offset in a file, in seconds; 0 if it cannot be read."""
    try:
        return float(path.read_text("ascii"))
    except (OSError, ValueError):
        return 0.0
