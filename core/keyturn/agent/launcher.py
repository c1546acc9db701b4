"""Start the agent from another keyturn process and send it the secret that opens the vault."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from keyturn.agent.protocol import parse_answer
from keyturn.model.errors import AgentUnavailable
from keyturn.model.secret import Secret
from keyturn.storage.paths import Paths
from keyturn.system import secret_channel
from keyturn.system.hardening import agent_environment

#: Seconds. Opening with a passphrase takes more than one; a keyring may prompt the user.
TIMEOUT = 30.0

_ANSWER_LIMIT = 64 << 10


def start_agent(
    paths: Paths,
    environ: Mapping[str, str],
    *,
    passphrase: Secret | None = None,
    recovery_key: Secret | None = None,
    command: Sequence[str] | None = None,
    timeout: float = TIMEOUT,
) -> None:
    """Start the agent, see :func:`keyturn.agent.rpc_client.start`.

    :param command: another program that follows the same protocol.
    :param timeout: seconds.
    """
    secrets = {"passphrase": passphrase} if passphrase is not None else {"recovery_key": recovery_key}
    request = {name: secret.reveal() for name, secret in secrets.items() if secret is not None}
    try:
        channel, answer = start_process(
            command or python_command("keyturn.agent"), environment(paths, environ), request, timeout
        )
    except EOFError:
        raise _unavailable("it exited before it opened the vault") from None
    except TimeoutError:
        raise _unavailable(f"it did not open the vault within {timeout:g} s") from None
    except OSError as error:
        raise _unavailable(f"{error}") from error
    channel.close()
    parse_answer(answer)


def python_command(module: str) -> tuple[str, ...]:
    """Return the command line of a module of keyturn: this interpreter, isolated from `PYTHON*`, the user
    site directory and the working directory."""
    return (sys.executable, "-I", "-m", module)


def start_process(
    command: Sequence[str], variables: Mapping[str, str], request: Mapping[str, object], timeout: float
) -> tuple[socket.socket, bytes]:
    """Start a keyturn process in a session of its own. Send it `request`, which may hold secrets, over the
    channel of :mod:`keyturn.system.secret_channel`.

    :param timeout: seconds until the reply.
    :returns: the channel and the reply, one line.
    :raises EOFError: if the process exited before it replied.
    :raises TimeoutError: if there was no reply in time. The session is then killed.
    :raises OSError: if the process cannot be started.
    """
    if not sys.executable:
        raise OSError("the path of the Python interpreter is unknown")
    ours, theirs = secret_channel.create()
    with ours, theirs:
        process = subprocess.Popen(  # noqa: S603 - our own program, by its absolute path
            command,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=variables,
            start_new_session=True,
        )
        theirs.close()
        with process, contextlib.ExitStack() as on_failure:
            deadline = time.monotonic() + timeout
            ours.settimeout(timeout)
            try:
                channel = secret_channel.accept(ours, process.pid)
                if channel is None:
                    raise EOFError
                on_failure.enter_context(channel)
                reply = read_reply(channel, json.dumps(request).encode() + b"\n", deadline)
            except TimeoutError:
                # The other end of the socket is still open, so the session is alive and its id cannot have
                # been reused.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
            if not reply.endswith(b"\n"):
                raise EOFError
            on_failure.pop_all()
            return channel, reply


def environment(paths: Paths, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` for a keyturn process that runs in the root directory. Paths of the
    AWS files are absolute."""
    variables = agent_environment(environ, _working_folder(environ))
    resolved = {"AWS_CONFIG_FILE": paths.aws_config, "AWS_SHARED_CREDENTIALS_FILE": paths.aws_credentials}
    variables.update((name, str(path)) for name, path in resolved.items() if variables.get(name))
    return variables


def _working_folder(environ: Mapping[str, str]) -> Path:
    """Return the working directory, or its former path if it was removed."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path(environ.get("PWD") or "/")


def read_reply(channel: socket.socket, request: bytes, deadline: float) -> bytes:
    """Send `request` to a keyturn process. Return its reply: one line, or less if it exited early.

    :param deadline: on the monotonic clock.
    :raises TimeoutError: if the deadline passes.
    """
    reply = b""
    with contextlib.suppress(ConnectionError):
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        channel.sendall(request)
        while not reply.endswith(b"\n") and len(reply) <= _ANSWER_LIMIT:
            channel.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = channel.recv(65536)
            if not chunk:
                break
            reply += chunk
    return reply


def _unavailable(why: str) -> AgentUnavailable:
    return AgentUnavailable(
        "Could not start the agent", why, "keyturn works without it, but asks for the passphrase each time."
    )
