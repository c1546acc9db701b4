"""Where an edit of a path really goes, and whether it may go there."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from keyturn.model.errors import UnsafeFile
from keyturn.system import files

#: As many links as Linux follows before it speaks of a loop.
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Target:
    """The real file behind a path: links resolved, its folder safe to write to."""

    path: Path
    """As the person knows it."""
    real: Path
    """In a folder that exists, itself no link."""
    status: os.stat_result | None
    """None where there is no file yet."""
    key: str
    """The same for every path that leads to this file."""


def find(path: Path) -> Target:
    """The target of an edit; a missing folder is made, private.

    :raises UnsafeFile: a loop of links, something that is no regular file, or an owner or mode that would let
        somebody else decide what is written.
    :raises OSError: the file system said no.
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
    raise UnsafeFile(f"writing {path}", "its symbolic links lead in a circle", "Correct the links")


def _status(real: Path) -> os.stat_result | None:
    try:
        return real.lstat()
    except FileNotFoundError:
        return None


def _check_file(path: Path, status: os.stat_result) -> None:
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        raise UnsafeFile(
            f"writing {path}", f"it is {_file_type(mode)}, no regular file", "Name a regular file"
        )
    if not mode & stat.S_IWUSR:
        raise UnsafeFile(f"writing {path}", "it is read-only", f"Run: chmod u+w {path}")
    _check_owner(path, path, status)


def _check_owner(path: Path, checked: Path, status: os.stat_result) -> None:
    shown = "it" if checked == path else f"its folder {checked}"
    if status.st_uid != os.geteuid():
        raise UnsafeFile(
            f"writing {path}",
            f"{shown} belongs to another user (uid {status.st_uid})",
            "Change the owner first",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnsafeFile(f"writing {path}", f"{shown} is writable by others", f"Run: chmod go-w {checked}")


def _file_type(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something else")
