"""Read a shared file while no program is writing it, and detect later writes to that version."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import stat
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from keyturn.awsconfig.file_lock import LockedFile, mark_of
from keyturn.awsconfig.parser import FileKind, parse
from keyturn.awsconfig.timing import QUIET, QUIET_CUT, QUIET_EMPTY, READ_LIMIT, Timing
from keyturn.awsconfig.write_target import Target
from keyturn.model.errors import FileBusy, UnparsableFile

_CHUNK = 1 << 20


@dataclass(slots=True)
class Version:
    """The bytes of a file and a descriptor that stays open after the name is gone. Must be closed."""

    data: bytes | None
    """None if there is no file."""
    status: os.stat_result | None
    descriptor: int = -1
    is_ours: bool = False
    """True if it was as keyturn's last write left it."""

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def is_current(self, target: Target) -> bool:
        """Return True if the file is still this version now: same file, same bytes."""
        try:
            now = target.real.lstat()
        except FileNotFoundError:
            return self.status is None
        if self.status is None or mark_of(now) != mark_of(self.status):
            return False
        return _read_all(self.descriptor) == self.data

    def read_late_write(self, path: Path, kind: FileKind, timing: Timing) -> bytes | None:
        """Return what another program wrote into this version after it was replaced, once it is complete;
        None if nothing.

        A file that was truncated and stays empty counts as nothing, because no program means to keep that.

        :param path: the file's path as the user gave it.
        :raises FileBusy: if it is not complete after 10 s.
        """
        if self.status is None or self.descriptor < 0:
            return None
        deadline = timing.elapsed() + READ_LIMIT
        quiet = _QuietTimer(timing)
        while True:
            status = os.fstat(self.descriptor)
            being_written = is_being_written(self.descriptor)
            if not being_written and mark_of(status) == mark_of(self.status):
                return None
            if being_written:
                quiet.pause()
            else:
                data = _read_all(self.descriptor)
                # No program can open it any more. If none is known to have it open, it is complete.
                required = (
                    0.0 if being_written is False else _required_quiet(data, kind, ()) if data else QUIET_CUT
                )
                if quiet.wait(status, required) and mark_of(os.fstat(self.descriptor)) == mark_of(status):
                    return None if data in (b"", self.data) else data
            if timing.elapsed() >= deadline:
                why = "another program has the previous version open, and what it writes there is lost"
                raise FileBusy(
                    f"Could not write {path}", why, "Close the file in that program, then check its contents"
                )


def read(
    target: Target, kind: FileKind, lock: LockedFile, known_sections: Collection[str], timing: Timing
) -> Version:
    """Return the file once it has been unchanged long enough; longer if it looks incomplete.

    :param known_sections: headers that the file had at the last look. If one is missing from a file that is
        empty or ends inside a line, another program is probably writing it.
    :raises FileBusy: if it keeps changing, or a program keeps it open for writing.
    """
    deadline = timing.elapsed() + READ_LIMIT
    quiet = _QuietTimer(timing)
    while True:
        version = open_version(target.real)
        try:
            if _is_stable(version, kind, lock, known_sections, quiet):
                return version
            if timing.elapsed() >= deadline:
                why = "another program keeps changing it or has it open for writing"
                raise FileBusy(f"Could not write {target.path}", why, "Stop the other program first")
        except BaseException:
            version.close()
            raise
        version.close()


class _QuietTimer:
    """Measures how long a file has been unchanged: by its modification time, or by observation if that time
    is in the future."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._mark: object = None
        self._since = 0.0

    def quiet_seconds(self, status: os.stat_result | None) -> float:
        """Return the number of seconds for which the file has been unchanged."""
        now = self._timing.elapsed()
        mark = None if status is None else mark_of(status)
        if self._mark != (mark,):
            self._mark, self._since = (mark,), now
        age = self._timing.wall() - status.st_mtime if status is not None else 0.0
        return max(age, now - self._since)

    def wait(self, status: os.stat_result | None, required: float) -> bool:
        """Return True if the file has been unchanged for `required` seconds; otherwise sleep for the rest and
        return False."""
        missing = required - self.quiet_seconds(status)
        if missing <= 0:
            return True
        self._timing.sleep(missing)
        return False

    def pause(self) -> None:
        """Give an active writer some time."""
        self._timing.sleep(QUIET)


def _is_stable(
    version: Version, kind: FileKind, lock: LockedFile, known_sections: Collection[str], quiet: _QuietTimer
) -> bool:
    status = version.status
    if status is None:
        # A file that existed may be about to come back: an editor moves it away before it creates the new
        # one.
        return not (known_sections or lock.note.own_mark) or quiet.wait(None, QUIET_EMPTY)
    if is_being_written(version.descriptor):
        quiet.pause()
        return False
    if lock.is_our_version(status):
        version.is_ours = True
        return True
    if quiet.quiet_seconds(status) < QUIET_CUT and not quiet.wait(
        status, _required_quiet(version.data or b"", kind, known_sections)
    ):
        return False
    return mark_of(os.fstat(version.descriptor)) == mark_of(status)


def _required_quiet(data: bytes, kind: FileKind, known_sections: Collection[str]) -> float:
    try:
        present = {section.name for section in parse(data, kind=kind).sections}
    except UnparsableFile:
        return QUIET_CUT
    if not set(known_sections) <= present:
        return QUIET_CUT
    return QUIET if data else QUIET_EMPTY


def open_version(path: Path) -> Version:
    """Open a file as it is now.

    :raises FileBusy: if it is not a regular file.
    :raises OSError: if it cannot be read.
    """
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return Version(None, None)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileBusy(
                f"Could not write {path}", "it is no longer a regular file", "Check the file first"
            )
        return Version(_read_all(descriptor), status, descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _read_all(descriptor: int) -> bytes:
    pieces = []
    offset = 0
    while piece := os.pread(descriptor, _CHUNK, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


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
    fstatfs = getattr(ctypes.CDLL(None, use_errno=True), "fstatfs", None)
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if fstatfs is None or fstatfs(descriptor, buffer) != 0:
        return None
    # The width of the type differs by processor; its upper half is zero or a sign extension.
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF
