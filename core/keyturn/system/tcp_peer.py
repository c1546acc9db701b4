"""User at the other end of a loopback TCP connection, as reported by the kernel.

Every local user can connect to a loopback port, and unlike a Unix socket TCP carries no credentials.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from pathlib import Path

#: True if this system reports the user; elsewhere the token alone decides.
IS_SUPPORTED = sys.platform == "linux"

_V4_MAPPED = "0000000000000000FFFF0000"
_TCP_LISTEN, _TCP_TIME_WAIT = 10, 6
# <linux/sock_diag.h>, <linux/inet_diag.h>
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_SOCKET_ID = struct.Struct("!HH4s12x4s12x")
_INTERFACE_AND_ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
#: Message after the header: family, state, two timers; socket id (addresses, interface, cookie); expiry, two
#: queues; uid.
_DIAG_MESSAGE = struct.Struct("=BBBB48x12xI")

Address = tuple[str, int]


def caller_uid(connection: socket.socket) -> int | None:
    """Return the uid of the process that connected by IPv4, or None if the kernel does not report it."""
    try:
        remote, local = connection.getpeername(), connection.getsockname()
    except OSError:
        return None
    uid = None
    with contextlib.suppress(OSError):
        uid = by_netlink(remote, local)
    if uid is None:
        with contextlib.suppress(OSError):
            uid = by_proc(remote, local)
    return uid


def by_netlink(remote: Address, local: Address) -> int | None:
    """Return the uid from the kernel's socket diagnostics (sock_diag(7)), in one request regardless of the
    number of connections.

    :raises OSError: if the interface is not available.
    """
    family: int = getattr(socket, "AF_NETLINK")  # noqa: B009 - missing in the stubs of other systems
    socket_id = _SOCKET_ID.pack(remote[1], local[1], socket.inet_aton(remote[0]), socket.inet_aton(local[0]))
    request = (
        _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
        + socket_id
        + _INTERFACE_AND_ANY_COOKIE
    )
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, remote[1] + 1, 0)
    with socket.socket(family, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(0.5)
        netlink.connect((0, 0))
        netlink.send(header + request)
        response = netlink.recv(4096)
    return _uid_from(response, socket_id)


def _uid_from(response: bytes, socket_id: bytes) -> int | None:
    start = _HEADER.size
    if len(response) < start + _DIAG_MESSAGE.size or _HEADER.unpack_from(response)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    _, state, _, _, uid = _DIAG_MESSAGE.unpack_from(response, start)
    # If there is no such connection, the kernel may report a listener on its port.
    if state in (_TCP_LISTEN, _TCP_TIME_WAIT) or response[start + 4 : start + 8] != socket_id[:4]:
        return None
    return int(uid)


def by_proc(remote: Address, local: Address, folder: Path = Path("/proc/net")) -> int | None:
    """Return the uid from the connection tables in `folder`.

    :raises OSError: if there is no table.
    """
    endpoints = (_proc_address(remote), _proc_address(local))
    for name, prefix in (("tcp", ""), ("tcp6", _V4_MAPPED)):
        path = folder / name
        if name == "tcp6" and not path.exists():
            continue
        for line in path.read_text("ascii").splitlines()[1:]:
            columns = line.split()
            if (
                columns[1] == prefix + endpoints[0]
                and columns[2] == prefix + endpoints[1]
                and int(columns[3], 16) != _TCP_TIME_WAIT
            ):
                return int(columns[7])
    return None


def _proc_address(address: Address) -> str:
    """Return an address in the notation of /proc/net/tcp: the IP bytes in the machine's byte order."""
    return f"{struct.unpack('=I', socket.inet_aton(address[0]))[0]:08X}:{address[1]:04X}"
