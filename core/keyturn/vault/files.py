"""Read and write the files of the vault and the history: never torn, never through a link, readable by this
user only."""

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

#: More than a vault with thousands of sessions needs; a larger file is not from keyturn.
MAX_BYTES = 64 * 1024 * 1024
TEMPORARY = ".tmp"


def read_regular(path: Path, limit: int = MAX_BYTES) -> bytes | None:
    """Return the bytes of `path`; None if it does not exist.

    Reads regular files only, because a FIFO would block and a link could lead anywhere.

    :raises VaultCorrupt: if it is not a regular file, or longer than `limit` bytes.
    :raises VaultError: if the system cannot read it; that says nothing about its contents.
    """
    what = f"{path.name} in {path.parent}"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _read_error(what, error) from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise VaultCorrupt(what, "not a regular file", restore_hint())
        data = _read(handle, limit + 1)
    except OSError as error:
        raise _read_error(what, error) from None
    finally:
        os.close(handle)
    if len(data) > limit:
        raise VaultCorrupt(what, f"longer than {limit} bytes", restore_hint())
    return data


def _read_error(what: str, error: OSError) -> VaultError:
    """Return the error for a failed read. A link or socket in place of the file is damage; a full file table
    or a failing disk is not."""
    if error.errno in (errno.ELOOP, errno.ENXIO):
        return VaultCorrupt(what, "not a regular file", restore_hint())
    hint = "Check the disk and the file's permissions, then try again. Nothing was written"
    return VaultError(what, f"cannot be read ({error.strerror})", hint)


def _read(handle: int, size: int) -> bytes:
    """Read up to `size` bytes; fewer only at the end of the file."""
    parts: list[bytes] = []
    while size > 0 and (part := os.read(handle, min(size, 1 << 20))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def restore_hint() -> str:
    """Return the next step for a damaged file."""
    return "Run: keyturn vault restore. Nothing was overwritten"


def make_private(folder: Path) -> None:
    """Create `folder` and its missing parents with mode 0700, regardless of the umask.

    :raises VaultError: if the system refuses.
    """
    missing = not folder.is_dir()
    with translate_os_errors(str(folder)):
        private_dir(folder)
        if missing:
            folder.chmod(0o700)


def check_private(folder: Path) -> None:
    """Check that no other user can put files into `folder`.

    :raises UnsafeFile: if `folder` belongs to another user or is writable by others.
    """
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise UnsafeFile(str(folder), "belongs to another user", "Run keyturn as the user who owns it")
    if status.st_mode & 0o022:
        raise UnsafeFile(str(folder), "writable by others", f"Run: chmod 700 {folder}")


def stage(path: Path, content: bytes) -> Path:
    """Write `content` to a new file beside `path` (mode 0600 regardless of the umask), sync it, and read it
    back.

    :returns: the temporary file; `.replace(path)` puts it in place.
    :raises VaultError: if the bytes read back differ from those written.
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
            raise VaultError(
                f"Could not write {path.name}", "the disk returned other bytes than were written"
            )
    except BaseException:
        discard(temporary)
        raise
    return temporary


def put(path: Path, content: bytes) -> None:
    """Replace `path` with `content` atomically: a reader, a crash or a power loss sees the old or the new
    file."""
    temporary = stage(path, content)
    try:
        temporary.replace(path)
    except BaseException:
        discard(temporary)
        raise
    sync_dir(path.parent)


def discard(path: Path) -> None:
    """Remove `path` if it exists and can be removed."""
    with contextlib.suppress(OSError):
        path.unlink()


def sweep(folder: Path) -> None:
    """Remove temporary files of killed processes. The caller must hold the folder's lock."""
    for entry in folder.glob(f".*{TEMPORARY}"):
        if OWN_FILE.fullmatch(entry.name):
            discard(entry)


def move_aside(path: Path) -> Path:
    """Rename an unreadable file to a free name beside it, because somebody may still be able to use it."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")
        if not aside.exists():
            path.rename(aside)
            sync_dir(path.parent)
            return aside
    raise VaultError(
        f"Could not move {path.name} aside",
        "there are a thousand damaged copies already",
        "Remove some of them",
    )


@contextlib.contextmanager
def translate_os_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` (disk full, read-only, no permission) into a `VaultError`."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error}; the previous contents are unchanged"
        raise VaultError(
            f"Could not write {what}", why, "Free some space or fix the permissions, then try again"
        ) from None
