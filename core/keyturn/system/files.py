"""Atomic writes and locks for keyturn's own files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from keyturn.model.errors import FileBusy, KeyturnError
from keyturn.system import lock_owner

LOCK_SECONDS = 10.0
#: Timeout for logs. It is short because no operation may wait for a log.
LOG_SECONDS = 1.0


def private_dir(folder: Path) -> None:
    """Create `folder` and its missing parents with mode 0700, durably."""
    missing: list[Path] = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            sync_dir(directory.parent)


@contextlib.contextmanager
def os_error_text(what: str) -> Iterator[None]:
    """Convert OSError (full disk, missing permission) to a readable error.

    :raises KeyturnError: if the block raises OSError.
    """
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        why = f"{why} ({error.filename})" if error.filename else why
        raise KeyturnError(what, why, "Check the disk space and permissions, then try again") from None


@contextlib.contextmanager
def lock_for_change(path: Path, *, what: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold an exclusive `flock` on `path`, which is created with mode 0600. The lock is never stale, because
    it ends with the process.

    :raises FileBusy: if another process holds it for longer than `seconds`; the error names that process.
    """
    private_dir(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + seconds
        delay = 0.002
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise lock_owner.busy_error(what, lock_owner.read_owner(handle), seconds) from None
                time.sleep(delay)
                delay = min(delay * 2, 0.05)
        lock_owner.record_owner(handle)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def hold_lock(path: Path, *, what: str, seconds: float) -> Iterator[None]:
    """Hold a lock like :func:`lock_for_change`. An OSError of the locking becomes a KeyturnError; one of the
    block passes unchanged.
    """
    with contextlib.ExitStack() as stack:
        with os_error_text(what):
            stack.enter_context(lock_for_change(path, what=what, seconds=seconds))
        yield


def replace(path: Path, content: bytes) -> None:
    """Replace `path` (0600) atomically and durably: a reader, a crash or a power loss sees the old or the new
    content.
    """
    with _temporary_file(path, content) as temporary:
        temporary.replace(path)
    sync_dir(path.parent)


def create_file(path: Path, content: bytes) -> None:
    """Create a file (0600) with its whole content, or not at all.

    :raises FileExistsError: if the path exists, even as a broken symlink.
    """
    with _temporary_file(path, content) as temporary:
        try:
            os.link(temporary, path, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
                raise
            _create_without_link(path, content)
        temporary.unlink()
    sync_dir(path.parent)


def _create_without_link(path: Path, content: bytes) -> None:
    """Create a file on a file system without hard links (FAT). A crash may leave it incomplete."""
    try:
        _write_new(path, content)
    except FileExistsError:
        raise
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


@contextlib.contextmanager
def _temporary_file(path: Path, content: bytes) -> Iterator[Path]:
    """Write a new file beside `path` to disk. It is removed if the block raises."""
    private_dir(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        _write_new(temporary, content)
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write_new(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def append(path: Path, line: bytes, *, make_room: Callable[[int], None]) -> None:
    """Append a line to a log (0600), whole or not at all. If a crash left an incomplete line, that line is
    terminated first.

    :param line: with its line end.
    :param make_room: called with the future size of the log before the write, under its lock.
    :raises OSError: if the line could not be written; the log is unchanged.
    """
    private_dir(path.parent)
    with contextlib.ExitStack() as stack:
        # Write without the lock after the timeout, because a stopped process that holds it must not block all
        # logging.
        with contextlib.suppress(FileBusy):
            lock = lock_for_change(
                path.with_name(f".{path.name}.lock"), what=f"Could not write {path}", seconds=LOG_SECONDS
            )
            stack.enter_context(lock)
        with contextlib.suppress(FileNotFoundError):
            make_room(path.lstat().st_size + len(line))
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(handle, line) != len(line):
                os.ftruncate(handle, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(handle)


def sync_dir(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems do not support fsync on directories.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


def change(path: Path, edit: Callable[[bytes | None], bytes], *, what: str) -> bytes:
    """Read, edit and replace a file under a lock beside it. `edit` gets None if there is no file yet."""
    with os_error_text(what), lock_for_change(path.with_name(f".{path.name}.lock"), what=what):
        old = read(path)
        new = edit(old)
        if new != old:
            replace(path, new)
    return new


def read(path: Path) -> bytes | None:
    """Return the content of a file, or None if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
