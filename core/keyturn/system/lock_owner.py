"""Which process holds a lock: it writes its number into the lock file, for whoever waits too long."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from keyturn.model.errors import FileBusy


def record_owner(handle: int) -> None:
    """Notes in a lock file that this process has it now."""
    # A full disk does not keep anybody from a lock; only the name is missing then.
    with contextlib.suppress(OSError):
        os.pwrite(handle, b"%-20d\n" % os.getpid(), 0)


def read_owner(handle: int) -> int | None:
    """The process that noted itself in a lock file last."""
    try:
        return int(os.pread(handle, 20, 0))
    except (OSError, ValueError):
        return None


def busy_error(what: str, pid: int | None, seconds: float) -> FileBusy:
    """The error of somebody who has waited for `seconds`.

    :param pid: the process that holds the lock, if it is known.
    """
    if pid is None:
        why = f"another keyturn process has held it for more than {seconds:.0f} s"
        return FileBusy(what, why, "Wait for that process to end, then try again")
    if _is_stopped(pid):
        why = f"keyturn process {pid} has held it for more than {seconds:.0f} s and is stopped"
        return FileBusy(what, why, f"Let it go on (kill -CONT {pid}), or end it (kill -KILL {pid})")
    why = f"keyturn process {pid} has held it for more than {seconds:.0f} s"
    return FileBusy(what, why, f"Wait for that process, or end it (kill {pid})")


def _is_stopped(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] in (["T"], ["t"])
