"""Start the agent from another keyturn process and send it the secret that opens the vault."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from keyturn.agent.protocol import parse_answer
from keyturn.model.errors import AgentUnavailable
from keyturn.model.secret import Secret
from keyturn.model.text import wait_text
from keyturn.storage.paths import Paths
from keyturn.system.background_process import python_command, start_process
from keyturn.system.hardening import agent_environment

#: Seconds. The vault's own limits end an attempt to open it that hangs, and name the reason. On a machine
#: that gives next to no CPU time, the start of the interpreter takes long as well.
TIMEOUT = 600.0
#: Seconds to wait until an agent that has opened the vault has taken the sockets.
_TAKEOVER_SECONDS = 20.0


def start_agent(
    paths: Paths,
    environ: Mapping[str, str],
    *,
    passphrase: Secret | None = None,
    recovery_key: Secret | None = None,
    command: Sequence[str] | None = None,
    timeout: float = TIMEOUT,
    cancelled: threading.Event | None = None,
) -> None:
    """Start the agent, see :func:`keyturn.agent.rpc_client.start`.

    :param command: another program that follows the same protocol.
    :param timeout: seconds.
    :param cancelled: set by another thread to end the agent before it has opened the vault.
    """
    secrets = {"passphrase": passphrase} if passphrase is not None else {"recovery_key": recovery_key}
    request = {name: secret for name, secret in secrets.items() if secret is not None}
    try:
        channel, answer = start_process(
            command or python_command("keyturn.agent"),
            environment(paths, environ),
            request,
            timeout,
            cancelled=cancelled,
        )
    except EOFError:
        raise _unavailable("it exited before it opened the vault") from None
    except TimeoutError:
        raise _unavailable(f"it did not open the vault within {wait_text(timeout)}") from None
    except OSError as error:
        raise _unavailable(f"{error}") from error
    with contextlib.closing(channel):
        parse_answer(answer)
        # The agent takes the sockets once it knows that it is not killed any more. Then it closes it.
        with contextlib.suppress(OSError):
            channel.shutdown(socket.SHUT_WR)
        last = _read_to_end(channel)
    if last:
        parse_answer(last)


def _read_to_end(channel: socket.socket) -> bytes:
    """Return what the agent sends before it closes the channel: an error, or nothing."""
    channel.settimeout(_TAKEOVER_SECONDS)
    answer = b""
    with contextlib.suppress(OSError):  # a slow agent goes on without its starter
        while chunk := channel.recv(65536):
            answer += chunk
    return answer


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


def _unavailable(why: str) -> AgentUnavailable:
    return AgentUnavailable(
        "Could not start the agent", why, "keyturn works without it, but asks for the passphrase each time."
    )
