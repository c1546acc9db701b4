"""Stop the agent from another process: with a lock request, or with SIGKILL if it no longer responds."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from keyturn.agent.protocol import parse_answer, request_line
from keyturn.agent.rpc_client import HEARTBEAT_SECONDS, NoAgent, connect, read_line
from keyturn.model.errors import AgentHangs
from keyturn.system.unix_peer import peer_pid

if TYPE_CHECKING:
    import _socket


def lock_all(sockets: Iterable[Path], timeout: float = 10.0) -> bool:
    """Stop the agents at all `sockets`, as :func:`lock` does. One that cannot be stopped does not keep the
    others from being stopped.

    :returns: False if no agent was running.
    :raises AgentHangs: as :func:`lock`, for the first of them.
    """
    stopped, errors = False, list[AgentHangs]()
    for socket in sockets:
        try:
            stopped |= lock(socket, timeout)
        except AgentHangs as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return stopped


def lock(socket: Path, timeout: float = 10.0) -> bool:
    """Stop the agent at `socket` and wait until its process has exited. The identity is gone with its memory.

    An agent whose event loop does not answer the request is killed, because `lock` must not fail silently;
    files that it was writing stay intact, because writes are atomic. An agent that accepted the request gets
    time to finish the operations in progress.

    :returns: False if no agent was running.
    :raises AgentHangs: if the agent accepted the request but did not exit within `timeout` seconds, or cannot
        be killed.
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
            "Could not stop the agent",
            f"it did not exit within {timeout:g} s",
            f"Try again, or run: kill -9 {pid}" if pid else "Try again, or kill its process",
        ) from error
    except (OSError, NoAgent):
        return True
    finally:
        connection.close()
    return True


def _kill(connection: _socket.socket) -> None:
    """Kill the process at the other end of `connection`.

    :raises TimeoutError: if its process id is unknown.
    :raises OSError: if it has exited or the system forbids the signal.
    """
    pid = peer_pid(connection)
    if pid is None:
        raise TimeoutError
    pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    try:
        # The process is alive while the connection is open, so its id cannot have been reused and the pidfd
        # is its own.
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
    """Wait until the kernel closes the other end, which happens after the process's memory is released."""
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        if not connection.recv(4096):
            return
