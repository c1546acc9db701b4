"""Recovery at startup from processes that were killed. It needs no vault."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from keyturn.delivery.endpoint import token_file
from keyturn.model.errors import KeyturnError
from keyturn.model.text import safe
from keyturn.operations import deliver
from keyturn.operations.context import Context
from keyturn.storage.activity import ActivityEntry
from keyturn.storage.history import History
from keyturn.system import temp_files
from keyturn.system.clock import system_clock
from keyturn.system.open_files import is_being_written
from keyturn.system.shared_file import Version, open_version


def recover(context: Context) -> tuple[str, ...]:
    """Delete temporary files of killed processes and token files of killed endpoints. Withdraw expired
    sessions from the credentials file.

    :returns: the profiles whose sessions were withdrawn.
    """
    now = system_clock().timestamp()
    temp_files.remove_abandoned(context.paths.own_folders(), context.paths.data_dir, now)
    token_file.clear(context.paths.state_dir)
    history = History(context.paths.history_dir, context.vault.seal, context.clock)
    clear_versions(context.paths.shared_files(), history, now, partial(_log_once, context))
    return deliver.withdraw_expired(context)


def _log_once(context: Context, file: Path, message: str) -> None:
    """Add a recovery event to the activity log if it is not there yet, because a file that remains is found
    at every start.
    """
    if not any(
        entry.event == "recover" and entry.result == safe(message) for entry in context.activity.read()
    ):
        context.activity.add(
            ActivityEntry(context.clock(), context.paths.display(file), "recover", message, ok=False)
        )


Report = Callable[[Path, str], None]
"""Callback that receives the shared file a version belongs to, and a message."""


def clear_versions(files: Iterable[Path], history: History, now: float, report: Report) -> None:
    """Delete leftover versions beside `files`, once their content is in one of them or in the history. Never
    raises.

    A version that cannot be saved is left in place and reported.

    :param now: seconds since the epoch, in the file system's clock.
    """
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(Path(os.path.realpath(file)).parent, []).append(file)
    for folder, originals in sorted(folders.items()):
        for path in temp_files.find_abandoned(folder, temp_files.SHARED_FILE, now):
            try:
                _clear_version(path, originals, history, report)
            except (OSError, KeyturnError) as error:
                why = error.line() if isinstance(error, KeyturnError) else error.strerror or "unknown reason"
                report(
                    originals[0],
                    f"an interrupted write left {path}, which could not be saved to the history: {why}",
                )


def _clear_version(path: Path, originals: list[Path], history: History, report: Report) -> None:
    version = open_version(path)
    try:
        if version.data is None or is_being_written(version.descriptor):
            return
        if version.data and not _is_preserved(version.data, originals, history):
            owner = _probable_owner(version, originals)
            history.keep(owner, version.data, "left by an interrupted write")
            digest = hashlib.sha256(version.data).hexdigest()[:12]
            report(
                owner,
                "an interrupted write left a version, perhaps another program's; saved to the "
                f"history as {digest}",
            )
    finally:
        version.close()
    path.unlink(missing_ok=True)


def _is_preserved(data: bytes, originals: list[Path], history: History) -> bool:
    return any(_read_bytes(file) == data for file in originals) or history.holds(data)


def _read_bytes(file: Path) -> bytes | None:
    """Return the content of a file, links resolved; None if it does not exist."""
    version = open_version(Path(os.path.realpath(file)))
    version.close()
    return version.data


def _probable_owner(version: Version, originals: list[Path]) -> Path:
    """Return the shared file that contains most of the version's lines."""
    lines = set((version.data or b"").splitlines())
    return max(originals, key=lambda file: len(lines & set((_read_bytes(file) or b"").splitlines())))
