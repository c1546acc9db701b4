"""Private folder of a sandbox. It is removed at the end, or by a later start if its process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

PREFIX = "keyturn-sandbox-"
PID_FILE = "sandbox.pid"


class Folder:
    """A sandbox's folder, locked by this process.

    :param path: an absent or empty folder; None for a new one in the temporary folder.
    :raises FileExistsError: if `path` is not empty, so that no foreign file is ever removed.
    :raises PermissionError: if `path` belongs to another user.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.is_created = path is None or not path.exists()
        if path is None:
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
        else:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path.resolve()
        status = self.path.lstat()
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{path} belongs to another user")
        if any(self.path.iterdir()):
            raise FileExistsError(f"{path} is not empty")
        self.path.chmod(0o700)
        self._lock: int | None = _lock_pid_file(self.path)

    def remove(self) -> None:
        """Remove the folder, or only its contents if the folder existed before."""
        if self.is_created:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def write_private(path: Path, text: str) -> None:
    """Write a file of the sandbox atomically, with mode 0600."""
    temp = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temp.replace(path)


def clear_leftovers(within: Path | None = None) -> list[Path]:
    """Remove the folders of sandboxes whose process has exited, and nothing else.

    Such a folder is a real directory of this user in the temporary folder, with the sandbox's name prefix and
    mode 0700, whose pid file belongs to this user and is not locked by any process.

    :param within: the temporary folder, unless another is given.
    :returns: the removed folders.
    """
    removed = []
    for path in (within or Path(tempfile.gettempdir())).glob(PREFIX + "*"):
        if _is_leftover(path):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def _lock_pid_file(folder: Path) -> int:
    """Write the pid file and lock it. The lock is released when the process exits for any reason.

    The file is locked before it gets its final name, so that a starting sandbox is never mistaken for a
    leftover.
    """
    temp = folder / f".{PID_FILE}"
    descriptor = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
    temp.rename(folder / PID_FILE)
    return descriptor


def _is_leftover(path: Path) -> bool:
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return False
        descriptor = os.open(path / PID_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        pid_status = os.fstat(descriptor)
        if not stat.S_ISREG(pid_status.st_mode) or pid_status.st_uid != os.geteuid():
            return False
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False
    finally:
        os.close(descriptor)
