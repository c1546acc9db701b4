"""The file that an edit of a path really writes to, and the checks that writing it is safe."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from keyturn.model.errors import UnsafeFile
from keyturn.system import files

#: As many links as Linux follows before it reports a loop.
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Target:
    """The real file behind a path: links resolved, in a folder that is safe to write to."""

    path: Path
    """As the user gave it."""
    real: Path
    """In a folder that exists; not itself a link."""
    status: os.stat_result | None
    """None if there is no file yet."""
    key: str
    """The same for every path that leads to this file."""


def find(path: Path) -> Target:
    """Return the target of an edit. A missing folder is created, private.

    :raises UnsafeFile: if the links loop, the target is not a regular file, or an owner or mode lets another
        user decide what is written.
    :raises OSError: if the file system refuses.
    """
    real = _resolve_links(path)
    folder = real.parent
    files.private_dir(folder)
    folder = Path(os.path.realpath(folder))
    real = folder / real.name
    status = _status(real)
    folder_status = folder.stat()
    if status is not None:
        _check_file(path, status)
    _check_owner(path, folder, folder_status)
    return Target(path, real, status, f"{folder_status.st_dev}:{folder_status.st_ino}:{real.name}")


def _resolve_links(path: Path) -> Path:
    current = path.absolute()
    for _ in range(_MAX_LINKS):
        try:
            link = os.readlink(current)  # noqa: PTH115  # one link at a time, where a relative one starts at its folder
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return current
            if error.errno == errno.ELOOP:
                break
            raise
        current = current.parent / link
    raise UnsafeFile(f"Could not write {path}", "its symbolic links form a loop", "Fix the links")


def _status(real: Path) -> os.stat_result | None:
    try:
        return real.lstat()
    except FileNotFoundError:
        return None


def _check_file(path: Path, status: os.stat_result) -> None:
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        raise UnsafeFile(
            f"Could not write {path}", f"it is {_file_type(mode)}, not a regular file", "Use a regular file"
        )
    if not mode & stat.S_IWUSR:
        raise UnsafeFile(f"Could not write {path}", "it is read-only", f"Run: chmod u+w {path}")
    _check_owner(path, path, status)


def _check_owner(path: Path, checked: Path, status: os.stat_result) -> None:
    shown = "it" if checked == path else f"its folder {checked}"
    if status.st_uid != os.geteuid():
        raise UnsafeFile(
            f"Could not write {path}",
            f"{shown} belongs to another user (uid {status.st_uid})",
            "Change the owner first",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeFile(
            f"Could not write {path}", f"{shown} is writable by others", f"Run: chmod go-w {checked}"
        )


def _file_type(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
