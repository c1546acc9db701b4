"""Asking the agent. Importing this costs next to nothing: it is what an AWS client waits for."""
# ruff: noqa: PTH120 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os
import stat
import sys
import time

from keyturn.agent import wire
from keyturn.agent.peer import peer_uid
from keyturn.agent.socketpath import socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from keyturn.places import Places
    from keyturn.secret import Secret

#: Go kills a credential process after 60 seconds; ours says why it has nothing before that.
PATIENCE = 50.0

#: Said once on stderr where credentials go to a terminal.
TTY_NOTE = "keyturn: these are credentials in clear; they stay in this terminal's scrollback.\n"


class Silence(Exception):
    """There is no agent to ask: no socket of ours, nobody behind it, or it ended before it answered."""


def ask(path: str, request: bytes, seconds: float) -> bytes:
    """Send one line to the agent at `path` and give back the line that it answers.

    The folder and the socket must be this user's and closed to all others, and so must be the process behind it.

    :raises Silence: there is no agent, or it ended meanwhile.
    :raises TimeoutError: it is there and did not answer within `seconds`.
    """
    deadline = time.monotonic() + seconds
    connection = _connected(path, seconds)
    try:
        connection.sendall(request)
        return _line(connection, deadline)
    except TimeoutError:
        raise
    except OSError as error:
        raise Silence from error
    finally:
        connection.close()


def _connected(path: str, seconds: float) -> _socket.socket:
    import _socket  # a third of the cost of `socket`, which brings enum and selectors along

    if not _is_ours(path):
        raise Silence
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(path)
        if peer_uid(connection) == os.geteuid():
            return connection
    except OSError as error:
        connection.close()
        raise Silence from error
    connection.close()
    raise Silence


def _line(connection: _socket.socket, deadline: float) -> bytes:
    answer = bytearray()
    while not answer.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        part = connection.recv(65536)
        if not part or len(answer) > wire.ANSWER_LIMIT:
            raise Silence
        answer += part
    return bytes(answer)


def _is_ours(path: str) -> bool:
    try:
        folder, sock = os.lstat(os.path.dirname(path)), os.lstat(path)
    except (OSError, ValueError):
        return False
    me = os.geteuid()
    return (
        stat.S_ISDIR(folder.st_mode)
        and stat.S_ISSOCK(sock.st_mode)
        and folder.st_uid == sock.st_uid == me
        and not (folder.st_mode | sock.st_mode) & 0o077
    )


def credential_process(argv: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """`keyturn credential-process NAME`, answered by the agent: prints the document, or the one line of its error.

    :param argv: what follows the verb; anything but one name is left to the command line proper.
    :returns: the exit code, or None if there is no agent and the long way must be gone.
    """
    words = argv[1:] if argv[:1] == ["--"] else argv
    if len(words) != 1 or (words is argv and words[0].startswith("-")):
        return None
    try:
        answer = ask(socket_path(environ), wire.document_request(words[0]), PATIENCE)
    except Silence:
        return None
    except TimeoutError:
        _write(2, b"keyturn: the agent did not answer within 50 s. Run keyturn agent stop, then try again.\n")
        return 1
    document = wire.document_in(answer)
    if document is None:
        return _refused(answer)
    if os.isatty(1):
        _write(2, TTY_NOTE.encode())
    _write(1, document + b"\n")
    return 0


def _refused(answer: bytes) -> int | None:
    import json

    try:
        error = json.loads(answer)["error"]
        kind, line, code = error["type"], error["line"], error["exit"]
    except (ValueError, LookupError, TypeError):
        return None
    if kind == "AgentUnavailable" or not isinstance(line, str) or not isinstance(code, int):
        return None
    _write(2, f"keyturn: {line}\n".encode(sys.getfilesystemencoding(), "backslashreplace"))
    return code


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def call(socket: Path, request: Mapping[str, object], timeout: float = PATIENCE) -> Any:
    """Ask the agent at `socket` and give back the result, a JSON value.

    :param request: `op` and its fields, see :mod:`keyturn.agent.protocol`.
    :param timeout: seconds.
    :raises AgentUnavailable: there is none, or it gave no answer in time.
    :raises KeyturnError: the error that the agent answered with.
    """
    from keyturn.agent.protocol import parse_answer, request_line

    fields = dict(request)
    op = str(fields.pop("op", ""))
    return parse_answer(_asked(socket, request_line(op, **fields), timeout))


def document(socket: Path, profile: str, timeout: float = PATIENCE) -> str:
    """The finished credential document of `profile`; errors as of :func:`call`."""
    from keyturn.agent.protocol import parse_answer

    answer = _asked(socket, wire.document_request(profile), timeout)
    found = wire.document_in(answer)
    return found.decode() if found is not None else str(parse_answer(answer))


def run(socket: Path, act: str, args: Mapping[str, object], timeout: float = PATIENCE) -> Any:
    """Let the agent's keeper do `act` (:meth:`keyturn.keeper.Keeper.privileged`); errors as of :func:`call`."""
    return call(socket, {"op": "run", "act": act, "args": dict(args)}, timeout)


def is_answering(socket: Path, timeout: float = 1.0) -> bool:
    """Whether an agent of this version answers at `socket`."""
    from keyturn.errors import KeyturnError

    try:
        call(socket, {"op": "status"}, timeout)
    except KeyturnError:
        return False
    return True


def _asked(socket: Path, line: bytes, timeout: float) -> bytes:
    from keyturn.errors import AgentUnavailable

    try:
        return ask(str(socket), line, timeout)
    except Silence as error:
        raise AgentUnavailable("the agent", "none is running", "Run keyturn vault unlock.") from error
    except TimeoutError as error:
        raise AgentUnavailable(
            "the agent", f"it did not answer within {timeout:g} s", "Run keyturn agent stop, then try again."
        ) from error


def lock(socket: Path, timeout: float = 10.0) -> bool:
    """Lock the agent at `socket` and wait until its process is gone, and the identity with it.

    :returns: False if there was none.
    :raises AgentUnavailable: it is there and did not end within `timeout` seconds.
    """
    from keyturn.agent.protocol import parse_answer, request_line
    from keyturn.errors import AgentUnavailable

    deadline = time.monotonic() + timeout
    try:
        connection = _connected(str(socket), timeout)
    except Silence:
        return False
    try:
        connection.sendall(request_line("lock"))
        parse_answer(_line(connection, deadline))
        _await_end(connection, deadline)
    except TimeoutError as error:
        raise AgentUnavailable(
            "locking", f"the agent did not end within {timeout:g} s", "Try again, or end its process."
        ) from error
    except (OSError, Silence):
        return True
    finally:
        connection.close()
    return True


def _await_end(connection: _socket.socket, deadline: float) -> None:
    """Until the kernel closes the other end, which it does after it took the process's memory away."""
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        if not connection.recv(4096):
            return


def start(
    places: Places,
    environ: Mapping[str, str],
    *,
    passphrase: Secret | None = None,
    recovery_key: Secret | None = None,
) -> None:
    """Start the agent and wait until it has opened the vault (by the keyring where no secret is given) and answers.

    :raises KeyturnError: what kept it from opening the vault; AgentUnavailable if it did not come up within 30 s.
    """
    from keyturn.agent.spawn import start_agent

    start_agent(places, environ, passphrase=passphrase, recovery_key=recovery_key)
