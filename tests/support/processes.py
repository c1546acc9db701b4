"""Processes that a program under test has started, found in /proc, and how much of the CPU they get."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: Seconds of each tenth of a second in which a throttled process may run.
SHARE = 0.005
PERIOD = 0.1


class Family:
    """A process and all that it started, also through others and in sessions of their own.

    It must be made before that process starts anything, and :meth:`members` must be called often, because a
    process that has ended connects no others.
    """

    def __init__(self, root: int) -> None:
        self._known = {root}
        self._sessions: set[int] = set()

    def members(self) -> list[int]:
        """Return the ids of those that are alive."""
        alive = []
        for pid, parent, session in sorted(_processes()):
            if pid in self._known or parent in self._known or session in self._sessions:
                self._known.add(pid)
                alive.append(pid)
                if session == pid:
                    self._sessions.add(pid)
        return alive


def find_started(root: int, part: str, seconds: float = 30.0) -> int:
    """Wait until a process in the family of `root` has `part` in its command, and return its id."""
    family, end = Family(root), time.monotonic() + seconds
    while time.monotonic() < end:
        for pid in family.members():
            if pid != root and part.encode() in _command(pid):
                return pid
        time.sleep(0.002)
    raise AssertionError(f"process {root} did not start {part}")


def _processes() -> Iterator[tuple[int, int, int]]:
    """Yield the process id, the parent's id and the session of each process."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                yield int(folder.name), int(fields[1]), int(fields[3])


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def throttled(pid: int) -> contextlib.AbstractContextManager[None]:
    """Let a process run a twentieth of the time, as a small CPU quota does, until the end of the block."""
    return _throttled(lambda: [pid])


def throttled_family(root: int) -> contextlib.AbstractContextManager[None]:
    """Do the same with a process and all that it starts."""
    return _throttled(Family(root).members)


@contextmanager
def _throttled(members: Callable[[], Iterable[int]]) -> Iterator[None]:
    is_over = threading.Event()

    def throttle() -> None:
        while not is_over.is_set():
            pids = list(members())
            _send(pids, signal.SIGSTOP)
            time.sleep(PERIOD - SHARE)
            _send(pids, signal.SIGCONT)
            time.sleep(SHARE)

    thread = threading.Thread(target=throttle)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process for the time of the block."""
    _send([pid], signal.SIGSTOP)
    try:
        yield
    finally:
        _send([pid], signal.SIGCONT)
