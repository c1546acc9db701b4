"""Temporary files of keyturn that killed writers left behind: the forms of their names, and their removal."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from keyturn.system.files import discard


@dataclass(frozen=True, slots=True)
class TempName:
    """A form of temporary names that keyturn writes. The process id of the writer is in each."""

    pattern: re.Pattern[str]
    """Its only group is the process id."""
    is_type: Callable[[int], bool]
    """Predicate on the mode of the file; symlinks are not followed."""


#: In keyturn's own folders. Each name is listed, because users may keep files with similar names there.
OWN_FILE = TempName(
    re.compile(
        r"\.(?:keys\.age|keys\.\d\.age|sessions\.age|identity\.age|recipient\.txt|generation\.txt|[0-9a-f]{64}\.age|index\.json"
        r"|mfa\.json|activity\.jsonl|profiles\.toml"
        # Records of the rotation journal, by account and user or by a hash.
        r"|(?:rotation-)?(?:\d{12}-[a-z0-9_+=,.@-]{1,64}|[0-9a-f]{32})\.age"
        r")\.(\d+)\.[0-9a-f]{8}\.tmp"
    ),
    stat.S_ISREG,
)
#: In the data folder: a vault that is being created.
OWN_FOLDER = TempName(re.compile(r"\.vault\.(\d+)\.[0-9a-f]{8}\.new"), stat.S_ISDIR)
#: Beside a shared file: a version of it, before or after it was exchanged with the current one.
SHARED_FILE = TempName(re.compile(r"\.keyturn-(\d+)-[0-9a-f]{16}\.tmp"), stat.S_ISREG)
#: A write takes milliseconds. Younger files are left alone, because if several machines or containers share a
#: folder, a process of another one looks dead from here.
MIN_AGE_SECONDS = 60.0
#: Process start times and file times come from two clocks that agree within about a second.
_CLOCK_TOLERANCE = 2.0


def remove_abandoned(folders: Iterable[Path], data_dir: Path, now: float) -> None:
    """Remove keyturn's abandoned temporary files and incomplete vaults. Never raises.

    :param folders: folders of keyturn only.
    :param data_dir: the folder in which vaults are created.
    :param now: seconds since the epoch, by the clock of the file system.
    """
    for folder in folders:
        for path in find_abandoned(folder, OWN_FILE, now):
            discard(path)
    for path in find_abandoned(data_dir, OWN_FOLDER, now):
        shutil.rmtree(path, ignore_errors=True)


def remove_under_lock(folder: Path) -> None:
    """Remove keyturn's own temporary files from a folder whose lock the caller holds: any writer is gone."""
    for path in folder.glob(".*.tmp"):
        if OWN_FILE.pattern.fullmatch(path.name):
            discard(path)


def find_abandoned(folder: Path, form: TempName, now: float) -> tuple[Path, ...]:
    """Return the paths in `folder` of one form that belong to this user, are older than
    :data:`MIN_AGE_SECONDS`, and whose writer no longer runs.

    :param now: seconds since the epoch, by the clock of the file system.
    """
    abandoned = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = form.pattern.fullmatch(entry.name)
            if match is not None and _is_abandoned(Path(entry.path), int(match[1]), form, now):
                abandoned.append(Path(entry.path))
    return tuple(abandoned)


def _is_abandoned(path: Path, pid: int, form: TempName, now: float) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    if status.st_uid != os.geteuid() or not form.is_type(status.st_mode):
        return False
    # Use ctime (the rename by the writer), because the mtime of an exchanged version is that of its content.
    changed_at = status.st_ctime
    return now - changed_at >= MIN_AGE_SECONDS and not is_in_use(pid, changed_at)


def is_in_use(pid: int, since: float) -> bool:
    """Return True if process `pid` exists and started no later than `since` (seconds since the epoch), or if
    that cannot be determined. The start time matters because process ids are reused, but not all systems
    report it.
    """
    if not is_alive(pid):
        return False
    started = _start_time(pid)
    return started is None or started <= since + _CLOCK_TOLERANCE


def is_alive(pid: int) -> bool:
    """Return True if the process exists, or if that cannot be determined."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _start_time(pid: int) -> float | None:
    """Return the start time of a process in seconds since the epoch, or None if the system does not report
    it.
    """
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
        lines = Path("/proc/stat").read_bytes().splitlines()
        boot = next(int(line.split()[1]) for line in lines if line.startswith(b"btime "))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return boot + ticks / os.sysconf("SC_CLK_TCK")
