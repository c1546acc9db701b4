"""Life cycle of the agent process: harden, detach, open the vault, acquire the socket, serve, exit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from keyturn.agent.listener import acquire, add_listener
from keyturn.agent.protocol import error_line, result_line
from keyturn.agent.rpc_client import is_answering
from keyturn.agent.server import AgentServer, ServicePort
from keyturn.agent.succession import Predecessor, find_predecessor, take_over
from keyturn.agent.wire import REQUEST_LIMIT
from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.secret import Secret
from keyturn.storage.raw_paths import forward_path, socket_path, state_folder
from keyturn.system import log, secret_channel
from keyturn.system.background_process import connect_to_starter, detach, stop_on_signals
from keyturn.system.clock import clock_for

#: Seconds that a locked agent waits for one that it has replaced, because that one holds the identity too.
PREDECESSOR_SECONDS = 8.0

OpenService = Callable[[Mapping[str, str], Secret | None, Secret | None], ServicePort]
"""Opens the vault with a passphrase, a recovery key or, given neither, the system keyring. Raises
KeyturnError."""


def run_agent(open_service: OpenService) -> NoReturn:
    """Run the agent in this process, detached from its parent. Standard input must be the socket of
    :func:`keyturn.system.secret_channel.create`; the secret that opens the vault arrives on the channel
    that replaces it.

    Reads one JSON line, `{"passphrase": ...}`, `{"recovery_key": ...}` or `{}`, and writes one answer line.
    The result is true once the vault is open and an agent answers on the socket (this one or another). Then
    serves until locked.
    """
    connect_to_starter("The agent cannot be started directly. Run: keyturn vault unlock")
    detach()
    log.open_log(Path(state_folder(os.environ)))
    predecessor = None
    try:
        server, predecessor = _open_server(open_service)
    except KeyturnError as error:
        secret_channel.reply(error_line(error))
        os._exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: logged, never shown
        log.record_unexpected(error)
        secret_channel.reply(
            error_line(
                KeyturnError(
                    "Could not start the agent", "Unexpected error", "See keyturn.log in the state folder."
                )
            )
        )
        os._exit(1)
    if server is not None:
        stop_on_signals(server.stop)
    is_told = secret_channel.reply(result_line(result=True))
    # A predecessor's sockets are taken already, so somebody must serve even if the starter is gone.
    if server is None or not (is_told or predecessor is not None):
        os._exit(0)
    secret_channel.disconnect(0, 1, 2)
    if predecessor is not None:
        predecessor.lock()
    try:
        server.serve()
    except Exception as error:  # noqa: BLE001 - the boundary of the process: logged, never shown
        log.record_unexpected(error)
    if predecessor is not None:
        predecessor.wait(PREDECESSOR_SECONDS)
    # Exit without cleanup: the identity is gone with this process's memory at once, regardless of blocked
    # threads. Only then does the kernel close the connection of the client that requested the lock.
    os._exit(0)


def _open_server(open_service: OpenService) -> tuple[AgentServer | None, Predecessor | None]:
    """Return the server, or None if another agent of this build already answers, and the agent of another
    build that it replaces.
    """
    passphrase, recovery_key = _read_unlock_secret()
    service = open_service(os.environ, passphrase, recovery_key)
    path, predecessor = Path(socket_path(os.environ)), None
    taken = take_over(path) if find_predecessor(path) is not None else None
    if taken is not None:
        listener, predecessor = taken
    else:
        acquired = acquire(path, is_answering)
        if acquired is None:
            return None, None
        listener = acquired
    server = AgentServer(
        service,
        listener,
        forward=add_listener(listener, Path(forward_path(os.environ))),
        clock=clock_for(os.environ),
        report=log.record_unexpected,
        paused=predecessor is not None and predecessor.agent.paused,
    )
    return server, predecessor


def _read_unlock_secret() -> tuple[Secret | None, Secret | None]:
    record = secret_channel.read_json_line(REQUEST_LIMIT)
    match record:
        case {"passphrase": str(passphrase)}:
            return Secret(passphrase), None
        case {"recovery_key": str(recovery_key)}:
            return None, Secret(recovery_key)
        case dict() if not record:
            return None, None
        case _:
            raise UsageError("Could not start the agent", "standard input has no passphrase or recovery key")
