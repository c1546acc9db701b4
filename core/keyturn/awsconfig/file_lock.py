"""One lock per shared file, among keyturn processes, with a record of keyturn's last write.

The lock is a flock on a file in keyturn's own folder, never beside the shared file. The kernel releases it
when the process ends, so it is never stale. The record tells the next writer if the file is as keyturn left
it, complete, or another program may still be writing it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.awsconfig.timing import LOCK_LIMIT, Timing
from keyturn.awsconfig.write_target import Target
from keyturn.system.files import busy_error, open_lock_file, poll_flock, private_dir

_LOG = logging.getLogger(__name__)
#: Errors of network file systems that do not support flock.
_LOCK_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

Mark = tuple[int, int, int, int]
"""Device, inode, size and modification time (ns) of a file. Equal marks mean equal bytes."""


def mark_of(status: os.stat_result) -> Mark:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class LockNote:
    """The record in the lock file, shared between keyturn processes."""

    count: int = 0
    """Number of writes by keyturn so far."""
    first_after_foreign: int = 0
    """Number of keyturn's first write after the last foreign change. If it is <= the number of an earlier
    write, only keyturn has written since, so that write is still in the file."""
    own_mark: Mark | None = None
    """The file as keyturn's last write left it."""
    contended_at: float = 0.0
    """Time of the last observed foreign write, in seconds since the epoch; 0 if none."""


class LockedFile:
    """A lock that this process holds, with its record."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.note = self._read()
        self._write()

    def _read(self) -> LockNote:
        try:
            table = json.loads(os.pread(self._descriptor, 4096, 0))
            stored = table["left"]
            mark = (
                None if stored is None else (int(stored[0]), int(stored[1]), int(stored[2]), int(stored[3]))
            )
            return LockNote(
                int(table["count"]), int(table["foreign"]), mark, float(table.get("stirred", 0.0))
            )
        except (ValueError, TypeError, KeyError, IndexError):
            return LockNote()

    def is_our_version(self, status: os.stat_result) -> bool:
        """Return True if the file is exactly as keyturn's last write left it."""
        return self.note.own_mark == mark_of(status)

    def record_own_write(self, status: os.stat_result, *, unbroken: bool) -> int:
        """Record a write and return its number.

        :param unbroken: True if the version that was edited was keyturn's own.
        """
        count = self.note.count + 1
        self.note = replace(
            self.note,
            count=count,
            first_after_foreign=self.note.first_after_foreign if unbroken else count,
            own_mark=mark_of(status),
        )
        # Without the record the next writer only waits a little longer; that is no reason to fail after a
        # successful write.
        with contextlib.suppress(OSError):
            self._write()
        return count

    def record_foreign_write(self, now: float) -> None:
        """Record that another program has just written the file.

        :param now: seconds since the epoch.
        """
        self.note = replace(self.note, contended_at=now)
        with contextlib.suppress(OSError):
            self._write()

    def _write(self) -> None:
        table = {
            "pid": os.getpid(),
            "count": self.note.count,
            "foreign": self.note.first_after_foreign,
            "left": self.note.own_mark,
            "stirred": self.note.contended_at,
        }
        text = json.dumps(table).encode()
        os.pwrite(self._descriptor, text.ljust(256), 0)


@contextlib.contextmanager
def lock_file(locks_dir: Path, target: Target, timing: Timing) -> Iterator[LockedFile]:
    """Hold the lock of a target.

    :raises FileBusy: if another process holds it for more than 10 s; the error names the process.
    :raises OSError: if keyturn's own folder is not writable.
    """
    private_dir(locks_dir)
    name = hashlib.sha256(target.key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    descriptor = open_lock_file(locks_dir / f"{name}.lock")
    try:
        _acquire(descriptor, target, timing)
        yield LockedFile(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, target: Target, timing: Timing) -> None:
    try:
        # Short pauses, because a write takes milliseconds and others may wait for the same file.
        is_held = poll_flock(
            descriptor, LOCK_LIMIT, longest_pause=0.01, elapsed=timing.elapsed, sleep=timing.sleep
        )
    except OSError as error:
        if error.errno not in _LOCK_UNSUPPORTED:
            raise
        _LOG.warning("file system of %s does not support locks: relying on stable reads alone", target.path)
        return
    if not is_held:
        raise busy_error(f"Could not write {target.path}", _owner_pid(descriptor), LOCK_LIMIT)


def _owner_pid(descriptor: int) -> int | None:
    try:
        return int(json.loads(os.pread(descriptor, 4096, 0))["pid"])
    except (ValueError, TypeError, KeyError):
        return None
