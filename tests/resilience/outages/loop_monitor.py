"""Measurement of the time for which the app's event loop does not read the keyboard, independent of other
load on the machine.

Two things can block it. A callback that computes for long is measured in CPU time of the loop's thread. A
callback that waits for the system (a socket, a file lock, a child, a sleep) is reported by Python's audit
hooks. A thread that looks at long callbacks records the line that they were at.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.own_code import is_ours

#: Calls that may wait for another process. Each is an audit event of CPython.
WAITS = frozenset({
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "subprocess.Popen",
    "os.fork",
    "os.posix_spawn", "os.system", "fcntl.flock", "fcntl.lockf", "open", "os.listdir", "os.scandir",
    "os.rename", "os.remove", "os.mkdir", "os.truncate", "shutil.rmtree", "tempfile.mkstemp", "os.getxattr",
})  # fmt: skip
#: The sandbox's movable clock is a file; the clock in real use is not.
_SANDBOX_ONLY = ("clock-offset",)


@dataclass
class Gauge:
    """Measurements of the loop's thread."""

    thread: int
    longest: float = 0.0
    """Seconds of CPU of the longest callback."""
    longest_of: str = ""
    callbacks: int = 0
    waits: list[str] = field(default_factory=list)
    """Every call that may wait, with the line of keyturn that made it."""


_running: list[Gauge] = []
_hooked: list[bool] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _running or event not in WAITS or threading.get_ident() != _running[0].thread:
        return
    if event == "open" and (not isinstance(args[0], (str, bytes)) or str(args[0]).endswith(_SANDBOX_ONLY)):
        return
    place = _our_line(sys._getframe(1))
    if place:
        _running[0].waits.append(f"{event}({str(args[0])[:80] if args else ''}) at {place}")


def _our_line(frame: FrameType | None) -> str:
    """Return the innermost line of keyturn, unless an import is running: modules are read once, from the
    disk's cache."""
    innermost = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return ""
        if not innermost and is_ours(name):
            innermost = f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return innermost


@contextmanager
def gauge() -> Iterator[Gauge]:
    """Watch the loop of this thread."""
    if not _hooked:
        sys.addaudithook(_audit)  # for the process's life; it does nothing while no gauge runs
        _hooked.append(True)
    gauge = Gauge(threading.get_ident())
    handle: Any = asyncio.events.Handle
    plain, sleep = handle._run, time.sleep
    at: list[str] = []
    ended = threading.Event()

    def measured(self: Any) -> None:
        if threading.get_ident() != gauge.thread:
            plain(self)
            return
        at.clear()
        start = time.thread_time()
        plain(self)
        elapsed = time.thread_time() - start
        gauge.callbacks += 1
        if elapsed > gauge.longest:
            gauge.longest, gauge.longest_of = elapsed, " / ".join(at) or repr(self)[:200]

    def sleep_measured(seconds: Any) -> None:
        if threading.get_ident() == gauge.thread:
            gauge.waits.append(f"sleep({seconds}) at {_our_line(sys._getframe(1))}")
        sleep(seconds)

    def watch() -> None:
        while not ended.wait(0.03):
            frame = sys._current_frames().get(gauge.thread)
            if len(at) < 12 and frame is not None:
                at.append(
                    " < ".join(f"{f.name}:{f.lineno}" for f in reversed(traceback.extract_stack(frame)[-9:]))
                )

    watcher = threading.Thread(target=watch, daemon=True)
    handle._run, time.sleep = measured, sleep_measured
    _running.append(gauge)
    # The collector would traverse everything that the tests have loaded, which a real app's process does not
    # hold.
    gc.collect()
    gc.freeze()
    watcher.start()
    try:
        yield gauge
    finally:
        ended.set()
        watcher.join()
        gc.unfreeze()
        _running.remove(gauge)
        handle._run, time.sleep = plain, sleep
