"""What writers that were killed left behind: which of it is keyturn's own, and no longer at work on."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

#: A file of keyturn's own that is not in its place yet, with the process that writes it. Each is named: what a person
#: keeps in the same folder under a name of the same shape is theirs.
OWN_FILE = re.compile(
    r"\.(?:keys\.age|keys\.\d\.age|sessions\.age|identity\.age|recipient\.txt|[0-9a-f]{64}\.age|index\.json"
    r"|mfa\.json|activity\.jsonl|profiles\.toml)\.(\d+)\.[0-9a-f]{8}\.tmp"
)
#: A vault that is being made.
OWN_FOLDER = re.compile(r"\.vault\.(\d+)\.[0-9a-f]{8}\.new")
#: A version of a shared file, before or after it changed places with the one that is there.
SHARED_FILE = re.compile(r"\.keyturn-(\d+)-[0-9a-f]{16}\.tmp")
#: A write takes milliseconds. Where several machines or containers share a folder, a process of another one looks dead
#: from here, so what is young is left alone.
MIN_AGE_SECONDS = 60.0
#: The start of a process and the change of a file are told by two clocks, which agree to about a second.
_CLOCK_TOLERANCE = 2.0


def remove_abandoned(folders: Iterable[Path], data_dir: Path, now: float) -> None:
    """Removes files of keyturn's own that nobody writes any more, and vaults that were never finished. Never fails.

    :param folders: keyturn's own, no other.
    :param data_dir: the one in which a vault is made.
    :param now: seconds since the epoch, as the file system counts them.
    """
    for folder in folders:
        for path in find_abandoned(folder, OWN_FILE, stat.S_ISREG, now):
            with contextlib.suppress(OSError):
                path.unlink()
    for path in find_abandoned(data_dir, OWN_FOLDER, stat.S_ISDIR, now):
        shutil.rmtree(path, ignore_errors=True)


def find_abandoned(
    folder: Path, pattern: re.Pattern[str], is_type: Callable[[int], bool], now: float
) -> tuple[Path, ...]:
    """What is called by one of `pattern`, of the kind, this user's, older than a minute, and at work on by nobody.

    :param pattern: with the process as its only group.
    :param is_type: of a mode, such as `stat.S_ISREG`; no link is followed.
    """
    abandoned = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match is not None and _is_abandoned(Path(entry.path), int(match[1]), is_type, now):
                abandoned.append(Path(entry.path))
    return tuple(abandoned)


def _is_abandoned(path: Path, pid: int, is_type: Callable[[int], bool], now: float) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    if status.st_uid != os.geteuid() or not is_type(status.st_mode):
        return False
    # The time of the last change of bytes comes with a version that gave way; that of its name is the writer's.
    changed_at = status.st_ctime
    return now - changed_at >= MIN_AGE_SECONDS and not is_in_use(pid, changed_at)


def is_in_use(pid: int, since: float) -> bool:
    """Whether there is a process of this number that was there at a moment, in seconds since the epoch. True where that
    cannot be known: a number is given to other programs again, but not all systems tell when one began."""
    if not is_alive(pid):
        return False
    started = _start_time(pid)
    return started is None or started <= since + _CLOCK_TOLERANCE


def is_alive(pid: int) -> bool:
    """Whether there is such a process; true where that cannot be known."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _start_time(pid: int) -> float | None:
    """When a process began, in seconds since the epoch; None where the system does not tell."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
        lines = Path("/proc/stat").read_bytes().splitlines()
        boot = next(int(line.split()[1]) for line in lines if line.startswith(b"btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")
