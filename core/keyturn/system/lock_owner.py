"""Owner of a lock: its process id is stored in the lock file, for the error when a lock is busy."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from keyturn.model.errors import FileBusy


def record_owner(handle: int) -> None:
    """Write the id of this process to a lock file."""
    # A full disk must not prevent locking; only the process id is missing then.
    with contextlib.suppress(OSError):
        os.pwrite(handle, b"%-20d\n" % os.getpid(), 0)


def read_owner(handle: int) -> int | None:
    """Return the process id in a lock file, or None."""
    try:
        return int(os.pread(handle, 20, 0))
    except (OSError, ValueError):
        return None


def busy_error(what: str, pid: int | None, seconds: float) -> FileBusy:
    """Return the error for a lock that was not available within `seconds`.

    :param pid: the process that holds the lock, None if unknown.
    """
    if pid is None:
        why = f"another keyturn process has held the lock for more than {seconds:.0f} s"
        return FileBusy(what, why, "Wait for that process to end, then try again")
    if _is_stopped(pid):
        why = f"keyturn process {pid} has held the lock for more than {seconds:.0f} s and is stopped"
        return FileBusy(what, why, f"Resume it (kill -CONT {pid}), or end it (kill -KILL {pid})")
    why = f"keyturn process {pid} has held the lock for more than {seconds:.0f} s"
    return FileBusy(what, why, f"Wait for that process, or end it (kill {pid})")


def _is_stopped(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] in (["T"], ["t"])
