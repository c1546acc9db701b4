"""Which user is at the other end of a TCP connection on loopback, as the kernel says it.

A port on loopback is open to every user of the machine, and TCP carries no credentials as a unix socket does.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from pathlib import Path

#: Whether this system says it at all; elsewhere the token alone decides.
IS_KNOWN = sys.platform == "linux"

_V4_MAPPED = "0000000000000000FFFF0000"
_TCP_LISTEN, _TCP_TIME_WAIT = 10, 6
# <linux/sock_diag.h>, <linux/inet_diag.h>
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
_ENDS = struct.Struct("!HH4s12x4s12x")
_INTERFACE_AND_ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
#: After the header: family, state, two timers; the ends, interface and cookie; expiry and two queues; the uid.
_FOUND = struct.Struct("=BBBB48x12xI")

Address = tuple[str, int]


def caller_uid(connection: socket.socket) -> int | None:
    """The uid of the process that connected to us by IPv4; None where the kernel does not say."""
    try:
        theirs, ours = connection.getpeername(), connection.getsockname()
    except OSError:
        return None
    found = None
    with contextlib.suppress(OSError):
        found = by_netlink(theirs, ours)
    if found is None:
        with contextlib.suppress(OSError):
            found = by_proc(theirs, ours)
    return found


def by_netlink(theirs: Address, ours: Address) -> int | None:
    """The same from the kernel's socket diagnosis, in one question however many connections there are.

    :raises OSError: it does not answer here.
    """
    family: int = getattr(socket, "AF_NETLINK")  # noqa: B009 - only Linux has it, and the types of other systems do not
    ends = _ENDS.pack(theirs[1], ours[1], socket.inet_aton(theirs[0]), socket.inet_aton(ours[0]))
    question = (
        _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ends + _INTERFACE_AND_ANY_COOKIE
    )
    header = _HEADER.pack(
        _HEADER.size + len(question), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, theirs[1] + 1, 0
    )
    with socket.socket(family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(0.5)
        kernel.connect((0, 0))
        kernel.send(header + question)
        answer = kernel.recv(4096)
    return _uid_in(answer, ends)


def _uid_in(answer: bytes, ends: bytes) -> int | None:
    start = _HEADER.size
    if len(answer) < start + _FOUND.size or _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    _, state, _, _, uid = _FOUND.unpack_from(answer, start)
    # Where there is no such connection, the kernel may name a listener on its port.
    if state in (_TCP_LISTEN, _TCP_TIME_WAIT) or answer[start + 4 : start + 8] != ends[:4]:
        return None
    return int(uid)


def by_proc(theirs: Address, ours: Address, folder: Path = Path("/proc/net")) -> int | None:
    """The same from the table of all connections.

    :raises OSError: there is none.
    """
    wanted = (_written(theirs), _written(ours))
    for name, before in (("tcp", ""), ("tcp6", _V4_MAPPED)):
        path = folder / name
        if name == "tcp6" and not path.exists():
            continue
        for line in path.read_text("ascii").splitlines()[1:]:
            words = line.split()
            if (
                words[1] == before + wanted[0]
                and words[2] == before + wanted[1]
                and int(words[3], 16) != _TCP_TIME_WAIT
            ):
                return int(words[7])
    return None


def _written(address: Address) -> str:
    """An address as the table has it: the bytes of the IP in this machine's order."""
    return f"{struct.unpack('=I', socket.inet_aton(address[0]))[0]:08X}:{address[1]:04X}"
