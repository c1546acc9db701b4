"""Which user, and which process, is at the other end of a unix socket, as the kernel says it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

# macOS, <sys/un.h> and <sys/ucred.h>; Python's socket module does not name them. struct xucred begins with a 32-bit
# version and the 32-bit uid.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2
_XUCRED_SIZE = 76
# Linux, struct ucred: pid, uid, gid, of 32 bits each.
_UCRED_SIZE = 12


def peer_uid(connection: _socket.socket) -> int | None:
    """The uid of the process that connected, or that listened; None where the kernel does not say.

    Linux: SO_PEERCRED. macOS and the BSDs: LOCAL_PEERCRED, which is what `getpeereid` reads.
    """
    import _socket

    try:
        if sys.platform == "linux":
            raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED_SIZE)
        else:
            raw = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_SIZE)
    except OSError:
        return None
    return int.from_bytes(raw[4:8], sys.byteorder) if len(raw) >= 8 else None


def peer_pid(connection: _socket.socket) -> int | None:
    """The process that connected, or that began to listen; None where the kernel does not say, or not in numbers of
    this process's own namespace.

    Linux: SO_PEERCRED. macOS: LOCAL_PEERPID.
    """
    import _socket

    try:
        if sys.platform == "linux":
            raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED_SIZE)
        else:
            raw = connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4)
    except OSError:
        return None
    return int.from_bytes(raw[:4], sys.byteorder) or None
