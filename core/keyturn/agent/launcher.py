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


def agent_command() -> tuple[str, ...]:
    """Return the agent's command line: this interpreter, isolated from `PYTHON*`, the user site directory and
    the working directory."""
    return (sys.executable, "-I", "-m", "keyturn.agent")


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
    if not sys.executable:
        raise _unavailable("the path of the Python interpreter is unknown")
    ours, theirs = secret_channel.create()
    with ours, theirs:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program, by its absolute path
                command or agent_command(),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment(paths, environ),
                start_new_session=True,
            )
        except OSError as error:
            raise _unavailable(f"{error}") from error
        theirs.close()
        with process:
            try:
                answer = _send_secret(ours, process.pid, _unlock_line(passphrase, recovery_key), timeout)
            except TimeoutError:
                # The other end of the socket is still open, so the session is alive and its id cannot have
                # been reused.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise _unavailable(f"it did not open the vault within {timeout:g} s") from None
    if not answer.endswith(b"\n"):
        raise _unavailable("it exited before it opened the vault")
    parse_answer(answer)


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


def _unlock_line(passphrase: Secret | None, recovery_key: Secret | None) -> bytes:
    fields = {}
    if passphrase is not None:
        fields["passphrase"] = passphrase.reveal()
    elif recovery_key is not None:
        fields["recovery_key"] = recovery_key.reveal()
    return json.dumps(fields).encode() + b"\n"


def _send_secret(ours: socket.socket, pid: int, request: bytes, timeout: float) -> bytes:
    """Send `request` to the agent. Return its reply: one line, or less if it exited early."""
    deadline = time.monotonic() + timeout
    ours.settimeout(timeout)
    channel = secret_channel.accept(ours, pid)
    if channel is None:
        return b""
    with channel:
        return read_reply(channel, request, deadline)


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
