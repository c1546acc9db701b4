"""Acquire the agent's socket: the private folder, the lock file beside the socket, the socket itself."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from keyturn.agent.protocol import RESTART_HINT
from keyturn.model.errors import AgentHangs, UnsafeFile
from keyturn.system.files import open_lock_file, poll_flock, private_dir

Place = tuple[int, int, int]

_BACKLOG = 512
#: Seconds to wait for another process that moves or removes the same socket, which takes it microseconds.
_TURN_SECONDS = 2.0
_numbers = itertools.count()
#: Hint for a socket folder that cannot be used.
_FOLDER_HINT = "Check its permissions, or set XDG_RUNTIME_DIR or KEYTURN_HOME to a folder that you own."


class Listener:
    """A listening socket of this process, made by :func:`prepare` under a name of its own, until
    :meth:`publish` moves it to its path.

    `lock` is an open lock file. It stays locked until the process exits or `close` is called, so the next
    process that acquires the lock knows that the socket it finds is stale.
    """

    def __init__(
        self, path: Path, sock: socket.socket, lock: int, name: Path, replaces: Place | None
    ) -> None:
        self.path = path
        self.sock = sock
        self.lock = lock
        self._name = name
        self._replaces = replaces
        self._inode = _inode(name)

    def publish(self) -> bool:
        """Move the socket to its path in one step, so that a client finds the old or the new one.

        :returns: False if another process has put its own socket there since `replaces` was looked up.
        :raises UnsafeFile: if it cannot be moved. What was at the path is still there.
        """
        try:
            with _turn(self.path) as is_ours:
                if not is_ours or place_of(self.path) not in (self._replaces, None):
                    return False
                self._name.replace(self.path)
        except OSError as error:
            raise _no_socket(self.path, error) from error
        self._name = self.path
        return True

    def is_reachable(self) -> bool:
        """Return True if the socket is still at its path. The folder may have been removed with a login
        session or a sandbox."""
        return self._inode is not None and _inode(self.path) == self._inode

    def is_missing(self) -> bool:
        """Return True if nothing is at the path any more."""
        return self._inode is not None and _inode(self.path) is None

    def restored(self) -> Listener:
        """Return another listener for a path at which nothing is any more.

        :raises UnsafeFile: if the folder or the socket is not private to this user.
        """
        listener = prepare(self.path, os.dup(self.lock), None)
        try:
            is_published = listener.publish()
        except BaseException:
            listener.close()
            raise
        if not is_published:
            listener.close()
            raise UnsafeFile("Agent's socket", f"{self.path} is taken", "")
        return listener

    def withdraw(self) -> None:
        """Stop listening and remove the socket, so that no client can connect. The lock stays held. A socket
        that cannot be removed is harmless: nothing listens on it. A second call does nothing."""
        if self._inode is None:
            return
        with contextlib.suppress(OSError):
            if self._name != self.path:
                self._name.unlink(missing_ok=True)
            else:
                # A successor must not put its socket there between the check and the removal.
                with _turn(self.path) as is_ours:
                    if is_ours and self.is_reachable():
                        self.path.unlink(missing_ok=True)
        self._inode = None  # the inode may be used again once the socket is closed
        self.sock.close()

    def lock_when_free(self) -> None:
        """Take the lock as soon as its owner, a predecessor, releases it. Return at once."""
        threading.Thread(target=_lock_when_free, args=(os.dup(self.lock),), daemon=True).start()

    def close(self) -> None:
        """Stop listening and release the lock. A second call does nothing."""
        if self.lock < 0:
            return
        self.withdraw()
        os.close(self.lock)
        self.lock = -1


def _lock_when_free(lock: int) -> None:
    """Lock a duplicate of the descriptor, which locks the file for the original one too."""
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.close(lock)


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[bool]:
    """Hold the lock under which the socket at `path` is moved or removed. Yield False if another process
    holds it, which happens only if that one was stopped in the middle.

    :raises OSError: if the lock file cannot be opened.
    """
    handle = open_lock_file(path.with_suffix(".turn"))
    try:
        yield poll_flock(handle, _TURN_SECONDS)
    finally:
        os.close(handle)


def place_of(path: Path) -> Place | None:
    """Return what identifies the file at `path` now, or None if there is none. An inode alone is used again
    for a later file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def _inode(path: Path) -> tuple[int, int] | None:
    place = place_of(path)
    return None if place is None else place[:2]


