"""Transfer of a secret to a new child process after the child has hardened itself.

Until a new process is hardened, any process of the same user can open its pipes in /proc or take its
descriptors. So the child's standard input carries only one message: another socket, created after the
hardening. The kernel reports which process sent it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time

_CREDENTIALS = struct.Struct("3i")
#: <sys/socket.h>; Python's socket module does not define it on every system.
_SCM_CREDENTIALS = 2
_ONE_DESCRIPTOR = struct.Struct("i")


#: Seconds between two looks at a request to cancel. Python handles a Ctrl+C there too: one that arrives just
#: before the system call, or in another thread, does not interrupt it.
_LOOK_SECONDS = 0.1


class WaitCancelled(Exception):
    """Another thread cancelled the wait for a process."""


def create() -> tuple[socket.socket, socket.socket]:
    """Return the parent's end of a socket pair and the end for the child's standard input."""
    parent_end, child_end = socket.socketpair()
    if sys.platform == "linux":
        parent_end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return parent_end, child_end


def accept(parent_end: socket.socket, pid: int) -> socket.socket | None:
    """Return the socket to the hardened child `pid`, or None if the child exited or another process sent the
    message.

    :raises TimeoutError: if nothing arrives within the timeout of `parent_end`.
    """
    ancillary_size = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_ONE_DESCRIPTOR.size)
    try:
        message, ancillary, _, _ = parent_end.recvmsg(1, ancillary_size)
    except ConnectionError:
        return None
    channel, sender = None, None
    for level, cmsg_type, payload in ancillary:
        if (
            level == socket.SOL_SOCKET
            and cmsg_type == socket.SCM_RIGHTS
            and len(payload) >= _ONE_DESCRIPTOR.size
        ):
            channel = socket.socket(fileno=_ONE_DESCRIPTOR.unpack(payload[: _ONE_DESCRIPTOR.size])[0])
            channel.set_inheritable(False)
        elif (
            level == socket.SOL_SOCKET and cmsg_type == _SCM_CREDENTIALS and len(payload) == _CREDENTIALS.size
        ):
            sender = _CREDENTIALS.unpack(payload)[0]
    if channel is not None and (not message or (sys.platform == "linux" and sender != pid)):
        channel.close()
        return None
    return channel


def wait_readable(sock: socket.socket, deadline: float, cancelled: threading.Event | None) -> None:
    """Wait until `sock` has data or its other end is closed.

    :param deadline: on the monotonic clock.
    :param cancelled: ends the wait. It is not looked at once there is data.
    :raises TimeoutError: if the deadline passes.
    :raises WaitCancelled: if it was cancelled.
    """
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while not poll.poll(0):
        left = deadline - time.monotonic()
        if cancelled is not None and cancelled.is_set():
            raise WaitCancelled
        if left <= 0:
            raise TimeoutError
        poll.poll(1000 * min(left, _LOOK_SECONDS))


def connect() -> None:
    """Connect this hardened child to its parent: standard input and output become a new socket.

    :raises OSError: if standard input is not a socket of :func:`create`, or the parent no longer listens.
    """
    own_end, parent_end = socket.socketpair()
    control = socket.socket(fileno=os.dup(0))
    with contextlib.closing(own_end), contextlib.closing(parent_end), contextlib.closing(control):
        socket.send_fds(control, [b"."], [parent_end.fileno()])
        os.dup2(own_end.fileno(), 0)
        os.dup2(own_end.fileno(), 1)


def read_json_line(limit: int) -> object:
    """Return the JSON value in the parent's line on standard input; None if it is no JSON.

    :param limit: maximum length of the line in bytes.
    """
    try:
        return json.loads(sys.stdin.buffer.readline(limit))
    except ValueError:
        return None


def wait_for_end(seconds: float) -> None:
    """Wait until the parent has closed its side of the channel, for at most `seconds`."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.poll(1000 * seconds)


def disconnect(*descriptors: int) -> None:
    """Replace standard streams with the null device."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


def reply(line: bytes) -> bool:
    """Write `line` to the parent on standard output. Return False if the parent no longer listens."""
    try:
        while line:
            line = line[os.write(1, line) :]
    except OSError:
        return False
    return True
