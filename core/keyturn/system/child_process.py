"""Short-lived child processes of keyturn for work that may hang or use too much memory.

The child gets its request on a socket after it has hardened itself, answers there and exits. It is ended with
its group, because the libraries that it loads may start programs.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from enum import Enum, auto

from keyturn.model.text import wait_text
from keyturn.system import secret_channel
from keyturn.system.process_group import ProcessGroup

#: The code and its arguments (the module to run and the import paths) hold no secret, because other processes
#: can read them.
_BOOTSTRAP = (
    "import importlib, json, sys\n"
    "sys.path[:] = json.loads(sys.argv[2])\n"
    "importlib.import_module(sys.argv[1]).child_main()\n"
)
#: Seconds for the child to start, added to its own limit, which applies from the end of its imports. They
#: take a fraction of a second of CPU time, and a busy machine gives it slowly.
_START_SECONDS = 60.0


class Cause(Enum):
    """Reason that a child gave no answer."""

    NO_ANSWER = auto()
    """It was still running at the end of its time."""
    CPU_LIMIT = auto()
    """It reached its limit of CPU time."""
    KILLED = auto()
    """The system killed it, as it does when memory runs out."""
    EXITED = auto()
    """It exited with an error, or by another signal."""


class ChildFailed(Exception):
    """The child gave no answer. The text is for display and has no part of the request."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def run(
    module: str,
    request: bytes,
    seconds: float,
    environ: Mapping[str, str],
    *,
    cancelled: threading.Event | None = None,
) -> bytes:
    """Run `child_main` of `module` in a new interpreter and return its answer.

    The interpreter is isolated from the caller's `PYTHON*` variables and working directory. It imports from
    the same paths as this one.

    :param request: input of the child; may be secret.
    :param seconds: wall time that the child gets after its start.
    :param cancelled: set by another thread to end the child.
    :raises ChildFailed: if the child was killed, timed out or exited with an error.
    :raises WaitCancelled: if it was cancelled.
    """
    import_paths = json.dumps([entry for entry in sys.path if entry.startswith("/")])
    deadline = time.monotonic() + seconds + _START_SECONDS
    parent_end, child_end = secret_channel.create()
    with parent_end, child_end:
        group = ProcessGroup(
            [sys.executable, "-I", "-c", _BOOTSTRAP, module, import_paths],
            stdin=child_end.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            cwd="/",
        )
        child_end.close()
        answer, status = b"", None
        with group:
            try:
                answer = _exchange(request, parent_end, group.process.pid, deadline, cancelled)
                status = _exit_status(group, deadline)
            except TimeoutError:
                group.end()
    if status is None:
        raise ChildFailed(Cause.NO_ANSWER, _no_answer(seconds + _START_SECONDS))
    if status != 0 or not answer:
        raise _failure(status, seconds)
    return answer


def _exit_status(group: ProcessGroup, deadline: float) -> int:
    """Wait until the child has exited, and return its status, negative for a signal.

    :raises TimeoutError: if the deadline passes.
    """
    pause = 0.0005
    while (status := group.status()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return status


def _failure(status: int, seconds: float) -> ChildFailed:
    """Return the error for a child without an answer.

    :param status: its exit status; negative for a signal.
    """
    import signal

    if status == -signal.SIGALRM:
        return ChildFailed(Cause.NO_ANSWER, _no_answer(seconds))
    if status == -signal.SIGXCPU:
        return ChildFailed(Cause.CPU_LIMIT, "its process reached its limit of CPU time")
    if status == -signal.SIGKILL:
        return ChildFailed(Cause.KILLED, "the system killed its process, as it does when memory runs out")
    end = f"exited without an answer (status {status})" if status >= 0 else f"was ended by signal {-status}"
    return ChildFailed(Cause.EXITED, f"its process {end}")


def _no_answer(seconds: float) -> str:
    return f"no answer within {wait_text(seconds)}"


def _exchange(
    request: bytes, parent_end: socket.socket, pid: int, deadline: float, cancelled: threading.Event | None
) -> bytes:
    """Send `request` and return the child's answer, truncated if the child exited early."""
    secret_channel.wait_readable(parent_end, deadline, cancelled)
    channel = secret_channel.accept(parent_end, pid)
    if channel is None:
        return b""
    answer = bytearray()
    with channel, contextlib.suppress(ConnectionError):
        channel.settimeout(_seconds_left(deadline))
        channel.sendall(request)
        channel.shutdown(socket.SHUT_WR)
        while True:
            secret_channel.wait_readable(channel, deadline, cancelled)
            chunk = channel.recv(1 << 16)
            if not chunk:
                break
            answer += chunk
    return bytes(answer)


def _seconds_left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def limit(*, seconds: float | None = None, cpu_seconds: int | None = None, memory: int | None = None) -> None:
    """Limit this child. The default action of each signal ends the process even while a library holds the
    interpreter lock.

    :param seconds: wall time from now, for work that may wait for a prompt.
    :param cpu_seconds: CPU time since the start of the process, for work that a busy machine only delays.
    :param memory: bytes of address space (Linux only).
    """
    import resource
    import signal

    if memory is not None and sys.platform == "linux":
        _lower_limit(resource.RLIMIT_AS, memory, memory)
    if cpu_seconds is not None:
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGXCPU})
        # At the hard limit the system kills the process, which would look as if memory had run out.
        _lower_limit(resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 10)
    if seconds is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _lower_limit(kind: int, soft: int, hard: int) -> None:
    """Set a resource limit, unless the user's own is lower."""
    import resource

    own = [sys.maxsize if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(kind)]
    resource.setrlimit(kind, (min(soft, *own), min(hard, own[1])))


def read_request() -> bytes:
    """Harden this child process, then return all of its standard input."""
    from keyturn.system.hardening import harden_process

    harden_process()
    secret_channel.connect()
    return sys.stdin.buffer.read()


def answer(data: bytes) -> None:
    """Write `data` as the whole answer of this child."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def library_paths(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment variables that a child needs to find its libraries."""
    return {name: environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in environ}
