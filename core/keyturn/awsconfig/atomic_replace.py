"""One file replaced by another in one step, with the rights of the old one, never wider."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from keyturn.awsconfig.parser import FileKind
from keyturn.awsconfig.stable_read import Version
from keyturn.awsconfig.write_target import Target
from keyturn.model.errors import UnsafeFile

#: Attributes that a file system, or the rights of an ordinary user, may not allow to copy.
_XATTR_ERRORS = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA)
#: A file system without hard links.
_LINK_UNSUPPORTED = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class Replacement:
    """A new version of a file, complete and on disk beside the old one, until it takes its place or is dropped.

    Where names can be exchanged, what it replaced has its former name until it is dropped.
    """

    def __init__(self, target: Target, data: bytes, kind: FileKind) -> None:
        """:raises OSError: it could not be written; nothing is left of it."""
        self._target = target
        self.path = private_name(target.real.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        try:
            try:
                _write(descriptor, data)
                _copy_permissions(descriptor, target, kind)
                os.fsync(descriptor)
                self.status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except BaseException:
            self.discard()
            raise

    def commit(self) -> bool:
        """Puts the new version in the place of the old; False, and all is as it was, if somebody else made a file
        where there was none, moved the old one away, or put another in its place.

        :raises UnsafeFile: the file is a mount point of its own.
        :raises OSError: it could not be done, the old version is still there.
        """
        try:
            if self._target.status is None:
                return self._create()
            if exchange(self.path, self._target.real):
                return self._verify_exchange(self._target.status)
            self.path.replace(self._target.real)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise UnsafeFile(
                f"writing {self._target.path}",
                "it is mounted as a single file, which cannot be replaced in one step",
                "Mount its folder in the place of the file",
            ) from None
        return True

    def _verify_exchange(self, expected: os.stat_result) -> bool:
        """Whether it was the old version that was replaced; a third one gets its place back."""
        displaced = self.path.lstat()
        if (displaced.st_dev, displaced.st_ino) == (expected.st_dev, expected.st_ino):
            return True
        exchange(self.path, self._target.real)
        return False

    def _create(self) -> bool:
        """A new name, only if it is still free."""
        if not create_exclusive(self.path, self._target.real):
            return False
        self.discard()
        return True

    def discard(self) -> None:
        """Removes what is left of it; nothing if it took its place."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def private_name(folder: Path) -> Path:
    """A free name in the folder of a shared file for a version that is not in its place."""
    return folder / f".keyturn-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def create_exclusive(path: Path, new_name: Path) -> bool:
    """Gives a file a second name, only if that is free. A file system without hard links gives it instead of the first
    one, and leaves a gap of microseconds.

    :raises OSError: the file system said no.
    """
    try:
        os.link(path, new_name, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _LINK_UNSUPPORTED:
            raise
        if os.path.lexists(new_name):
            return False
        path.replace(new_name)
    return True


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _copy_permissions(descriptor: int, target: Target, kind: FileKind) -> None:
    """Group, extended attributes and mode of the old file. A credentials file loses every right of others; where the
    group cannot be kept, its rights go too."""
    status = target.status
    if status is None:
        return
    mode = stat.S_IMODE(status.st_mode) & 0o777
    if kind is FileKind.CREDENTIALS:
        mode &= 0o700
    if os.fstat(descriptor).st_gid != status.st_gid:
        try:
            os.fchown(descriptor, -1, status.st_gid)
        except PermissionError:
            mode &= ~0o070
    _copy_attributes(descriptor, target.real)
    os.fchmod(descriptor, mode)


def _copy_attributes(descriptor: int, source: Path) -> None:
    if sys.platform == "linux":
        try:
            names = os.listxattr(source, follow_symlinks=False)
        except OSError as error:
            if error.errno in (*_XATTR_ERRORS, errno.ENOENT):
                # Not there any more: that is noticed before anything is replaced.
                return
            raise
        for name in names:
            try:
                os.setxattr(descriptor, name, os.getxattr(source, name, follow_symlinks=False))
            except OSError as error:
                if error.errno not in (*_XATTR_ERRORS, errno.ENOENT):
                    raise


_AT_FDCWD = -100
"""AT_FDCWD: a relative path begins in the working folder."""
_RENAME_EXCHANGE = 2
#: A system, a file system or a container's rules that know no exchange.
_EXCHANGE_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def exchange(first: Path, second: Path) -> bool:
    """Gives each of two files the name of the other; False where that cannot be done in one step.

    :raises OSError: one of them is not there, or the file system said no.
    """
    if sys.platform != "linux":
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _EXCHANGE_UNSUPPORTED:
        return False
    raise OSError(error, os.strerror(error), str(first), None, str(second))


def remove_if_unchanged(target: Target, version: Version, keep: Callable[[Path, bytes], None]) -> bool:
    """Removes the file that `target` names; False, and it is there as before, if that is not `found` any more.

    Its name is taken from it first, so that nobody can put another version under it between the look and the removal.

    :param keep: gets a version of somebody's whose name another one has taken meanwhile.
    :raises OSError: the file system said no.
    """
    aside = private_name(target.real.parent)
    try:
        target.real.rename(aside)
    except FileNotFoundError:
        return False
    if version.is_current(replace(target, real=aside)):
        aside.unlink()
        return True
    if not create_exclusive(aside, target.real):
        keep(target.path, aside.read_bytes())
    aside.unlink(missing_ok=True)
    return False
