"""Whether some program has a file open for writing, where the system can tell.

Linux gives a read lease on a file only while nobody has it open for writing. Asking for one, and giving it back at
once, tells of a writer who has not begun, or who paused, which no look at bytes and times can. On a network file system
the same refusal also means that the server gave no delegation (NFS) or oplock (SMB), which tells of nobody.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import signal
import sys

#: The file systems of this machine on which the kernel itself counts who has a file open, by the numbers of statfs(2).
_LOCAL = frozenset(
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
#: More than a `struct statfs` is on any Linux; its type comes first.
_STATFS_BYTES = 512


def is_being_written(descriptor: int) -> bool | None:
    """Whether any program, this one too, has the file open for writing.

    :param descriptor: open for reading only.
    :returns: None where the system cannot tell: elsewhere than on Linux, on network file systems and such that a program
        provides, for a file of somebody else.
    """
    if sys.platform != "linux" or _file_system(descriptor) not in _LOCAL:
        return None
    try:
        # Whoever opens the file in these microseconds waits until we have given the lease back, and we are signalled:
        # by default in a way that ends a process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EBUSY) else None
    return False


def _file_system(descriptor: int) -> int | None:
    """The number of the file system that an open file is on; None where it is not told."""
    fstatfs = getattr(ctypes.CDLL(None, use_errno=True), "fstatfs", None)
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if fstatfs is None or fstatfs(descriptor, found) != 0:
        return None
    # The width of the type differs by processor, and its upper half is sign or nothing.
    return int.from_bytes(found.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF
