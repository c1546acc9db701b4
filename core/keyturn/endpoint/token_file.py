"""The file from which a program reads the token of its endpoint."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from keyturn.agent.listener import private_folder
from keyturn.agent.socketpath import state_folder
from keyturn.errors import UnsafeFile
from keyturn.secret import Secret

_START, _END = "endpoint-", ".token"
#: A file without a lock that is younger may be one whose maker is about to lock it.
_SETTLED_SECONDS = 10.0


class TokenFile:
    """A file of its own, 0600, in the state folder, which unlike that of a login's runtime files outlives the login. It is locked for as long as its maker lives, so that the next
    endpoint can take away what a killed one left."""

    def __init__(self, environ: Mapping[str, str], token: Secret) -> None:
        """:raises UnsafeFile: there is no place for it that is this user's alone."""
        folder = Path(state_folder(environ)) / "run"
        try:
            private_folder(folder)
        except UnsafeFile as error:
            raise UnsafeFile("start of the endpoint", error.why, error.hint) from error
        _sweep(folder)
        self.path = folder / f"{_START}{secrets.token_hex(8)}{_END}"
        try:
            self._lock = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.write(self._lock, token.reveal().encode("ascii"))
        except OSError as error:
            self.path.unlink(missing_ok=True)
            why = f"the file of its token cannot be written: {error.strerror}"
            raise UnsafeFile("start of the endpoint", why, f"Look at {folder}") from error

    def remove(self) -> None:
        """Takes it away. A folder that is gone has taken it along."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(self._lock)


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{_START}*{_END}"):
        with contextlib.suppress(OSError):
            left = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if time.time() - os.fstat(left).st_mtime > _SETTLED_SECONDS:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(left)
