"""Attacks on a process of keyturn by another process. Run as a user: `attack.py PID`; prints the successful
ones as JSON.

Standard library only; imports nothing of keyturn.
"""
# ruff: noqa: T201, PTH123, PTH208, PTH115

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long
PEEK, ATTACH, DETACH, SEIZE = 2, 16, 17, 0x4206
PIDFD_OPEN, PIDFD_GETFD = 434, 438


class Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def reads(name: str) -> Callable[[int], bool]:
    def attempt(pid: int) -> bool:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            if name == "mem":
                return True
            return bool(file.read(1)) or name == "pagemap"

    return attempt


def lists(name: str) -> Callable[[int], bool]:
    return lambda pid: bool(os.listdir(f"/proc/{pid}/{name}"))


def follows(name: str) -> Callable[[int], bool]:
    return lambda pid: bool(os.readlink(f"/proc/{pid}/{name}"))


def writes_memory(pid: int) -> bool:
    with open(f"/proc/{pid}/mem", "r+b"):
        return True


def opens_standard_input(pid: int) -> bool:
    os.close(os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK))
    return True


def ptraces(kind: int) -> Callable[[int], bool]:
    def attempt(pid: int) -> bool:
        if LIBC.ptrace(kind, pid, None, None) != 0:
            return False
        os.waitpid(pid, 0x40000000 | os.WNOHANG)
        return True

    return attempt


def reads_by_vm(pid: int) -> bool:
    # An unmapped address gives EFAULT; a caller without permission gets EPERM.
    here = ctypes.create_string_buffer(8)
    local, remote = Part(ctypes.cast(here, ctypes.c_void_p), 8), Part(0x400000, 8)
    result = LIBC.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    return bool(result >= 0 or ctypes.get_errno() == 14)


def takes_descriptor(pid: int) -> bool:
    pidfd = LIBC.syscall(PIDFD_OPEN, pid, 0)
    return bool(pidfd >= 0 and LIBC.syscall(PIDFD_GETFD, pidfd, 0, 0) >= 0)


def kills(pid: int) -> bool:
    os.kill(pid, signal.SIGUSR1)
    return True


ATTEMPTS: dict[str, Callable[[int], bool]] = {
    **{
        f"read {name}": reads(name)
        for name in ("environ", "mem", "maps", "smaps", "auxv", "io", "stack", "pagemap")
    },
    **{f"list {name}": lists(name) for name in ("fd", "map_files", "fdinfo")},
    **{f"follow {name}": follows(name) for name in ("exe", "cwd", "root", "fd/0")},
    "write mem": writes_memory,
    "open fd/0": opens_standard_input,
    "process_vm_readv": reads_by_vm,
    "pidfd_getfd": takes_descriptor,
    "ptrace seize": ptraces(SEIZE),
    "ptrace attach": ptraces(ATTACH),
}


def main(words: list[str]) -> None:
    pid = int(words[0])
    attempts = dict(ATTEMPTS)
    if words[1:] == ["kill"]:
        attempts["kill"] = kills
    worked = []
    for name, attempt in attempts.items():
        with contextlib.suppress(OSError):
            if attempt(pid):
                worked.append(name)
    print(json.dumps({"tried": len(attempts), "worked": worked}))


if __name__ == "__main__":
    main(sys.argv[1:])
