"""Start an endpoint for the program that this process is about to execute."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from keyturn.agent.launcher import environment
from keyturn.agent.protocol import parse_answer
from keyturn.model.errors import KeyturnError
from keyturn.model.secret import Secret
from keyturn.storage.paths import Paths
from keyturn.system.background_process import python_command, start_process
from keyturn.system.prctl import is_subreaper

#: Seconds. The endpoint usually starts in a fraction of one; a busy machine gives the CPU time for it slowly.
TIMEOUT = 120.0
#: Seconds for the endpoint to exit on request.
_SHUTDOWN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Values that the program needs."""

    url: Secret
    token: Secret | None
    token_file: str | None


@contextmanager
def start_endpoint(
    paths: Paths,
    environ: Mapping[str, str],
    profile: str,
    first: Secret,
    *,
    uses_caller_credentials: bool,
    in_file: bool,
) -> Iterator[Endpoint]:
    """Start an endpoint for this process and the program that it executes. The endpoint stops at the end of
    the block, which is reached only if the program is not executed.

    :param first: a credential document of the profile.
    :param uses_caller_credentials: the profile takes its credentials from `environ`.
    :param in_file: write the token to a file.
    :raises KeyturnError: if the endpoint did not start or has no credentials to serve.
    """
    if os.getpid() == 1 or is_subreaper():
        raise KeyturnError(
            "Could not start the endpoint",
            "the program would become the parent of the endpoint, because it adopts orphaned processes",
            "Run keyturn under an init process, for example with docker run --init",
        )
    variables = environment(paths, environ)
    if uses_caller_credentials:
        variables = {name: value for name, value in environ.items() if name.startswith("AWS_")} | variables
    request = {"profile": profile, "pid": os.getpid(), "in_file": in_file, "first": first}
    try:
        channel, answer = start_process(
            python_command("keyturn.delivery.endpoint"), variables, request, TIMEOUT
        )
    except (EOFError, TimeoutError):
        raise _unavailable("it did not start") from None
    except OSError as error:
        raise _unavailable(f"{error}") from error
    with channel:
        fields = parse_answer(answer)
        token = fields.get("token")
        try:
            yield Endpoint(Secret(fields["url"]), Secret(token) if token else None, fields.get("token_file"))
        finally:
            _shut_down(channel)


def _shut_down(channel: socket.socket) -> None:
    """Stop the endpoint and wait until it has stopped."""
    with contextlib.suppress(OSError):
        channel.settimeout(_SHUTDOWN_SECONDS)
        channel.sendall(b".")
        channel.recv(1)


def _unavailable(why: str) -> KeyturnError:
    return KeyturnError("Could not start the endpoint", why, "Try again, or omit --endpoint")
