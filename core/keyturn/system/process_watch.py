"""Wait for the end of another process, without confusing it with a later process that has the same id."""

from __future__ import annotations

import os
import select
import sys
from typing import Protocol

from keyturn.model.errors import KeyturnError


class Watch(Protocol):
    """A waitable object that becomes readable."""

    def fileno(self) -> int:
        """Return the file descriptor."""

    def close(self) -> None:
        """Stop waiting and close the descriptor."""


def watch_process(pid: int) -> Watch | None:
    """Return an object that becomes readable when process `pid` exits, or None if there is no such process.
    Executing another program in that process does not count as its end. A fork does not inherit the watch
    on macOS.

    :raises KeyturnError: if the system does not support it.
    """
    try:
        return _watch(pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise KeyturnError(
            "Could not start the endpoint",
            f"this system cannot watch a process: {error.strerror}",
            "Omit --endpoint",
        ) from error


if sys.platform == "linux":

    def _watch(pid: int) -> Watch:
        return open(os.pidfd_open(pid), "rb", buffering=0)  # noqa: PTH123 - a descriptor, for the caller to close

else:

    def _watch(pid: int) -> Watch:
        queue = select.kqueue()
        exit_event = select.kevent(
            pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
        )
        queue.control([exit_event], 0)
        return queue
