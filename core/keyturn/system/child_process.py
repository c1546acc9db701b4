"""Short-lived child processes of keyturn for work that may hang or use too much memory.

The child gets its request on a socket after it has hardened itself, answers there and exits.
"""

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

#: The code and its arguments (the module to run and the import paths) hold no secret, because other processes
#: can read them.
_BOOTSTRAP = (
    "import importlib, json, sys\n"
    "sys.path[:] = json.loads(sys.argv[2])\n"
    "importlib.import_module(sys.argv[1]).child_main()\n"
)
#: Start-up time, added to the child's own limit, which applies from the end of its imports.
_START_SECONDS = 20.0


class ChildFailed(Exception):
    """The child gave no answer. The text is for display and has no part of the request."""


def run(module: str, request: bytes, seconds: float, environ: Mapping[str, str]) -> bytes:
    """Run `child_main` of `module` in a new interpreter and return its answer.

    The interpreter is isolated from the caller's `PYTHON*` variables and working directory. It imports from
    the same paths as this one.

    :param request: input of the child; may be secret.
    :param seconds: the time limit that the child sets for itself with :func:`limit`.
    :raises ChildFailed: if the child was killed, timed out or exited with an error.
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
        raise ChildFailed(f"no answer within {seconds:.0f} s")
    if process.returncode != 0:
        raise ChildFailed("its process exited without an answer")
    return answer


def _exchange(request: bytes, parent_end: socket.socket, pid: int, deadline: float) -> bytes:
    """Send `request` and return the child's answer, truncated if the child exited early."""
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
    """Limit this child to `seconds` of run time and `memory` bytes of address space (Linux only).

    The default action of the alarm signal ends the process even while a library holds the interpreter lock.
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
