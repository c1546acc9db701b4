"""The life of the endpoint's process: close up, hold on to the program it is for, detach, serve, end with it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

from keyturn.agent.protocol import error_line, result_line
from keyturn.agent.wire import REQUEST_LIMIT
from keyturn.delivery.endpoint import http
from keyturn.delivery.endpoint.http import EndpointAddress
from keyturn.delivery.endpoint.server import EndpointServer, listen
from keyturn.delivery.endpoint.token_file import TokenFile
from keyturn.model.errors import KeyturnError
from keyturn.model.secret import Secret
from keyturn.storage.socket_paths import state_folder
from keyturn.system import log, process_watch, secret_channel
from keyturn.system.clock import clock_for
from keyturn.system.file_fingerprint import Fingerprint
from keyturn.system.hardening import harden_agent
from keyturn.system.tcp_peer import IS_SUPPORTED, caller_uid


class CredentialSource(Protocol):
    """Gets the credentials of one profile."""

    def get_credentials(self) -> str:
        """A document of credentials that are valid now."""

    def fingerprint(self) -> Fingerprint:
        """What such a document rests on, as it is now."""


OpenCredentialSource = Callable[[Mapping[str, str], str, str], CredentialSource]
"""What gets the credentials of a profile, for an environment, after a first document."""


@dataclass(frozen=True, slots=True)
class _StartRequest:
    profile: str
    pid: int
    """Of whoever starts us, which becomes the program."""
    in_file: bool
    """Whether the token goes into a file."""
    first: str = field(repr=False)
    """The document of the session that was got before."""


def run_endpoint(open_source: OpenCredentialSource) -> NoReturn:
    """Run the endpoint in a process of its own, for the process that started it and whatever program that becomes.
    Standard input is the socket of :func:`keyturn.system.secret_channel.create`.

    Reads one JSON line, `{"profile": ..., "pid": ..., "in_file": ..., "first": ...}`, and writes one answer line; its result has
    `url` and `token` or `token_file`. A further byte ends it.
    """
    harden_agent()
    try:
        secret_channel.connect()
    except OSError:
        with contextlib.suppress(OSError):
            os.write(
                2, b"keyturn: the endpoint is not started by hand. Run keyturn exec PROFILE --endpoint.\n"
            )
        os._exit(2)
    request = _read_request()
    # A process whose parent has ended has another one.
    if request is None or os.getppid() != request.pid:
        os._exit(1)
    _detach()
    log.open_log(Path(state_folder(os.environ)))
    _run(request, open_source)
    # No thread that still waits for AWS keeps the process.
    os._exit(0)


def _read_request() -> _StartRequest | None:
    line = sys.stdin.buffer.readline(REQUEST_LIMIT)
    try:
        record = json.loads(line)
    except ValueError:
        return None
    match record:
        case {"profile": str(profile), "pid": int(pid), "in_file": bool(in_file), "first": str(first)}:
            return _StartRequest(profile, pid, in_file, first)
        case _:
            return None


def _detach() -> None:
    """Go on as nobody's child: the program must not meet one that it did not start. The session without a terminal
    that the starter made for us is kept, so that a key typed on its terminal ends the program and not us."""
    if os.fork():
        os._exit(0)
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _run(request: _StartRequest, open_source: OpenCredentialSource) -> None:
    file: TokenFile | None = None
    try:
        watch = process_watch.watch_process(request.pid)
        # Whoever started us has not become the program yet, and holds the other end of the socket for as long as it
        # lives: if it does now, it did when we looked for its number, which was nobody else's.
        if watch is None or not _is_starter_there():
            return
        address, server = _server(request, open_source)
        for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(signum, lambda _signum, _frame: server.stop())
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
            error_line(KeyturnError("start of the endpoint", "something unforeseen", "See keyturn.log"))
        )
    finally:
        if file is not None:
            file.remove()


def _server(
    request: _StartRequest, open_source: OpenCredentialSource
) -> tuple[EndpointAddress, EndpointServer]:
    """A server that listens already, and what its clients must know.

    :raises KeyturnError: there is nothing to hand out, or nobody to tell who asks; then the program is not started.
    """
    clock = clock_for(os.environ)
    http.credentials_response(request.profile, request.first, clock())
    source = open_source(os.environ, request.profile, request.first)
    listener = listen()
    _require_peer_uid(listener)
    port = listener.getsockname()[1]
    address = EndpointAddress(
        port, Secret(f"/{secrets.token_urlsafe(24)}"), Secret(secrets.token_urlsafe(32))
    )
    server = EndpointServer(
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
    return address, server


def is_own_process(connection: socket.socket) -> bool:
    """Whether a connection comes from this user's own processes, as far as this system says it."""
    return not IS_SUPPORTED or caller_uid(connection) == os.geteuid()


def _require_peer_uid(listener: socket.socket) -> None:
    """Makes sure that the system says who connects, or everybody would be sent away."""
    with (
        socket.create_connection(listener.getsockname()),
        contextlib.closing(listener.accept()[0]) as connection,
    ):
        if is_own_process(connection):
            return
    why = "this system does not tell which user connects to it"
    raise KeyturnError("start of the endpoint", why, "Leave out --endpoint")


def _is_starter_there() -> bool:
    with socket.socket(fileno=os.dup(0)) as channel:
        try:
            return bool(channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False


def _is_end_requested() -> bool:
    """Whether the starter said so. Its end of the socket closes without a word when it becomes the program."""
    with contextlib.suppress(OSError):
        if os.read(0, 1):
            return True
    devnull = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(devnull, descriptor)
    os.close(devnull)
    return False
