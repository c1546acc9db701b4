"""Detection of programs that have a file open for writing, by a read lease (fcntl(2), F_SETLEASE)."""

from __future__ import annotations

import errno
import fcntl
import signal
import sys

#: Local file systems, on which the kernel itself knows which programs have a file open, by their statfs(2)
#: magic.
_LOCAL_FILE_SYSTEMS = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0xCA451A4E,  # bcachefs
        0xF2F52010,  # f2fs
        0x2FC12FC1,  # zfs
        0x01021994,  # tmpfs
        0x858458F6,  # ramfs
        0x794C7630,  # overlayfs
        0x3153464A,  # jfs
        0x3434,  # nilfs
        0x4D44,  # vfat
        0x2011BAB0,  # exfat
        0x7366746E,  # ntfs3
    }
)
#: Larger than `struct statfs` on any Linux; its first field is the type.
_STATFS_BYTES = 512


def is_being_written(descriptor: int) -> bool | None:
    """Return True if any program, including this one, has the file open for writing.

    :param descriptor: open for reading only.
    :returns: None if the system cannot tell: outside Linux, on network and user-space file systems, for a
        file of another user.
    """
    if sys.platform != "linux" or _file_system(descriptor) not in _LOCAL_FILE_SYSTEMS:
        return None
    try:
        # A program that opens the file in these microseconds blocks until the lease is returned, and this
        # process gets a signal. The default signal, SIGIO, would end it.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EBUSY) else None
    return False


def _file_system(descriptor: int) -> int | None:
    """Return the magic number of the file system of an open file; None if it is unknown."""
    import ctypes

    fstatfs = getattr(ctypes.CDLL(None, use_errno=True), "fstatfs", None)
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if fstatfs is None or fstatfs(descriptor, buffer) != 0:
        return None
    # The width of the type differs by processor; its upper half is zero or a sign extension.
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF
