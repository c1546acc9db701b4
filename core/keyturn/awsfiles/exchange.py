"""Two names exchanged in one step, so that what was replaced is at hand afterwards and not merely gone."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_HERE = -100
"""AT_FDCWD: a relative path begins in the working folder."""
_EXCHANGE = 2
#: A system, a file system or a container's rules that know no exchange.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def exchange(first: Path, second: Path) -> bool:
    """Gives each of two files the name of the other; False where that cannot be done in one step.

    :raises OSError: one of them is not there, or the file system said no.
    """
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _UNKNOWN:
        return False
    raise OSError(error, os.strerror(error), str(first), None, str(second))
