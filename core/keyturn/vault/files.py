"""How the files of the vault and of the history are read and written: never torn, never through a link, never wider
than this user."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from keyturn.model.errors import UnsafeFile, VaultCorrupt, VaultError
from keyturn.system.files import private_dir, sync_dir
from keyturn.system.temp_files import OWN_FILE

#: More than a vault of thousands of sessions needs; a file beyond it is not one of ours.
MAX_BYTES = 64 * 1024 * 1024
TEMPORARY = ".tmp"


def read_regular(path: Path, limit: int = MAX_BYTES) -> bytes | None:
    """The bytes of `path`, None if it does not exist.

    Only a regular file is read: a FIFO would block, a link could lead anywhere.

    :raises VaultCorrupt: it is no regular file, or longer than `limit` bytes.
    :raises VaultError: the system refuses to read it, which says nothing about what is in it.
    """
    what = f"{path.name} of {path.parent}"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _read_error(what, error) from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise VaultCorrupt(what, "it is not a regular file", restore_hint())
        data = _read(handle, limit + 1)
    except OSError as error:
        raise _read_error(what, error) from None
    finally:
        os.close(handle)
    if len(data) > limit:
        raise VaultCorrupt(what, f"it is longer than {limit} bytes", restore_hint())
    return data


def _read_error(what: str, error: OSError) -> VaultError:
    """A link or a socket in the file's place is damage; a full table of files or a failing disk is not."""
    if error.errno in (errno.ELOOP, errno.ENXIO):
        return VaultCorrupt(what, "it is not a regular file", restore_hint())
    hint = "See to the disk or the file's permissions, then try again; nothing was written"
    return VaultError(what, f"it cannot be read ({error.strerror})", hint)


def _read(handle: int, size: int) -> bytes:
    """Up to `size` bytes; a regular file gives less only at its end."""
    parts: list[bytes] = []
    while size > 0 and (part := os.read(handle, min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def restore_hint() -> str:
    """The next step where a file is damaged."""
    return "Run: keyturn vault restore. Nothing was written over"


def make_private(folder: Path) -> None:
    """Makes `folder` and what is missing above it, 0700 whatever the umask.

    :raises VaultError: the system refuses.
    """
    missing = not folder.is_dir()
    with translate_os_errors(str(folder)):
        private_dir(folder)
        if missing:
            folder.chmod(0o700)


def check_private(folder: Path) -> None:
    """Refuses a folder in which somebody else could put a file of theirs.

    :raises UnsafeFile: `folder` belongs to another user, or others may write into it.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise UnsafeFile(str(folder), "it belongs to another user", "Run keyturn as the user who owns it")
    if status.st_mode & 0o022:
        raise UnsafeFile(str(folder), "others may write into it", f"Run `chmod 700 {folder}`")


def stage(path: Path, content: bytes) -> Path:
    """Writes `content` to a new file beside `path` (0600 whatever the umask), on disk and read back.

    :returns: the temporary file; `.replace(path)` puts it in place.
    :raises VaultError: what was read back is not what was written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(temporary, flags, 0o600)
    try:
        try:
            os.fchmod(handle, 0o600)
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if temporary.read_bytes() != content:
            raise VaultError(f"writing {path.name}", "the disk gave back other bytes than were written")
    except BaseException:
        discard(temporary)
        raise
    return temporary


def put(path: Path, content: bytes) -> None:
    """Replaces `path` by `content` in one step that a reader, a crash or a power loss sees whole or not at all."""
    temporary = stage(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        discard(temporary)
        raise
    sync_dir(path.parent)


def discard(path: Path) -> None:
    """Removes `path` if it is there and can be."""
    with contextlib.suppress(OSError):
        path.unlink()


def sweep(folder: Path) -> None:
    """Removes temporary files that a killed process left. Only for a caller that holds the folder's lock."""
    for entry in folder.glob(f".*{TEMPORARY}"):
        if OWN_FILE.fullmatch(entry.name):
            discard(entry)


def move_aside(path: Path) -> Path:
    """Renames an unreadable file to a free name beside it, so that it stays for whoever can still use it."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        if not aside.exists():
            path.rename(aside)
            sync_dir(path.parent)
            return aside
    raise VaultError(
        f"moving {path.name} aside", "there are a thousand damaged ones already", "Remove some of them"
    )


@contextlib.contextmanager
def translate_os_errors(what: str) -> Iterator[None]:
    """Turns a refusal of the system (disk full, read-only, no permission) into an error that a person can read."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error}; what was there before is still there"
        raise VaultError(f"writing {what}", why, "Make room or fix the permissions, then try again") from None
