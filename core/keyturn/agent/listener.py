"""Acquire the agent's socket: the private folder, the lock file beside the socket, the socket itself."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from keyturn.agent.protocol import RESTART_HINT
from keyturn.model.errors import AgentHangs, UnsafeFile
from keyturn.system.files import open_lock_file, poll_flock, private_dir

_BACKLOG = 512
#: Hint for a socket folder that cannot be used.
_FOLDER_HINT = "Check its permissions, or set XDG_RUNTIME_DIR or KEYTURN_HOME to a folder that you own."


class Listener:
    """A listening socket that this process owns exclusively. The lock is held until the process exits or
    `close` is called, so the next process that acquires the lock knows that the socket it finds is stale."""

    def __init__(self, path: Path, sock: socket.socket, lock: int) -> None:
        self.path = path
        self.sock = sock
        self.lock = lock
        self._identity = _inode(path)

    def is_reachable(self) -> bool:
        """Return True if the socket is still at its path. The folder may have been removed with a login
        session or a sandbox."""
        return self._identity is not None and _inode(self.path) == self._identity

    def withdraw(self) -> None:
        """Stop listening and remove the socket, so that no client can connect. The lock stays held."""
        if self.is_reachable():
            self.path.unlink(missing_ok=True)
        self.sock.close()

    def close(self) -> None:
        """Stop listening and release the lock. A second call does nothing."""
        if self.lock < 0:
            return
        self.withdraw()
        os.close(self.lock)
        self.lock = -1


def add_listener(listener: Listener, path: Path) -> Listener:
    """Bind a second socket in the same folder for the process that holds the lock. A stale socket is
    replaced.

    :raises UnsafeFile: if the folder or the socket is not private to this user.
    """
    private_folder(path.parent)
    return Listener(path, bind(path), os.dup(listener.lock))


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def acquire(path: Path, is_answering: Callable[[Path], bool], seconds: float = 10.0) -> Listener | None:
    """Acquire the lock and bind the socket at `path`, unless another agent answers there.

    :param is_answering: returns True if an agent answers at a path.
    :param seconds: time to wait for another agent that is starting or stopping.
    :returns: the listener, or None if another agent answers.
    :raises UnsafeFile: if the folder or the socket is not private to this user.
    :raises AgentHangs: if another process holds the lock and did not answer in time.
    """
    private_folder(path.parent)
    try:
        lock = open_lock_file(path.with_suffix(".lock"))
    except OSError as error:
        raise UnsafeFile(
            "Could not start the agent",
            f"cannot create a file in {path.parent}: {error.strerror}",
            _FOLDER_HINT,
        ) from error
    try:
        is_answered = False

        def stop_waiting() -> bool:
            nonlocal is_answered
            is_answered = is_answering(path)
            return is_answered

        if poll_flock(lock, seconds, is_pointless=stop_waiting):
            return Listener(path, bind(path), lock)
        if not is_answered:
            raise AgentHangs(
                "Could not start the agent", "another agent is running and does not answer", RESTART_HINT
            )
        os.close(lock)
        return None
    except BaseException:
        os.close(lock)
        raise


def private_folder(folder: Path) -> None:
    """Create `folder` if it does not exist.

    :raises UnsafeFile: unless it is a folder that this user owns and no other user can access.
    """
    try:
        if not folder.exists():
            private_dir(folder)
        status = folder.lstat()
    except OSError as error:
        raise UnsafeFile(
            "Could not start the agent", f"cannot create {folder}: {error.strerror}", _FOLDER_HINT
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise UnsafeFile(
            "Could not start the agent",
            f"{folder} is not a folder that you own",
            "Remove it, or set XDG_RUNTIME_DIR or KEYTURN_HOME to a folder that you own.",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise UnsafeFile(
            "Could not start the agent",
            f"other users can access {folder}",
            f"Check its contents, then run: chmod 700 {folder}",
        )


def bind(path: Path) -> socket.socket:
    """Return a listening socket at `path`. The lock must be held, or the agent there be replaced.

    It replaces the socket at `path` in one step, so that a client finds the old or the new one.
    """
    new = path.with_suffix(".new")
    for place in (path, new):
        with contextlib.suppress(FileNotFoundError):
            status = place.lstat()
            if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
                raise UnsafeFile(
                    "Could not start the agent",
                    f"{place} is not a socket that you own",
                    "Remove it, then try again.",
                )
    new.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        previous_umask = os.umask(0o177)
        try:
            sock.bind(os.fspath(new))
        finally:
            os.umask(previous_umask)
        sock.listen(_BACKLOG)
        sock.settimeout(0)
        new.replace(path)
    except OSError as error:
        sock.close()
        raise UnsafeFile(
            "Could not start the agent",
            f"cannot create a socket at {path}: {error.strerror or error}",
            _FOLDER_HINT,
        ) from error
    return sock
