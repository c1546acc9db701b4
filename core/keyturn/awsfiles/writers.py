"""Whether some program has a file open for writing, where the system can tell.

Linux gives a read lease on a file only while nobody has it open for writing. Asking for one, and giving it back at
once, tells of a writer who has not begun, or who paused, which no look at bytes and times can.
"""

from __future__ import annotations

import errno
import fcntl
import signal
import sys


def is_being_written(descriptor: int) -> bool | None:
    """Whether any program, this one too, has the file open for writing.

    :param descriptor: open for reading only.
    :returns: None where the system cannot tell: elsewhere than on Linux, on network file systems, for a file of
        somebody else.
    """
    if sys.platform != "linux":
        return None
    try:
        # Whoever opens the file in these microseconds waits until we have given the lease back, and we are signalled:
        # by default in a way that ends a process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EBUSY) else None
    return False
