"""How keyturn writes the files that nobody else writes: whole, or not at all."""

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
#: For a log, which no act may wait for.
LOG_SECONDS = 1.0


def private_dir(folder: Path) -> None:
    """Makes `folder`, and every missing one above it, for this user alone (0700), to last over a power loss."""
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
    """Turns a refusal of the system (a full disk, a missing permission) into an error that a person can read."""
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        why = f"{why} ({error.filename})" if error.filename else why
        raise KeyturnError(what, why, "See to the disk or its permissions, then try again") from None


@contextlib.contextmanager
def lock_for_change(path: Path, *, what: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Holds an exclusive `flock` on `path` (made if absent, 0600); it ends with the process, so it is never stale.

    :raises FileBusy: another process holds it for longer than `seconds`; the error names it.
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
    """As :func:`locked`; a refusal of the system to lock is an error for a person, one of the body passes as it is."""
    with contextlib.ExitStack() as stack:
        with os_error_text(what):
            stack.enter_context(lock_for_change(path, what=what, seconds=seconds))
        yield


def replace(path: Path, content: bytes) -> None:
    """Puts `content` in the place of `path` (0600) so that a reader, a crash or a power loss sees old or new, whole."""
    with _temporary_file(path, content) as temporary:
        temporary.replace(path)
    sync_dir(path.parent)


def create_file(path: Path, content: bytes) -> None:
    """Writes a file (0600) that was not there before, whole or not at all.

    :raises FileExistsError: there is something of that name, if only a link that leads nowhere.
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
    """On a file system without hard links, such as a memory stick's, a crash may leave the file half written."""
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
    """A new file beside `path`, on disk; removed if it does not get its place."""
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
    """Adds a line to a log (0600), whole or not at all; what a crash left of the line before gets its own end.

    :param line: with its end.
    :param make_room: gets the size that the log would have, under the log's lock, before anything is written.
    :raises OSError: it could not be added; the log is as it was.
    """
    private_dir(path.parent)
    with contextlib.ExitStack() as stack:
        # A process that was stopped while it held the lock must not silence all others.
        with contextlib.suppress(FileBusy):
            lock = lock_for_change(
                path.with_name(f".{path.name}.lock"), what=f"writing {path}", seconds=LOG_SECONDS
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
    """Makes a rename in `folder` survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some file systems know no fsync of a folder.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


def change(path: Path, edit: Callable[[bytes | None], bytes], *, what: str) -> bytes:
    """Read, edit and replace under a lock beside the file; `edit` gets None where there is no file yet."""
    with os_error_text(what), lock_for_change(path.with_name(f".{path.name}.lock"), what=what):
        old = read(path)
        new = edit(old)
        if new != old:
            replace(path, new)
    return new


def read(path: Path) -> bytes | None:
    """The file's bytes; None if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
