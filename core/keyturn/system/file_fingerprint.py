"""Detection of file changes by stat values (device, inode, size, mtime, ctime), without reading the files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, Self

from keyturn.model.secret import Secret
from keyturn.system.clock import system_clock

#: Largest timestamp granularity of a file system (FAT). A file that changed less than this before a stat may
#: change again with the same timestamp, so its fingerprint is not reliable.
TIMESTAMP_STEP = timedelta(seconds=2)


class Fingerprint(Protocol):
    """State of the sources of a cached item."""

    def is_unchanged(self) -> bool:
        """Return True if no source has changed."""


_Status = tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class FileFingerprint:
    """Stat values of files at one time; None for a file that did not exist."""

    statuses: tuple[tuple[str, _Status], ...]
    taken_at: datetime
    """Time of the first stat, by the system clock."""

    @classmethod
    def of(cls, paths: Iterable[str]) -> Self:
        """Return the fingerprint of the files as they are now."""
        taken_at = system_clock()
        return cls(tuple((path, _status(path)) for path in paths), taken_at)

    def with_paths(self, paths: Iterable[str]) -> Self:
        """Return a copy with further files, which are examined now but keep the original `taken_at`."""
        return replace(self, statuses=(*self.statuses, *((path, _status(path)) for path in paths)))

    def is_unchanged(self) -> bool:
        """Return True if no file has changed since."""
        return all(_status(path) == status for path, status in self.statuses)

    def is_reliable(self) -> bool:
        """Return True if all files were last changed at least :data:`TIMESTAMP_STEP` before `taken_at`."""
        newest_allowed = (self.taken_at - TIMESTAMP_STEP).timestamp() * 1e9
        return all(status is None or status[-1] <= newest_allowed for _, status in self.statuses)


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """A credential document that can be returned again."""

    document: Secret
    created: datetime
    valid_until: datetime
    """End of validity: the session is due for renewal, or the last use of the profile must be recorded again.
    """
    fingerprint: FileFingerprint
    """Files from which it was created."""

    def is_valid(self, now: datetime) -> bool:
        """Return True if the document is still current at `now`. A time before `created` is not valid,
        because the clock was set back.
        """
        return self.created <= now < self.valid_until and self.fingerprint.is_unchanged()


def _status(path: str) -> _Status:
    """Return values that change with the content, mode or owner of a file, ctime last."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a dozen of them in a tenth of a millisecond
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
