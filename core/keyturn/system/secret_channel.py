"""Handing a secret to a process of ours that was just started, once it is closed to others and not before.

Until a new program has closed itself, every process of the same user may open its pipes by their names in /proc or take
its descriptors. So nothing goes over the socket that it is started with but one message of its own: another socket,
made after it was closed. The kernel says which process sent it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys

_CREDENTIALS = struct.Struct("3i")
#: <sys/socket.h>; Python's socket module names neither on every system.
_SCM_CREDENTIALS = 2
_ONE_DESCRIPTOR = struct.Struct("i")


def create() -> tuple[socket.socket, socket.socket]:
    """Ours, and the one to start the program with as its standard input."""
    parent_end, child_end = socket.socketpair()
    if sys.platform == "linux":
        parent_end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return parent_end, child_end


def accept(parent_end: socket.socket, pid: int) -> socket.socket | None:
    """The socket to the program that was started as `pid`, which has closed itself. None if it ended before, or if
    somebody else spoke in its place.

    :raises TimeoutError: it did not come within the time-out of `parent_end`.
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


def connect() -> None:
    """In the program, closed by now: its standard input and output become the socket to whoever started it.

    :raises OSError: standard input is not the socket of :func:`ends`, or nobody listens there any more.
    """
    own_end, parent_end = socket.socketpair()
    control = socket.socket(fileno=os.dup(0))
    with contextlib.closing(own_end), contextlib.closing(parent_end), contextlib.closing(control):
        socket.send_fds(control, [b"."], [parent_end.fileno()])
        os.dup2(own_end.fileno(), 0)
        os.dup2(own_end.fileno(), 1)


def reply(line: bytes) -> bool:
    """Answers whoever started this process, over its standard output; False where nobody listens any more."""
    try:
        while line:
            line = line[os.write(1, line) :]
    except OSError:
        return False
    return True
