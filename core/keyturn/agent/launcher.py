"""Starting the agent from another process of keyturn, and handing it what opens the vault."""

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

#: Opening by passphrase takes a good second, a keyring may ask its owner.
TIMEOUT = 30.0

_ANSWER_LIMIT = 64 << 10


def agent_command() -> tuple[str, ...]:
    """The program of the agent: this interpreter, deaf to `PYTHON*`, the user's site folder and the working folder."""
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
    """See :func:`keyturn.agent.client.start`.

    :param command: another program that obeys the same contract.
    :param patience: seconds.
    """
    if not sys.executable:
        raise _unavailable("this Python does not know where its program lies")
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
            raise _unavailable(f"its program does not start: {error}") from error
        theirs.close()
        with process:
            try:
                answer = _send_secret(ours, process.pid, _unlock_line(passphrase, recovery_key), timeout)
            except TimeoutError:
                # Somebody still holds the socket, so the session is alive and its number is nobody else's.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise _unavailable(f"it did not open the vault within {timeout:g} s") from None
    if not answer.endswith(b"\n"):
        raise _unavailable("it ended before it opened the vault")
    parse_answer(answer)


def environment(paths: Paths, environ: Mapping[str, str]) -> dict[str, str]:
    """What a process of ours that works in the root folder keeps of `environ`."""
    variables = agent_environment(environ, _working_folder(environ))
    resolved = {
        "AWS_CONFIG_FILE": paths.aws_config,
        "AWS_SHARED_CREDENTIALS_FILE": paths.aws_credentials,
    }
    variables.update((name, str(path)) for name, path in resolved.items() if variables.get(name))
    return variables


def _working_folder(environ: Mapping[str, str]) -> Path:
    """The one that this process works in, or where it was, if it was removed meanwhile."""
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
    """What the agent says to `opening`: one line, or less if it ended before."""
    deadline = time.monotonic() + timeout
    ours.settimeout(timeout)
    channel = secret_channel.accept(ours, pid)
    if channel is None:
        return b""
    with channel:
        return read_reply(channel, request, deadline)


def read_reply(channel: socket.socket, request: bytes, deadline: float) -> bytes:
    """What a process of ours says to `opening`: one line, or less if it ended before.

    :param deadline: on the monotonic clock.
    :raises TimeoutError: it is over.
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
        "start of the agent", why, "keyturn works without one; it asks for the passphrase each time."
    )
