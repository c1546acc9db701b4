"""Replace a file in one atomic step, with the permissions of the old file and never wider ones."""

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

#: Errors of extended attributes that are ignored: not supported, or an ordinary user may not copy them.
_XATTR_ERRORS = (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA)
#: Errors of a file system without hard links.
_LINK_UNSUPPORTED = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


class Replacement:
    """A new version of a file, complete and synced beside the old one, until it is committed or discarded.

    If the system can exchange two names, the replaced version is at `path` after the commit, until
    :meth:`discard`.
    """

    def __init__(self, target: Target, data: bytes, kind: FileKind) -> None:
        """:raises OSError: if it cannot be written; no temporary file is left."""
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
        """Put the new version in place of the old one.

        :returns: False if another program created the file, moved the old version away, or replaced it;
            nothing is changed then.
        :raises UnsafeFile: if the file is a mount point of its own.
        :raises OSError: if the system refuses; the old version is still in place.
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
                f"Could not write {self._target.path}",
                "it is mounted as a single file, which cannot be replaced atomically",
                "Mount its folder instead of the file",
            ) from None
        return True

    def _verify_exchange(self, expected: os.stat_result) -> bool:
        """Return True if the expected version was replaced. Otherwise exchange back, so that the other
        version is in place again."""
        displaced = self.path.lstat()
        if (displaced.st_dev, displaced.st_ino) == (expected.st_dev, expected.st_ino):
            return True
        exchange(self.path, self._target.real)
        return False

    def _create(self) -> bool:
        """Create the file, only if its name is still free."""
        if not create_exclusive(self.path, self._target.real):
            return False
        self.discard()
        return True

    def discard(self) -> None:
        """Remove the temporary file; do nothing if it was moved into place."""
        with contextlib.suppress(OSError):
            self.path.unlink()


def private_name(folder: Path) -> Path:
    """Return a free name in `folder` for a temporary version of a shared file."""
    return folder / f".keyturn-{os.getpid()}-{secrets.token_hex(8)}.tmp"


def create_exclusive(path: Path, new_name: Path) -> bool:
    """Give a file a second name, only if that name is free.

    On a file system without hard links, rename the file instead. Between the check and the rename is a gap of
    microseconds.

    :returns: False if `new_name` exists.
    :raises OSError: if the file system refuses.
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
    """Copy group, extended attributes and mode of the old file.

    Others get no permissions on a credentials file. If the group cannot be copied, the group permissions are
    removed.
    """
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
                # The file is gone. The check before the replacement notices that.
                return
            raise
        for name in names:
            try:
                os.setxattr(descriptor, name, os.getxattr(source, name, follow_symlinks=False))
            except OSError as error:
                if error.errno not in (*_XATTR_ERRORS, errno.ENOENT):
                    raise


_AT_FDCWD = -100
"""AT_FDCWD: resolve a relative path from the working directory."""
_RENAME_EXCHANGE = 2
#: Errors of a system, file system or container policy that does not support the exchange.
_EXCHANGE_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two files.

    :returns: False if the system cannot do that in one step.
    :raises OSError: if a file is missing, or the file system refuses.
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
    """Remove the file of `target` if it is still `version`.

    The file is renamed before it is compared, because otherwise another program could replace it between the
    comparison and the removal.

    :param keep: saves a foreign version whose name another file took before it could be put back.
    :returns: False if the file changed; it is then in place as before.
    :raises OSError: if the file system refuses.
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
