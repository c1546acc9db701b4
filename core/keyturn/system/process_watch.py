"""Another process, held so that its end is noticed and no later process of its number is taken for it."""

from __future__ import annotations

import os
import select
import sys
from typing import Protocol

from keyturn.model.errors import KeyturnError


class Watch(Protocol):
    """Something to wait on: it becomes readable."""

    def fileno(self) -> int:
        """Its descriptor."""

    def close(self) -> None:
        """Wait no more."""


class _Descriptor:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


def watch_process(pid: int) -> Watch | None:
    """Something that becomes readable when the process that has the number `pid` now ends, whatever program it runs
    then. None if there is none. It does not pass on to a child by fork (macOS takes it away).

    :raises KeyturnError: this system cannot tell.
    """
    try:
        return _watch(pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        why = f"this system does not tell when a program ends: {error.strerror}"
        raise KeyturnError("start of the endpoint", why, "Leave out --endpoint") from error


if sys.platform == "linux":

    def _watch(pid: int) -> Watch:
        return _Descriptor(os.pidfd_open(pid))

else:

    def _watch(pid: int) -> Watch:
        queue = select.kqueue()
        exit_event = select.kevent(
            pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
        )
        queue.control([exit_event], 0)
        return queue
