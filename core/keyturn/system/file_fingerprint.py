"""Whether files are as they were when something was made from them, told by their status alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, Self

from keyturn.model.secret import Secret
from keyturn.system.clock import system_clock

#: A file system may note the time of a change in steps, of two seconds at most (FAT). A file that changed less long ago
#: may change once more without a trace, so nothing rests on it yet.
TIMESTAMP_STEP = timedelta(seconds=2)


class Fingerprint(Protocol):
    """What something was made from."""

    def is_unchanged(self) -> bool:
        """Whether all of it is as it was."""
        ...


_Status = tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class FileFingerprint:
    """Files and the status that each of them had, None for one that was not there."""

    statuses: tuple[tuple[str, _Status], ...]
    taken_at: datetime
    """When they were looked at, by the machine's own clock."""

    @classmethod
    def of(cls, paths: Iterable[str]) -> Self:
        """The files as they are now."""
        taken_at = system_clock()
        return cls(tuple((path, _status(path)) for path in paths), taken_at)

    def with_paths(self, paths: Iterable[str]) -> Self:
        """These files and further ones, which are looked at only now and held to the same moment."""
        return replace(self, statuses=(*self.statuses, *((path, _status(path)) for path in paths)))

    def is_unchanged(self) -> bool:
        """Whether all of them are as they were."""
        return all(_status(path) == status for path, status in self.statuses)

    def is_reliable(self) -> bool:
        """Whether none of them changed just before they were seen, or since."""
        newest_allowed = (self.taken_at - TIMESTAMP_STEP).timestamp() * 1e9
        return all(status is None or status[-1] <= newest_allowed for _, status in self.statuses)


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """A credential document that may be given again."""

    document: Secret
    created: datetime
    valid_until: datetime
    """From here on it is made again: its session is due, or it is time to note that the profile is in use."""
    fingerprint: FileFingerprint
    """What it was made from."""

    def is_valid(self, now: datetime) -> bool:
        """Whether making it at `now` would give the same. A clock that was set back says nothing."""
        return self.created <= now < self.valid_until and self.fingerprint.is_unchanged()


def _status(path: str) -> _Status:
    """What changes with the content, the mode or the owner of a file, the time of its change last."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a dozen of them in a tenth of a millisecond
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
