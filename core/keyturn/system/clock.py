"""The wall clock, asked in this one place."""

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
    """Now, aware, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def clock_for(environ: Mapping[str, str]) -> Clock:
    """The clock that belongs to an environment: the machine's, or the movable one of a sandbox.

    Only a sandbox may move time: `KEYTURN_SANDBOX` names its folder, which must be private to this user and hold
    `KEYTURN_HOME`. The offset, in seconds, is read from the folder at each call, so that every process of the sandbox
    sees the same moment.
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
    return _offset_clock(Path(folder) / OFFSET_FILE)


def _offset_clock(offset_file: Path) -> Clock:
    def now() -> datetime:
        try:
            offset = float(offset_file.read_text("ascii"))
        except (OSError, ValueError):
            offset = 0.0
        return system_clock() + timedelta(seconds=offset)

    return now