def acquire(path: Path, is_answering: Callable[[Path], bool], seconds: float = 10.0) -> Listener | None:
    """Acquire the lock and prepare a listener for `path`, unless another agent answers there.

    :param is_answering: returns True if an agent answers at a path.
    :param seconds: time to wait for another agent that is starting or stopping.
    :returns: the listener, or None if another agent answers, whether or not it holds the lock.
    :raises UnsafeFile: if the folder or the socket is not private to this user.
    :raises AgentHangs: if another process holds the lock and did not answer in time.
    """
    lock = open_lock(path)
    try:
        is_answered = False

        def stop_waiting() -> bool:
            nonlocal is_answered
            is_answered = is_answering(path)
            return is_answered

        is_locked = poll_flock(lock, seconds, is_pointless=stop_waiting)
        stale = place_of(path)
        if not is_locked and not is_answered:
            raise AgentHangs(
                "Could not start the agent", "another agent is running and does not answer", RESTART_HINT
            )
        # A successor may serve without the lock, while its predecessor has just exited.
        is_answered = is_answered or is_answering(path)
    except BaseException:
        os.close(lock)
        raise
    if is_answered:
        os.close(lock)
        return None
    return prepare(path, lock, stale)


def open_lock(path: Path) -> int:
    """Return the open lock file of the socket at `path`, unlocked.

    :raises UnsafeFile: if its folder is not private to this user, or cannot be written.
    """
    private_folder(path.parent)
    try:
        return open_lock_file(path.with_suffix(".lock"))
    except OSError as error:
        raise UnsafeFile(
            "Could not start the agent",
            f"cannot create a file in {path.parent}: {error.strerror}",
            _FOLDER_HINT,
        ) from error


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


def prepare(path: Path, lock: int, replaces: Place | None) -> Listener:
    """Return a listener for `path` that no client finds yet. It takes `lock` over, and closes it on an error.

    :param replaces: the file at `path` that :meth:`Listener.publish` may replace, see :func:`place_of`.
    :raises UnsafeFile: if the folder or the socket is not private to this user.
    """
    try:
        private_folder(path.parent)
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
                raise UnsafeFile(
                    "Could not start the agent",
                    f"{path} is not a socket that you own",
                    "Remove it, then try again.",
                )
        _remove_leftovers(path.parent)
        # No longer than the name of the socket for forwarding, so that it fits where that does.
        name = path.with_name(f"{os.getpid():x}-{next(_numbers):x}.new")
        return Listener(path, _listen(name, path), lock, name, replaces)
    except BaseException:
        os.close(lock)
        raise


def _listen(name: Path, path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        previous_umask = os.umask(0o177)
        try:
            sock.bind(os.fspath(name))
        finally:
            os.umask(previous_umask)
        sock.listen(_BACKLOG)
        sock.settimeout(0)
    except OSError as error:
        sock.close()
        raise _no_socket(path, error) from error
    return sock


def _remove_leftovers(folder: Path) -> None:
    """Remove the sockets of processes that were killed before they published them."""
    for name in folder.glob("*-*.new"):
        with contextlib.suppress(ValueError, OSError):
            pid = int(name.name.partition("-")[0], 16)
            if pid > 0 and not _is_running(pid) and stat.S_ISSOCK(name.lstat().st_mode):
                name.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _no_socket(path: Path, error: OSError) -> UnsafeFile:
    return UnsafeFile(
        "Could not start the agent",
        f"cannot create a socket at {path}: {error.strerror or error}",
        _FOLDER_HINT,
    )
