"""Versions of the shared files that writers of keyturn left beside them when they were killed.

Such a file may be ours, before it took its place; what we replaced, which the history has; or what another program saved
in the moment between, which then is nowhere else. So none is removed before its bytes are known to be kept.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from keyturn import leftovers
from keyturn.awsfiles.version import Version, opened
from keyturn.awsfiles.writers import is_being_written
from keyturn.errors import KeyturnError
from keyturn.history import History

Tell = Callable[[Path, str], None]
"""Gets the shared file that a version belongs to, and what became of it."""


def clear(files: Iterable[Path], history: History, now: float, tell: Tell) -> None:
    """Removes what is left beside `files`, once it is in one of them or in the history. Never fails.

    What could not be kept stays where it is, and `tell` is told.

    :param now: seconds since the epoch, as the file system counts them.
    """
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(Path(os.path.realpath(file)).parent, []).append(file)
    for folder, beside in sorted(folders.items()):
        for path in leftovers.left_in(folder, leftovers.SHARED_FILE, stat.S_ISREG, now):
            try:
                _clear(path, beside, history, tell)
            except (OSError, KeyturnError) as error:
                why = error.line() if isinstance(error, KeyturnError) else error.strerror or "no reason given"
                tell(beside[0], f"a version of it that a killed write left stays as {path}: {why}")


def _clear(path: Path, beside: list[Path], history: History, tell: Tell) -> None:
    version = opened(path)
    try:
        if version.data is None or is_being_written(version.descriptor):
            return
        if version.data and not _is_known(version.data, beside, history):
            of = _belongs_to(version, beside)
            history.keep(of, version.data, "left by a killed write")
            digest = hashlib.sha256(version.data).hexdigest()[:12]
            told = f"a version of it that a killed write left, perhaps another program's, is in the history as {digest}"
            tell(of, told)
    finally:
        version.close()
    path.unlink(missing_ok=True)


def _is_known(data: bytes, beside: list[Path], history: History) -> bool:
    return any(_bytes(file) == data for file in beside) or history.holds(data)


def _bytes(file: Path) -> bytes | None:
    """The bytes of a file as it is, through its links; None where there is none."""
    version = opened(Path(os.path.realpath(file)))
    version.close()
    return version.data


def _belongs_to(version: Version, beside: list[Path]) -> Path:
    """The file whose version it is, as far as that shows: the one that most of its lines are in."""
    lines = set((version.data or b"").splitlines())
    return max(beside, key=lambda file: len(lines & set((_bytes(file) or b"").splitlines())))
