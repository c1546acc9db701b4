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
    ours, theirs = socket.socketpair()
    if sys.platform == "linux":
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def accept(ours: socket.socket, pid: int) -> socket.socket | None:
    """The socket to the program that was started as `pid`, which has closed itself. None if it ended before, or if
    somebody else spoke in its place.

    :raises TimeoutError: it did not come within the time-out of `ours`.
    """
    room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_ONE_DESCRIPTOR.size)
    try:
        said, parts, _, _ = ours.recvmsg(1, room)
    except ConnectionError:
        return None
    found, sender = None, None
    for level, kind, part in parts:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS and len(part) >= _ONE_DESCRIPTOR.size:
            found = socket.socket(fileno=_ONE_DESCRIPTOR.unpack(part[: _ONE_DESCRIPTOR.size])[0])
            found.set_inheritable(False)
        elif level == socket.SOL_SOCKET and kind == _SCM_CREDENTIALS and len(part) == _CREDENTIALS.size:
            sender = _CREDENTIALS.unpack(part)[0]
    if found is not None and (not said or (sys.platform == "linux" and sender != pid)):
        found.close()
        return None
    return found


def connect() -> None:
    """In the program, closed by now: its standard input and output become the socket to whoever started it.

    :raises OSError: standard input is not the socket of :func:`ends`, or nobody listens there any more.
    """
    kept, given = socket.socketpair()
    introduction = socket.socket(fileno=os.dup(0))
    with contextlib.closing(kept), contextlib.closing(given), contextlib.closing(introduction):
        socket.send_fds(introduction, [b"."], [given.fileno()])
        os.dup2(kept.fileno(), 0)
        os.dup2(kept.fileno(), 1)


def reply(line: bytes) -> bool:
    """Answers whoever started this process, over its standard output; False where nobody listens any more."""
    try:
        while line:
            line = line[os.write(1, line) :]
    except OSError:
        return False
    return True
