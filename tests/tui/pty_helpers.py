"""A child process on a pty of its own, whose bytes are counted."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]


class PtyChild:
    """The app as a process, on a terminal of a given size.

    :param words: arguments of `pty_child.py`.
    """

    def __init__(
        self, words: list[str], home: Path, *, width: int = 120, height: int = 36, **environ: str
    ) -> None:
        self.output = b""
        pid, self._fd = pty.fork()
        if pid == 0:
            inherited = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
            variables = {
                "HOME": str(home),
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                "LANG": "C.UTF-8",
            }
            os.chdir(ROOT)
            program = [sys.executable, "-m", "tests.tui.pty_child", *words]
            os.execve(sys.executable, program, {**inherited, **variables, **environ})  # noqa: S606  # our own program
        self.pid = pid
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Set the size of the terminal."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def unread(self) -> int:
        """Return the number of bytes that the app has sent and nobody has read."""
        return int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)

    def read(self, seconds: float) -> bytes:
        """Return everything that arrives within `seconds`."""
        got = b""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._fd], [], [], left)
            if ready:
                try:
                    got += os.read(self._fd, 65536)
                except OSError:
                    break
        self.output += got
        return got

    def read_until(self, wanted: bytes, seconds: float = 30.0) -> bytes:
        """Read until `wanted` was written."""
        got = b""
        end = time.monotonic() + seconds
        while wanted not in got:
            if time.monotonic() > end:
                raise AssertionError(f"{wanted!r} did not come; got {got[-2000:]!r}")
            got += self.read(0.1)
        return got

    def read_until_quiet(self, quiet: float = 0.5, seconds: float = 20.0) -> bytes:
        """Read until nothing more than a second's tick arrives for a while."""
        got = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            more = self.read(quiet)
            got += more
            if len(more) < 400:
                break
        return got

    def send(self, keys: bytes) -> None:
        """Send keys."""
        os.write(self._fd, keys)

    def hang_up(self) -> None:
        """Close the line, as a lost SSH connection does."""
        os.close(self._fd)
        self._fd = -1

    def wait(self, seconds: float = 20.0) -> int:
        """Return the exit code, or minus the signal that ended the process."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if self._fd >= 0:
                self.read(0.05)
            else:
                time.sleep(0.05)
        raise AssertionError("the app did not end")

    def close(self) -> None:
        """End the process in any state."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
