"""What writers that were killed left behind: their temporary files, taken away at the next start."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

#: The names that the writers of keyturn give to a file that is not in its place yet, with the process in it.
_FILE = re.compile(r"\.keyturn-(\d+)-[0-9a-f]+\.tmp|\..+\.(\d+)\.[0-9a-f]+\.tmp")
_FOLDER = re.compile(r"\..+\.(\d+)\.[0-9a-f]+\.new")
#: A write takes milliseconds. Where several machines or containers share a folder, a process of another one looks dead
#: from here, so what is young is left alone.
AGE_SECONDS = 60.0


def clear(folders: Iterable[Path], now: float) -> None:
    """Removes what is older than a minute, ours, and named after a process that is no more. Never fails.

    :param now: seconds since the epoch, as the file system counts them.
    """
    for folder in folders:
        for entry, pid in _found(folder):
            with contextlib.suppress(OSError):
                _remove(Path(entry.path), pid, now)


def alive(pid: int) -> bool:
    """Whether there is such a process; true where that cannot be known."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _found(folder: Path) -> Iterator[tuple[os.DirEntry[str], int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                match = _FILE.fullmatch(entry.name) or _FOLDER.fullmatch(entry.name)
                if match is not None:
                    yield entry, int(next(group for group in match.groups() if group))
    except OSError:
        return


def _remove(path: Path, pid: int, now: float) -> None:
    status = path.lstat()
    if status.st_uid != os.geteuid() or now - status.st_mtime < AGE_SECONDS or alive(pid):
        return
    if stat.S_ISREG(status.st_mode) and _FILE.fullmatch(path.name):
        path.unlink()
    elif stat.S_ISDIR(status.st_mode) and _FOLDER.fullmatch(path.name):
        shutil.rmtree(path)
