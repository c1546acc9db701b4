"""Atomic writes, guarded reads, locks and error texts for files."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from keyturn.model.errors import FileBusy, KeyturnError, NotWritable
from keyturn.model.file_limits import MAX_OWN_BYTES
from keyturn.system.ownership import check_creatable

_AT_FDCWD = -100
"""AT_FDCWD: resolve a relative path from the working directory."""
_RENAME_EXCHANGE = 2
#: Errors of a system, file system or container policy that does not support the exchange.
_EXCHANGE_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
#: Errors of a file system without hard links.
LINK_UNSUPPORTED = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)
LOCK_SECONDS = 10.0
#: Longest wait in seconds, while other processes take the lock in turn.
LONGEST_LOCK_SECONDS = 60.0
#: Timeout for logs. It is short because no operation may wait for a log.
LOG_SECONDS = 1.0


def private_dir(folder: Path) -> None:
    """Create `folder` and its missing parents with mode 0700 regardless of the umask, durably.

    :raises UnsafeFile: if `folder`, or the folder to create it in, belongs to another user.
    """
    check_creatable(folder)
    missing: list[Path] = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            directory.chmod(0o700)
            sync_dir(directory.parent)


@contextlib.contextmanager
def translate_os_errors(translate: Callable[[OSError], KeyturnError]) -> Iterator[None]:
    """Raise `translate(error)` in place of an OSError of the block."""
    try:
        yield
    except OSError as error:
        raise translate(error) from None


def os_error_text(what: str) -> contextlib.AbstractContextManager[None]:
    """Convert OSError (full disk, missing permission) to a readable error.

    :raises KeyturnError: if the block raises OSError.
    """

    def translate(error: OSError) -> KeyturnError:
        why = error.strerror or type(error).__name__
        why = f"{why} ({error.filename})" if error.filename else why
        return KeyturnError(what, why, "Check the disk space and permissions, then try again")

    return translate_os_errors(translate)


# -- locks ---------------------------------------------------------------------------------------------------

#: Bytes of a lock file that its owner writes when it takes the lock.
_TURN_BYTES = 256


def poll_flock(
    handle: int,
    seconds: float,
    *,
    longest: float | None = None,
    longest_pause: float = 0.05,
    elapsed: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    is_pointless: Callable[[], bool] = lambda: False,
) -> bool:
    """Take an exclusive `flock` on an open file. It is never stale, because it ends with the process.

    :param seconds: how long to wait while another process holds it.
    :param longest: how long to wait in all if others take it in turn, each for less than `seconds`; `seconds`
        by default. A new turn shows in the bytes that its owner writes into the file.
    :param longest_pause: seconds between two attempts, after some shorter pauses.
    :param is_pointless: asked after each failed attempt; True ends the wait.
    :returns: False if another process still holds it.
    :raises OSError: if the file system does not support it.
    """
    now = elapsed()
    deadline, last_deadline = now + seconds, now + (seconds if longest is None else longest)
    turn: bytes | None = None
    pause = 0.002
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = elapsed()
            if deadline < last_deadline and (current := os.pread(handle, _TURN_BYTES, 0)) != turn:
                turn, deadline = current, min(now + seconds, last_deadline)
            if is_pointless() or now >= deadline:
                return False
            sleep(pause)
            pause = min(pause * 2, longest_pause)
        else:
            return True


@contextlib.contextmanager
def lock_for_change(
    path: Path, *, what: str, seconds: float = LOCK_SECONDS, longest: float = LONGEST_LOCK_SECONDS
) -> Iterator[None]:
    """Hold an exclusive `flock` on `path`, which is created with mode 0600.

    :param seconds: as for :func:`poll_flock`.
    :param longest: as for :func:`poll_flock`.
    :raises FileBusy: if another process holds it for longer than `seconds`; the error names that process.
        Also if others take it in turn for longer than `longest`.
    """
    private_dir(path.parent)
    handle = open_lock_file(path)
    try:
        started = time.monotonic()
        if not poll_flock(handle, seconds, longest=longest):
            if seconds < longest <= time.monotonic() - started:
                raise queue_error(what, longest)
            raise busy_error(what, _read_owner(handle), seconds)
        # A full disk must not prevent locking; only the process id is missing then.
        with contextlib.suppress(OSError):
            os.pwrite(handle, b"%-20d\n%-20d\n" % (os.getpid(), time.monotonic_ns()), 0)
        yield
    finally:
        os.close(handle)


def open_lock_file(path: Path) -> int:
    """Open a lock file, which is created with mode 0600 regardless of the umask. A symbolic link is
    refused."""
    return create_private(path, os.O_RDWR | os.O_NOFOLLOW)


def create_private(path: Path, flags: int) -> int:
    """Open a file for writing and return the descriptor. If it is missing, create it with mode 0600, although
    the umask may take even the owner's permissions.

    :param flags: of `os.open`, without `O_CREAT`.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(handle).st_mode & 0o600 != 0o600:
            os.fchmod(handle, 0o600)
    except BaseException:
        os.close(handle)
        raise
    return handle


#: Errors of a folder that is read-only.
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextlib.contextmanager
def hold_lock(path: Path, *, what: str, seconds: float, longest: float) -> Iterator[None]:
    """Hold a lock like :func:`lock_for_change`. An OSError of the locking becomes a KeyturnError; one of the
    block passes unchanged.

    :raises NotWritable: if the lock file cannot be created.
    """
    with contextlib.ExitStack() as stack:
        with translate_os_errors(lambda error: _lock_error(what, error)):
            stack.enter_context(lock_for_change(path, what=what, seconds=seconds, longest=longest))
        yield


