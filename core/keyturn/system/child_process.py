"""A short-lived process of our own for what must not hang, eat memory or be left behind: it gets its request on a
socket once it is closed to others, answers there, and is gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

from keyturn.system import secret_channel

#: Nothing secret is in here or in its arguments: the module to run and the folders to import from.
_BOOTSTRAP = (
    "import importlib, json, sys\n"
    "sys.path[:] = json.loads(sys.argv[2])\n"
    "importlib.import_module(sys.argv[1]).child_main()\n"
)
#: On top of the child's own limit, which it sets once its imports are done.
_START_SECONDS = 20.0


class ChildFailed(Exception):
    """The child gave no answer.

    :param why: for a person, without anything of the request.
    :param timed_out: it did not end by itself within its time.
    """

    def __init__(self, why: str, *, timed_out: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.timed_out = timed_out


def run(module: str, request: bytes, seconds: float, environ: Mapping[str, str]) -> bytes:
    """Runs `child_main` of `module` in a new interpreter and returns what it wrote.

    The interpreter is isolated from the caller's `PYTHON*` variables and working folder, and imports from where this
    one does.

    :param request: what it reads; may be secret.
    :param seconds: the limit that the child gives itself by :func:`limit`.
    :raises ChildFailed: it was killed, timed out, or ended in an error.
    """
    import signal

    import_paths = json.dumps([entry for entry in sys.path if entry.startswith("/")])
    deadline = time.monotonic() + seconds + _START_SECONDS
    parent_end, child_end = secret_channel.create()
    with parent_end, child_end:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and our own module
            [sys.executable, "-I", "-c", _BOOTSTRAP, module, import_paths],
            stdin=child_end.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            cwd="/",
        )
        child_end.close()
        with process:
            try:
                answer = _exchange(request, parent_end, process.pid, deadline)
                process.wait(_seconds_left(deadline))
            except (TimeoutError, subprocess.TimeoutExpired):
                process.kill()
                answer = b""
            except BaseException:
                process.kill()
                raise
    if process.returncode in (-signal.SIGALRM, -signal.SIGKILL):
        raise ChildFailed(f"no answer within {seconds:.0f} s", timed_out=True)
    if process.returncode != 0:
        raise ChildFailed("its process ended without an answer")
    return answer


def _exchange(request: bytes, parent_end: socket.socket, pid: int, deadline: float) -> bytes:
    """What the child says to `request`; less if it ended before."""
    parent_end.settimeout(_seconds_left(deadline))
    channel = secret_channel.accept(parent_end, pid)
    if channel is None:
        return b""
    answer = bytearray()
    with channel, contextlib.suppress(ConnectionError):
        channel.settimeout(_seconds_left(deadline))
        channel.sendall(request)
        channel.shutdown(socket.SHUT_WR)
        while chunk := channel.recv(1 << 16):
            answer += chunk
            channel.settimeout(_seconds_left(deadline))
    return bytes(answer)


def _seconds_left(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def limit(seconds: float, memory: int | None = None) -> None:
    """In the child: dead after `seconds`, at most `memory` bytes of address space.

    The alarm's default action ends the process even while a library holds the interpreter lock.
    """
    import resource
    import signal

    if memory is not None and sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard == resource.RLIM_INFINITY or hard > memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, seconds)


def read_request() -> bytes:
    """In the child: all of standard input, once this process is closed to others and leaves no core file."""
    from keyturn.system.hardening import harden_process

    harden_process()
    secret_channel.connect()
    return sys.stdin.buffer.read()


def answer(data: bytes) -> None:
    """In the child: `data` as the whole answer."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def library_paths(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a child that needs nothing else must know to find its libraries."""
    return {name: environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in environ}
