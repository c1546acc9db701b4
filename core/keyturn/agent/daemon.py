"""Life cycle of the agent process: harden, detach, open the vault, acquire the socket, serve, exit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

from keyturn.agent.build import build
from keyturn.agent.protocol import error_line, result_line
from keyturn.agent.server import AgentServer, ServicePort
from keyturn.agent.succession import Succession, prepare_succession
from keyturn.agent.wire import REQUEST_LIMIT
from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.secret import Secret
from keyturn.storage.raw_paths import forward_path, socket_paths, state_folder
from keyturn.system import log, secret_channel
from keyturn.system.background_process import connect_to_starter, detach, stop_on_signals
from keyturn.system.clock import clock_for

#: Seconds that a locked agent waits for one that it has replaced, because that one holds the identity too.
PREDECESSOR_SECONDS = 8.0
#: Seconds to wait for the starter to read the reply. It does so at once unless it was stopped.
STARTER_SECONDS = 10.0

Result = TypeVar("Result")

OpenService = Callable[[Mapping[str, str], Secret | None, Secret | None], ServicePort]
"""Opens the vault with a passphrase, a recovery key or, given neither, the system keyring. Raises
KeyturnError."""


def run_agent(open_service: OpenService) -> NoReturn:
    """Run the agent in this process, detached from its parent. Standard input must be the socket of
    :func:`keyturn.system.secret_channel.create`; the secret that opens the vault arrives on the channel
    that replaces it.

    Reads one JSON line, `{"passphrase": ...}`, `{"recovery_key": ...}` or `{}`, and writes one answer line.
    The result is true once the vault is open and all is prepared. The starter closes its side when it has
    read that. Only then, when it no longer kills this process, are the sockets taken, on which an agent of
    another build may be serving. Then the channel is closed, after a second line if that failed, and the
    agent serves until locked.
    """
    connect_to_starter("The agent cannot be started directly. Run: keyturn vault unlock")
    detach()
    build()  # before an upgrade can replace the files
    log.open_log(Path(state_folder(os.environ)))
    server, succession = _answered(lambda: _open_server(open_service)) or (None, None)
    is_told = secret_channel.reply(result_line(result=True))
    if server is None or succession is None or not is_told:
        _give_up(succession)
    stop_on_signals(server.stop)
    secret_channel.wait_for_end(STARTER_SECONDS)
    if not _answered(succession.begin):
        _give_up(succession)  # another successor serves
    secret_channel.disconnect(0, 1, 2)
    succession.lock_predecessors()
    try:
        server.serve()
    except Exception as error:  # noqa: BLE001 - the boundary of the process: logged, never shown
        log.record_unexpected(error)
    succession.wait(PREDECESSOR_SECONDS)
    # Exit without cleanup: the identity is gone with this process's memory at once, regardless of blocked
    # threads. Only then does the kernel close the connection of the client that requested the lock.
    os._exit(0)


def _answered(step: Callable[[], Result]) -> Result:
    """Return the result of `step`, or answer its error and exit."""
    try:
        return step()
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


def _give_up(succession: Succession | None) -> NoReturn:
    if succession is not None:
        succession.close()
    os._exit(0)


def _open_server(open_service: OpenService) -> tuple[AgentServer, Succession] | None:
    """Return the server and its sockets, or None if another agent of this build already answers."""
    passphrase, recovery_key = _read_unlock_secret()
    service = open_service(os.environ, passphrase, recovery_key)
    sockets = [Path(path) for path in socket_paths(os.environ)]
    succession = prepare_succession(sockets, Path(forward_path(os.environ)))
    if succession is None:
        return None
    server = AgentServer(
        service,
        succession.listener,
        forward=succession.forward,
        clock=clock_for(os.environ),
        report=log.record_unexpected,
        paused=succession.paused,
    )
    return server, succession


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
