"""Ending the agent from another process: asked, and by force where it no longer listens."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.agent.client import HEARTBEAT_SECONDS, NoAgent, connect, read_line
from keyturn.agent.protocol import parse_answer, request_line
from keyturn.model.errors import AgentHangs
from keyturn.system.unix_peer import peer_pid

if TYPE_CHECKING:
    import _socket


def lock(socket: Path, timeout: float = 10.0) -> bool:
    """End the agent at `socket` and wait until its process is gone, and the identity with it.

    One whose loop does not even take the request is killed: locking is a promise, and what a killed agent was writing is
    whole. One that took it is left the time to end the acts under way.

    :returns: False if there was none.
    :raises AgentHangs: it took the request and did not end within `timeout` seconds, or it cannot be killed from here.
    """
    deadline = time.monotonic() + timeout
    try:
        connection = connect(str(socket), timeout)
    except NoAgent:
        return False
    try:
        connection.sendall(request_line("lock"))
        try:
            parse_answer(read_line(connection, min(deadline, time.monotonic() + HEARTBEAT_SECONDS)))
        except TimeoutError:
            _kill(connection)
        _wait_for_exit(connection, deadline)
    except TimeoutError as error:
        pid = peer_pid(connection)
        raise AgentHangs(
            "locking",
            f"the agent did not end within {timeout:g} s",
            f"Try again, or run: kill -9 {pid}" if pid else "Try again, or end its process",
        ) from error
    except (OSError, NoAgent):
        return True
    finally:
        connection.close()
    return True


def _kill(connection: _socket.socket) -> None:
    """Kill the process at the other end.

    :raises TimeoutError: it is not known which that is.
    :raises OSError: it is gone, or the system forbids it.
    """
    pid = peer_pid(connection)
    if pid is None:
        raise TimeoutError
    pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    try:
        # While the connection is open its process lives, so its number is nobody else's, and the descriptor is its own.
        connection.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            connection.recv(4096)
            return
        if pidfd is None:
            os.kill(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _wait_for_exit(connection: _socket.socket, deadline: float) -> None:
    """Until the kernel closes the other end, which it does after it took the process's memory away."""
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        if not connection.recv(4096):
            return
