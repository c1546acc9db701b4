"""User and process at the other end of a Unix socket, as reported by the kernel."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

# macOS, <sys/un.h> and <sys/ucred.h>; Python's socket module does not define them. struct xucred begins with
# a 32-bit version and the 32-bit uid.
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2
_XUCRED_SIZE = 76
# Linux, struct ucred: pid, uid, gid, of 32 bits each.
_UCRED_SIZE = 12


def peer_uid(connection: _socket.socket) -> int | None:
    """Return the uid of the peer process, or None if the kernel does not report it.

    Linux: SO_PEERCRED. macOS and the BSDs: LOCAL_PEERCRED, which `getpeereid` reads.
    """
    raw = _credentials(connection, _LOCAL_PEERCRED, _XUCRED_SIZE)
    return int.from_bytes(raw[4:8], sys.byteorder) if len(raw) >= 8 else None


def peer_pid(connection: _socket.socket) -> int | None:
    """Return the id of the process that connected or started to listen, or None if the kernel does not report
    it or the process is outside this pid namespace.

    Linux: SO_PEERCRED. macOS: LOCAL_PEERPID.
    """
    return int.from_bytes(_credentials(connection, _LOCAL_PEERPID, 4)[:4], sys.byteorder) or None


def _credentials(connection: _socket.socket, local_option: int, local_size: int) -> bytes:
    """Return what the kernel reports: `ucred` on Linux, elsewhere a local option; empty if it refuses."""
    import _socket

    try:
        if sys.platform == "linux":
            return connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED_SIZE)
        else:  # noqa: RET505 - the branch of another system
            return connection.getsockopt(_SOL_LOCAL, local_option, local_size)
    except OSError:
        return b""
