"""Life cycle of the endpoint process: harden, watch the program, detach, serve, exit together with the
program."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from keyturn.agent.protocol import error_line, result_line
from keyturn.agent.wire import REQUEST_LIMIT
from keyturn.delivery.endpoint import http
from keyturn.delivery.endpoint.credential_source import ServiceCredentialSource, ServicePort
from keyturn.delivery.endpoint.http import EndpointAddress
from keyturn.delivery.endpoint.server import EndpointServer, listen
from keyturn.delivery.endpoint.token_file import TokenFile
from keyturn.model.errors import KeyturnError
from keyturn.model.secret import Secret
from keyturn.storage.raw_paths import state_folder
from keyturn.system import log, process_watch, secret_channel
from keyturn.system.background_process import connect_to_starter, detach, stop_on_signals
from keyturn.system.clock import clock_for
from keyturn.system.tcp_peer import IS_SUPPORTED, caller_uid

OpenService = Callable[[Mapping[str, str]], ServicePort]
"""Returns the service for an environment."""


@dataclass(frozen=True, slots=True)
class _StartRequest:
    profile: str
    pid: int
    """Process id of the starter, which then executes the program."""
    in_file: bool
    """True if the token is written to a file."""
    first: str = field(repr=False)
    """Document of the session that was obtained before."""


def run_endpoint(open_service: OpenService) -> NoReturn:
    """Run the endpoint in this process, for the process that started it and the program that it becomes.
    Standard input must be the socket of :func:`keyturn.system.secret_channel.create`.

    Reads one JSON line, `{"profile": ..., "pid": ..., "in_file": ..., "first": ...}`, and writes one answer
    line. Its result has `url` and either `token` or `token_file`. A further byte on the channel stops the
    endpoint.
    """
    connect_to_starter("The endpoint cannot be started directly. Run: keyturn exec PROFILE --endpoint")
    request = _read_request()
    # The parent id changes when the parent exits.
    if request is None or os.getppid() != request.pid:
        os._exit(1)
    # The program must not get a child that it did not start. The session that the starter created has no
    # terminal, so Ctrl-C there stops the program and not the endpoint.
    detach()
    log.open_log(Path(state_folder(os.environ)))
    _run(request, open_service)
    # Exit even if a thread still waits for AWS.
    os._exit(0)


def _read_request() -> _StartRequest | None:
    match secret_channel.read_json_line(REQUEST_LIMIT):
        case {"profile": str(profile), "pid": int(pid), "in_file": bool(in_file), "first": str(first)}:
            return _StartRequest(profile, pid, in_file, first)
        case _:
            return None


def _run(request: _StartRequest, open_service: OpenService) -> None:
    file: TokenFile | None = None
    try:
        watch = process_watch.watch_process(request.pid)
        # The starter has not executed the program yet and holds the other end of the socket as long as it
        # lives. If it lives now, it also lived when its process id was looked up, so the id had not been
        # reused.
        if watch is None or not _is_starter_there():
            return
        address, server = _server(request, open_service)
        stop_on_signals(server.stop)
        server.ends_when_readable(watch)
        server.ends_when_readable(sys.stdin.buffer, _is_end_requested)
        file = TokenFile(os.environ, address.token) if request.in_file else None
        token_fields = {"token_file": str(file.path)} if file else {"token": address.token.reveal()}
        if secret_channel.reply(result_line({"url": address.url().reveal(), **token_fields})):
            server.serve()
    except KeyturnError as error:
        secret_channel.reply(error_line(error))
    except Exception as error:  # noqa: BLE001 - the boundary of the process: logged, never shown
        log.record_unexpected(error)
        secret_channel.reply(
            error_line(
                KeyturnError(
                    "Could not start the endpoint", "Unexpected error", "See keyturn.log in the state folder."
                )
            )
        )
    finally:
        if file is not None:
            file.remove()


def _server(request: _StartRequest, open_service: OpenService) -> tuple[EndpointAddress, EndpointServer]:
    """Return the endpoint's address and a server that already listens.

    :raises KeyturnError: if there are no credentials to serve, or the user of a connection cannot be
        determined. The program is then not started.
    """
    clock = clock_for(os.environ)
    http.credentials_response(request.profile, request.first, clock())
    source = ServiceCredentialSource(open_service(os.environ), request.profile, request.first)
    listener = listen()
    _require_peer_uid(listener)
    address = EndpointAddress(
        listener.getsockname()[1], Secret(f"/{secrets.token_urlsafe(24)}"), Secret(secrets.token_urlsafe(32))
    )
    return address, EndpointServer(
        listener,
        address,
        request.profile,
        source.get_credentials,
        fingerprint=source.fingerprint,
        first=request.first,
        is_ours=is_own_process,
        clock=clock,
        report=log.record_unexpected,
    )


def is_own_process(connection: socket.socket) -> bool:
    """Return True if the connection comes from a process of this user, or if the system cannot tell."""
    return not IS_SUPPORTED or caller_uid(connection) == os.geteuid()


def _require_peer_uid(listener: socket.socket) -> None:
    """Check that the system reports the user of a connection. Otherwise every client would be rejected.

    :raises KeyturnError: if it does not.
    """
    with (
        socket.create_connection(listener.getsockname()),
        contextlib.closing(listener.accept()[0]) as connection,
    ):
        if is_own_process(connection):
            return
    raise KeyturnError(
        "Could not start the endpoint",
        "this system does not report which user opened a connection",
        "Omit --endpoint",
    )


def _is_starter_there() -> bool:
    with socket.socket(fileno=os.dup(0)) as channel:
        try:
            return bool(channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False


def _is_end_requested() -> bool:
    """Return True if the starter requested the end. Its end of the socket closes without data when it
    executes the program."""
    with contextlib.suppress(OSError):
        if os.read(0, 1):
            return True
    secret_channel.disconnect(0, 1)
    return False
