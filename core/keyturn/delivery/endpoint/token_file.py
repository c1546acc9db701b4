"""File from which a program reads the token of its endpoint."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from keyturn.agent.listener import private_folder
from keyturn.model.errors import UnsafeFile
from keyturn.model.secret import Secret
from keyturn.storage.raw_paths import state_folder
from keyturn.system.files import create_private, discard

_START, _END = "endpoint-", ".token"
#: Suffix of a file that is still empty and not yet renamed.
_TEMP_SUFFIX = ".new"
#: Seconds. The creator of a younger file may not have locked it yet.
_MIN_AGE_SECONDS = 10.0


class TokenFile:
    """A file with mode 0600 in the state folder. The runtime directory would not do, because it is removed at
    logout. The file is locked before it gets its final name and until its creator exits, so that the next
    start of keyturn can remove files of killed endpoints (:func:`clear`)."""

    def __init__(self, environ: Mapping[str, str], token: Secret) -> None:
        """:raises UnsafeFile: if no folder is available that is private to this user."""
        state = Path(state_folder(environ))
        folder = _folder(state)
        try:
            private_folder(folder)
        except UnsafeFile as error:
            raise UnsafeFile("Could not start the endpoint", error.why, _hint(folder)) from error
        clear(state)
        name = f"{_START}{secrets.token_hex(8)}"
        self.path = folder / f"{name}{_END}"
        temp = folder / f".{name}{_TEMP_SUFFIX}"
        try:
            self._lock = create_private(temp, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            temp.rename(self.path)
            os.write(self._lock, token.reveal().encode("ascii"))
        except OSError as error:
            for path in (temp, self.path):
                discard(path)
            raise UnsafeFile(
                "Could not start the endpoint",
                f"cannot write its token file in {folder}: {error.strerror}",
                _hint(folder),
            ) from error

    def remove(self) -> None:
        """Remove the file. It may already be gone with its folder."""
        discard(self.path)
        os.close(self._lock)


def clear(state: Path) -> None:
    """Remove the files of killed endpoints, never of running ones. Never fails.

    :param state: the state folder.
    """
    with contextlib.suppress(OSError):
        for path in _folder(state).glob(f"{_START}*{_END}"):
            _remove_unlocked(path)
        for path in _folder(state).glob(f".{_START}*{_TEMP_SUFFIX}"):
            if time.time() - path.lstat().st_mtime > _MIN_AGE_SECONDS:
                _remove_unlocked(path)


def _folder(state: Path) -> Path:
    return state / "run"


def _hint(folder: Path) -> str:
    return f"Make {folder} a writable folder that you own (0700), or use --token-env"


def _remove_unlocked(path: Path) -> None:
    """Remove a file whose creator has exited."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)
