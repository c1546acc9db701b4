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
from keyturn.agent.wire import REQUEST_LIMIT
from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.secret import Secret
from keyturn.storage.raw_paths import forward_path, socket_path, state_folder
from keyturn.system import log, secret_channel
from keyturn.system.background_process import connect_to_starter, detach, stop_on_signals
from keyturn.system.clock import clock_for

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
    try:
        server = _open_server(open_service)
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
    if not secret_channel.reply(result_line(result=True)) or server is None:
        os._exit(0)
    secret_channel.disconnect(0, 1, 2)
    try:
        server.serve()
    except Exception as error:  # noqa: BLE001 - the boundary of the process: logged, never shown
        log.record_unexpected(error)
    # Exit without cleanup: the identity is gone with this process's memory at once, regardless of blocked
    # threads. Only then does the kernel close the connection of the client that requested the lock.
    os._exit(0)


def _open_server(open_service: OpenService) -> AgentServer | None:
    """Return the server, or None if another agent already answers."""
    passphrase, recovery_key = _read_unlock_secret()
    service = open_service(os.environ, passphrase, recovery_key)
    listener = acquire(Path(socket_path(os.environ)), is_answering)
    if listener is None:
        return None
    return AgentServer(
        service,
        listener,
        forward=add_listener(listener, Path(forward_path(os.environ))),
        clock=clock_for(os.environ),
        report=log.record_unexpected,
    )


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
