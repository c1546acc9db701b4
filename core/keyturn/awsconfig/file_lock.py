"""One lock per shared file, among keyturn's own processes, with a note of how the last of them left the file.

The lock is flock on a file of our own, never beside the shared one. It dies with its process, so none is ever stale.
The note lets the next writer tell a file that keyturn left whole from one that somebody else may be writing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from keyturn.awsconfig.timing import LOCK_LIMIT, Timing
from keyturn.awsconfig.write_target import Target
from keyturn.system import files, lock_owner

_LOG = logging.getLogger(__name__)
#: Network file systems that know no flock.
_LOCK_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)

Mark = tuple[int, int, int, int]
"""Device, inode, size and time of change (ns) of a file: equal marks, equal bytes."""


def mark_of(status: os.stat_result) -> Mark:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class LockNote:
    """What keyturn's processes tell each other about a file."""

    count: int = 0
    """Writes by keyturn so far."""
    first_after_foreign: int = 0
    """The first write of the present unbroken row: somebody else had changed the file before it."""
    own_mark: Mark | None = None
    """The file as the last write left it."""
    contended_at: float = 0.0
    """When somebody else was last seen to have written it, on the wall clock."""


class LockedFile:
    """A lock that is held; its note can be read and written."""

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
        """Whether the file is exactly as keyturn's last write left it."""
        return self.note.own_mark == mark_of(status)

    def record_own_write(self, status: os.stat_result, *, unbroken: bool) -> int:
        """Notes a write, and gives its number.

        :param unbroken: what was edited was as keyturn had left it.
        """
        count = self.note.count + 1
        self.note = replace(
            self.note,
            count=count,
            first_after_foreign=self.note.first_after_foreign if unbroken else count,
            own_mark=mark_of(status),
        )
        # Without the note the next writer waits a little longer, which is no reason to fail after a good write.
        with contextlib.suppress(OSError):
            self._write()
        return count

    def record_foreign_write(self, now: float) -> None:
        """Notes that somebody else has just written the file."""
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
    """Holds the lock of a target.

    :raises FileBusy: another process has it for longer than 10 s; the error names it.
    :raises OSError: our own folder cannot be written to.
    """
    files.private_dir(locks_dir)
    name = hashlib.sha256(target.key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(locks_dir / f"{name}.lock", flags, 0o600)
    try:
        _acquire(descriptor, target, timing)
        yield LockedFile(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, target: Target, timing: Timing) -> None:
    deadline = timing.elapsed() + LOCK_LIMIT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if timing.elapsed() >= deadline:
                raise lock_owner.busy_error(
                    f"writing {target.path}", _owner_pid(descriptor), LOCK_LIMIT
                ) from None
        except OSError as error:
            if error.errno not in _LOCK_UNSUPPORTED:
                raise
            _LOG.warning("no locks on the file system of %s: relying on stable reads alone", target.path)
            return
        timing.sleep(0.002 + 0.010 * timing.jitter())


def _owner_pid(descriptor: int) -> int | None:
    try:
        return int(json.loads(os.pread(descriptor, 4096, 0))["pid"])
    except (ValueError, TypeError, KeyError):
        return None