def _lock_error(what: str, error: OSError) -> KeyturnError:
    kind = NotWritable if error.errno in READ_ONLY else KeyturnError
    why = f"{error.strerror or type(error).__name__} ({error.filename})"
    return kind(what, why, "Check the disk space and permissions, then try again")


def _read_owner(handle: int) -> int | None:
    """Return the process id in a lock file, or None."""
    try:
        return int(os.pread(handle, 20, 0))
    except (OSError, ValueError):
        return None


def queue_error(what: str, seconds: float) -> FileBusy:
    """Return the error for a lock that others have taken in turn for `seconds`."""
    why = f"other keyturn processes have taken the lock in turn for {seconds:.0f} s"
    return FileBusy(what, why, "Wait for those processes to end, then try again")


def busy_error(what: str, pid: int | None, seconds: float) -> FileBusy:
    """Return the error for a lock that was not available within `seconds`.

    :param pid: the process that holds the lock, None if unknown.
    """
    if pid is None:
        return FileBusy(
            what,
            f"another keyturn process has held the lock for more than {seconds:.0f} s",
            "Wait for that process to end, then try again",
        )
    why = f"keyturn process {pid} has held the lock for more than {seconds:.0f} s"
    if _is_stopped(pid):
        return FileBusy(
            what, f"{why} and is stopped", f"Resume it (kill -CONT {pid}), or end it (kill -KILL {pid})"
        )
    return FileBusy(what, why, f"Wait for that process, or end it (kill {pid})")


def _is_stopped(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[:1] in (["T"], ["t"])


# -- writing -------------------------------------------------------------------------------------------------


def replace(path: Path, content: bytes) -> None:
    """Replace `path` (0600) atomically and durably: a reader, a crash or a power loss sees the old or the new
    content.
    """
    private_dir(path.parent)
    with staged(path, content) as temporary:
        temporary.replace(path)
    sync_dir(path.parent)


def create_file(path: Path, content: bytes) -> None:
    """Create a file (0600) with its whole content, or not at all. On a file system without hard links (FAT) a
    crash may leave it incomplete.

    :raises FileExistsError: if the path exists, even as a broken symlink.
    """
    if not path.parent.is_dir():
        private_dir(path.parent)
    with staged(path, content) as temporary:
        try:
            os.link(temporary, path, follow_symlinks=False)
        except OSError as error:
            if error.errno not in LINK_UNSUPPORTED:
                raise
            write_new(path, content)
        temporary.unlink()
    sync_dir(path.parent)


@contextlib.contextmanager
def staged(path: Path, content: bytes, prepare: Callable[[int], None] = lambda _: None) -> Iterator[Path]:
    """Write a new file beside `path` to disk, to be moved to `path`. It is removed if the block raises.

    :param prepare: see :func:`write_new`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    write_new(temporary, content, prepare)
    try:
        yield temporary
    except BaseException:
        discard(temporary)
        raise


def write_new(path: Path, content: bytes, prepare: Callable[[int], None] = lambda _: None) -> os.stat_result:
    """Create a file (0600) with its content on disk, and return its status. It is removed if that fails.

    :param prepare: called with the open file when the content is written, before it is synced.
    :raises FileExistsError: if the path exists, even as a broken symlink.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            os.fchmod(handle, 0o600)  # the umask may take even the owner's permissions
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            prepare(handle)
            os.fsync(handle)
            return os.fstat(handle)
        finally:
            os.close(handle)
    except BaseException:
        discard(path)
        raise


def exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two files.

    :returns: False if the system cannot do that in one step.
    :raises OSError: if a file is missing, or the file system refuses.
    """
    if sys.platform != "linux":
        return False
    import ctypes

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _EXCHANGE_UNSUPPORTED:
        return False
    raise OSError(error, os.strerror(error), str(first), None, str(second))


def discard(path: Path) -> None:
    """Remove a file if it exists and can be removed."""
    with contextlib.suppress(OSError):
        path.unlink()


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
            stack.enter_context(
                lock_for_change(
                    path.with_name(f".{path.name}.lock"), what=f"Could not write {path}", seconds=LOG_SECONDS
                )
            )
        with contextlib.suppress(FileNotFoundError):
            make_room(path.lstat().st_size + len(line))
        handle = create_private(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
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


def read(path: Path, limit: int = MAX_OWN_BYTES) -> bytes | None:
    """Return the content of a file, or None if it does not exist.

    :raises OSError: if it cannot be read. The error number is `EFBIG` if it is longer than `limit`, and
        `ENXIO` if it is not a regular file.
    """
    try:
        content = read_regular(path, limit=limit + 1)
    except FileNotFoundError:
        return None
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


# -- guarded reading -----------------------------------------------------------------------------------------


def open_regular(path: Path, flags: int = 0) -> int:
    """Open a regular file for reading, without ever blocking on a FIFO.

    :param flags: further flags of open(2), such as `os.O_NOFOLLOW`.
    :raises OSError: if it cannot be opened. The error number is `ENXIO` if it is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.ENXIO, "not a regular file", str(path))
    except BaseException:
        os.close(handle)
        raise
    return handle


def read_open(handle: int, limit: int = sys.maxsize) -> bytes:
    """Return the content of an open file from its start, at most `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while size < limit and (part := os.pread(handle, min(limit - size, 1 << 20), size)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def read_regular(path: Path, flags: int = 0, limit: int = sys.maxsize) -> bytes:
    """Return the content of a regular file, at most `limit` bytes; see :func:`open_regular`."""
    handle = open_regular(path, flags)
    try:
        return read_open(handle, limit)
    finally:
        os.close(handle)
