"""Replace running agents of another build of keyturn with this process.

Nothing of a predecessor is touched until the successor has opened the vault, bound its sockets under names of
their own, and told its starter, which from then on does not kill it. Then :meth:`Succession.begin` moves the
main socket over that of the predecessor, which is one step that succeeds or changes nothing, and a client
reaches one of the two at every moment. What follows may fail without harm: the server restores the forwarded
socket, and a predecessor that cannot be told to lock exits when it finds its socket replaced.

A predecessor finishes what it is doing (:attr:`keyturn.agent.server.Limits.shutdown_seconds`) and exits. A
client whose connection ends without an answer asks again, and reaches the successor.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.agent.listener import Listener, acquire, open_lock, place_of, prepare
from keyturn.agent.protocol import RESTART_HINT, Agent, request_line
from keyturn.agent.rpc_client import NoAgent, await_agent, connect
from keyturn.model.errors import AgentHangs, KeyturnError

if TYPE_CHECKING:
    import _socket

#: Seconds to wait for the status of an agent that accepts connections. On a busy machine it answers late.
_STATUS_SECONDS = 10.0
#: Attempts to find out which agents run, while other processes start and stop them.
_ATTEMPTS = 5


class Succession:
    """The sockets of an agent that is about to serve, and the agents that it replaces."""

    def __init__(self, listener: Listener, forward: Listener, predecessors: dict[Path, Agent]) -> None:
        self.listener = listener
        self.forward = forward
        self.predecessors = predecessors
        self._connections: list[_socket.socket] = []

    @property
    def paused(self) -> bool:
        """Return True if auto-renewal was paused in a predecessor."""
        return any(agent.paused for agent in self.predecessors.values())

    def begin(self) -> bool:
        """Take over the sockets.

        :returns: False if another process did so meanwhile. Nothing has changed then.
        :raises UnsafeFile: if the main socket cannot be moved. Nothing has changed then.
        """
        # A connection made now leads to the predecessor, whose socket has no name afterwards.
        for path in self.predecessors:
            with contextlib.suppress(NoAgent, TimeoutError):
                self._connections.append(connect(str(path), 1.0))
        if not self.listener.publish():
            return False
        with contextlib.suppress(KeyturnError):  # the server restores it
            self.forward.publish()
        return True

    def lock_predecessors(self) -> None:
        """Lock the replaced agents."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.settimeout(1.0)
                connection.sendall(request_line("lock"))

    def wait(self, seconds: float) -> None:
        """Wait until the replaced agents have exited, for at most `seconds`, because they hold the identity
        until then."""
        deadline = time.monotonic() + seconds
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                while connection.recv(4096):
                    connection.settimeout(max(0.001, deadline - time.monotonic()))

    def close(self) -> None:
        """Release the sockets and the lock."""
        for listener in (self.forward, self.listener):
            listener.close()
        for connection in self._connections:
            connection.close()


def prepare_succession(sockets: Sequence[Path], forward: Path) -> Succession | None:
    """Prepare to serve at the first of `sockets`, in place of agents of another build at any of them.

    :param forward: path of the forwarded socket.
    :returns: None if an agent of this build answers.
    :raises UnsafeFile: if the folder or the socket is not private to this user.
    :raises AgentHangs: if an agent does not respond.
    """
    path = sockets[0]
    for _ in range(_ATTEMPTS):
        replaces = place_of(path)
        agents = find_agents(sockets)
        if any(agent.is_current for agent in agents.values()):
            return None
        if path in agents:
            # It need not own the lock, if it has replaced another one that has not exited.
            listener = prepare(path, open_lock(path), replaces)
            listener.lock_when_free()
        else:
            acquired = acquire(path, _is_answering)
            if acquired is None:
                continue  # an agent of this or another build has just begun to answer
            listener = acquired
        try:
            return Succession(listener, prepare(forward, os.dup(listener.lock), place_of(forward)), agents)
        except BaseException:
            listener.close()
            raise
    raise AgentHangs("Could not start the agent", "other agents start and stop at once", RESTART_HINT)


def find_agents(sockets: Sequence[Path]) -> dict[Path, Agent]:
    """Return the agents that run at any of `sockets`.

    :raises AgentHangs: if one does not respond.
    """
    found = {path: await_agent(path, _STATUS_SECONDS) for path in sockets}
    return {path: agent for path, agent in found.items() if agent is not None}


def _is_answering(path: Path) -> bool:
    return await_agent(path, _STATUS_SECONDS) is not None
