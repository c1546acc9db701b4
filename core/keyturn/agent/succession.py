"""Replace a running agent of another build of keyturn with this process.

The successor has opened the vault before it begins. It binds its sockets under other names and moves them
over those of its predecessor, so that a client reaches one of the two at every moment. Then it locks the
predecessor, which finishes what it is doing (:attr:`keyturn.agent.server.Limits.shutdown_seconds`) and exits.
A client whose connection ends without an answer asks again, and reaches the successor.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from keyturn.agent.listener import Listener, bind, private_folder
from keyturn.agent.protocol import Agent, request_line
from keyturn.agent.rpc_client import NoAgent, connect, find_agent
from keyturn.system.files import open_lock_file, poll_flock

#: Seconds to wait for another process that replaces the same agent.
_TURN_SECONDS = 10.0
#: Seconds after which a predecessor is left alone. It may be saving a secret, which takes no longer.
_EXIT_SECONDS = 60.0


class Predecessor:
    """An agent whose sockets this process has taken over."""

    def __init__(self, agent: Agent, connection: int, lock: int) -> None:
        self.agent = agent
        self._connection = connection
        self._thread = threading.Thread(target=self._wait_for_exit, args=(lock,), daemon=True)

    def lock(self) -> None:
        """Lock it. Its place as the owner of the lock file is taken when it has exited."""
        with contextlib.suppress(OSError):
            os.write(self._connection, request_line("lock"))
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until it has exited, for at most `seconds`, because it holds the identity until then."""
        self._thread.join(seconds)

    def _wait_for_exit(self, lock: int) -> None:
        with contextlib.suppress(OSError):
            poll_flock(lock, _EXIT_SECONDS)
        os.close(self._connection)


def find_predecessor(path: Path) -> Agent | None:
    """Return the agent of another build that answers at `path`, or None."""
    agent = find_agent(path)
    return None if agent is None or agent.is_current else agent


def take_over(path: Path) -> tuple[Listener, Predecessor] | None:
    """Take over the socket at `path` from an agent of another build.

    :returns: None if there is no such agent any more.
    :raises UnsafeFile: if the folder or the socket is not private to this user.
    """
    private_folder(path.parent)
    turn = open_lock_file(path.with_suffix(".turn"))
    try:
        poll_flock(turn, _TURN_SECONDS)
        agent = find_predecessor(path)
        if agent is None:
            return None
        try:
            with contextlib.closing(connect(str(path), 1.0)) as connected:
                connection = os.dup(connected.fileno())
        except (NoAgent, TimeoutError):
            return None
        lock = open_lock_file(path.with_suffix(".lock"))
        listener = Listener(path, bind(path), lock)
        return listener, Predecessor(agent, connection, lock)
    finally:
        os.close(turn)
