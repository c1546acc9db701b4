"""Activity log: one JSON line per operation, kept for 30 days, without secrets."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from keyturn.model.errors import KeyturnError
from keyturn.model.file_limits import MAX_OWN_BYTES
from keyturn.model.redaction import redacted
from keyturn.model.text import from_iso, iso, safe
from keyturn.system import files

RETENTION = timedelta(days=30)
#: Size in bytes above which old entries are pruned. Below it an entry costs one append.
MAX_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class ActivityEntry:
    """One line of the log."""

    at: datetime
    profile: str
    event: str
    result: str
    ok: bool


class ActivityLog:
    """`activity.jsonl` of a state folder: mode 0600, append-only except for pruning."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, entry: ActivityEntry) -> None:
        """Append an entry. An unwritable log is ignored, because it must not fail the operation that it
        records.
        """
        self.add_all([entry])

    def add_all(self, entries: Sequence[ActivityEntry]) -> None:
        """Append several entries at once, as :meth:`add` does."""
        if not entries:
            return
        lines = b"".join([_line(entry) for entry in entries])
        with contextlib.suppress(OSError, KeyturnError):
            files.append(self.path, lines, make_room=lambda size: self._prune(size, entries[-1].at))

    def read(self) -> Iterator[ActivityEntry]:
        """Yield all entries, oldest first. Invalid lines are skipped."""
        for line in self._lines():
            entry = _decode(line)
            if entry is not None:
                yield entry

    def _lines(self) -> list[bytes]:
        """Return the lines, each with its end. Of a file that is too long only the last ones are read."""
        try:
            with self.path.open("rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - MAX_OWN_BYTES)
                file.seek(start)
                lines = file.read(MAX_OWN_BYTES).splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return lines[1:] if start else lines

    def _prune(self, size: int, now: datetime) -> None:
        if size <= MAX_SIZE:
            return
        recent = [line for line in self._lines() if (entry := _decode(line)) and now - entry.at < RETENTION]
        files.replace(self.path, b"".join(recent))


def _line(entry: ActivityEntry) -> bytes:
    table = {
        "at": iso(entry.at), "profile": entry.profile, "event": entry.event,
        "result": safe(redacted(entry.result)), "ok": entry.ok
    }  # fmt: skip
    return (json.dumps(table, ensure_ascii=True) + "\n").encode("ascii")


def _decode(line: bytes) -> ActivityEntry | None:
    try:
        table = json.loads(line)
        at = from_iso(table["at"])
        profile, event, result = (str(table[name]) for name in ("profile", "event", "result"))
        return ActivityEntry(at, profile, event, result, bool(table["ok"])) if at else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
