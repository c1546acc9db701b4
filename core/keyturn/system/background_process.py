"""Processes of keyturn that go on after their parent has ended: the agent and the endpoint.

The parent sends one line after the process has hardened itself, and gets one line in reply. Both sides are
here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import site
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from keyturn.model.secret import Secret
from keyturn.system import secret_channel
from keyturn.system.hardening import harden_agent

_REPLY_LIMIT = 64 << 10


def python_command(module: str) -> tuple[str, ...]:
    """Return the command line of a module of keyturn: this interpreter, isolated from `PYTHON*`, the working
    directory and, unless keyturn is installed there, the user site directory."""
    user_site = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    is_in_user_site = user_site is not None and __file__.startswith(f"{user_site}/")
    return (sys.executable, "-EP" if is_in_user_site else "-I", "-m", module)


def start_process(
    command: Sequence[str],
    variables: Mapping[str, str],
    request: Mapping[str, object],
    timeout: float,
    *,
    cancelled: threading.Event | None = None,
) -> tuple[socket.socket, bytes]:
    """Start a keyturn process in a session of its own. Send it `request` over the channel of
    :mod:`keyturn.system.secret_channel`.

    :param request: becomes JSON; a value may be a :class:`Secret`, which is revealed only to be sent.
    :param timeout: seconds until the reply.
    :param cancelled: set by another thread to end the process before it replies.
    :returns: the channel and the reply, one line.
    :raises EOFError: if the process exited before it replied.
    :raises TimeoutError: if there was no reply in time. The session is then killed, as it is if another
        exception ends the wait.
    :raises WaitCancelled: if it was cancelled. A process that has replied is not affected.
    :raises OSError: if the process cannot be started.
    """
    if not sys.executable:
        raise OSError("the path of the Python interpreter is unknown")
    ours, theirs = secret_channel.create()
    with ours, theirs:
        process = subprocess.Popen(  # noqa: S603 - our own program, by its absolute path
            command,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=variables,
            start_new_session=True,
        )
        theirs.close()
        with process, contextlib.ExitStack() as on_failure:
            deadline = time.monotonic() + timeout
            channel = None
            try:
                secret_channel.wait_readable(ours, deadline, cancelled)
                channel = secret_channel.accept(ours, process.pid)
                if channel is None:
                    raise EOFError
                on_failure.enter_context(channel)
                reply = read_reply(
                    channel, json.dumps(request, default=Secret.reveal).encode() + b"\n", deadline, cancelled
                )
            except EOFError:
                raise
            except BaseException:
                _kill_session(process.pid, channel or ours)
                raise
            if not reply.endswith(b"\n"):
                raise EOFError
            on_failure.pop_all()
            return channel, reply


def _kill_session(session: int, channel: socket.socket) -> None:
    """Kill a started session that has not replied. If the other end of the socket is open, the session is
    alive and its id cannot have been reused."""
    channel.settimeout(0)
    with contextlib.suppress(OSError):
        try:
            channel.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            os.killpg(session, signal.SIGKILL)


def read_reply(
    channel: socket.socket, request: bytes, deadline: float, cancelled: threading.Event | None = None
) -> bytes:
    """Send `request` to a keyturn process. Return its reply: one line, or less if it exited early.

    :param deadline: on the monotonic clock.
    :param cancelled: set by another thread to end the wait.
    :raises TimeoutError: if the deadline passes.
    :raises WaitCancelled: if it was cancelled.
    """
    reply = b""
    with contextlib.suppress(ConnectionError):
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            channel.sendall(request)
        finally:
            del request  # or an error would keep it in its traceback
        while not reply.endswith(b"\n") and len(reply) <= _REPLY_LIMIT:
            secret_channel.wait_readable(channel, deadline, cancelled)
            chunk = channel.recv(65536)
            if not chunk:
                break
            reply += chunk
    return reply


# -- in the new process --------------------------------------------------------------------------------------


def connect_to_starter(started_directly: str) -> None:
    """Harden this process, and connect it to the one that started it. Exit with code 2 if there is none.

    :param started_directly: the line for the user who started this process directly.
    """
    harden_agent()
    try:
        secret_channel.connect()
    except OSError:
        with contextlib.suppress(OSError):
            os.write(2, f"keyturn: {started_directly}\n".encode())
        os._exit(2)


def detach() -> None:
    """Fork into a process without a parent and without a terminal, in the root directory. It then survives
    its terminal and leaves no zombie to the starter. A session that the starter created is kept, because the
    starter kills this process by it on a timeout."""
    is_session_leader = os.getsid(0) == os.getpid()
    if os.fork():
        os._exit(0)
    if not is_session_leader:
        os.setsid()
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` when the system or the user ends this process."""
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(signum, lambda _signum, _frame: stop())
