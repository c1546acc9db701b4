"""Asking the agent. Importing this costs next to nothing: it is what an AWS client waits for."""
# ruff: noqa: PTH120 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os
import stat
import sys
import time

from keyturn.agent import wire
from keyturn.agent.peer import peer_pid, peer_uid
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

#: An act may take its time, but the agent's loop answers at once. After so many seconds of silence it is asked whether it
#: still does, and it has as many to say so: a process that somebody stopped never answers.
HEARTBEAT = 5.0

#: Said once on stderr where credentials go to a terminal.
TTY_NOTE = "keyturn: these are credentials in clear; they stay in this terminal's scrollback.\n"


#: What helps where an agent is there and of no use.
REVIVE = "Run keyturn agent stop, then keyturn vault unlock."


class Silence(Exception):
    """There is no agent to ask: no socket of ours, nobody behind it, or it ended before it answered."""


class Hung(TimeoutError):
    """The agent is there, and its loop answers nothing any more. The one argument says so, with its process."""


def ask(path: str, request: bytes, seconds: float) -> bytes:
    """Send one line to the agent at `path` and give back the line that it answers.

    The folder and the socket must be this user's and closed to all others, and so must be the process behind it.

    :raises Silence: there is no agent, or it ended meanwhile.
    :raises Hung: it is there and answers nobody.
    :raises TimeoutError: it is there and did not answer within `seconds`.
    """
    deadline = time.monotonic() + seconds
    connection = connected(path, seconds)
    try:
        connection.sendall(request)
        return line_of(connection, deadline, path)
    except TimeoutError:
        raise
    except OSError as error:
        raise Silence from error
    finally:
        connection.close()


def connected(path: str, seconds: float) -> _socket.socket:
    """A connection to the agent at `path`; Silence where there is none of this user's own."""
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


def line_of(connection: _socket.socket, deadline: float, path: str = "") -> bytes:
    """The line that the agent answers on `connection`; errors as of :func:`ask`.

    :param path: where to ask meanwhile whether the agent lives; empty for not at all.
    """
    answer = bytearray()
    while not answer.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(min(left, HEARTBEAT) if path else left)
        try:
            part = connection.recv(65536)
        except TimeoutError:
            if path and left > HEARTBEAT:
                _require_life(path, connection)
            continue
        if not part or len(answer) > wire.ANSWER_LIMIT:
            raise Silence
        answer += part
    return bytes(answer)


def _require_life(path: str, connection: _socket.socket) -> None:
    try:
        ask(path, wire.STATUS_REQUEST, HEARTBEAT)
    except TimeoutError:
        pid = peer_pid(connection)
        raise Hung(f"its process{f' {pid}' if pid else ''} is stopped or hangs") from None
    except Silence:
        return  # on its way out: whether it still answers shows on the first connection


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
        return _refused_at_once(environ)
    except TimeoutError as error:
        why = str(error) or f"it did not answer within {PATIENCE:g} s"
        _write(2, f"keyturn: the agent: {why}. {REVIVE}\n".encode())
        return 1
    document = wire.document_in(answer)
    if document is None:
        return _refused(answer)
    if os.isatty(1):
        _write(2, TTY_NOTE.encode())
    _write(1, document + b"\n")
    return 0


def _refused_at_once(environ: Mapping[str, str]) -> int | None:
    from keyturn.agent import refusal

    if not refusal.is_locked(environ):
        return None
    _write(2, f"keyturn: {refusal.LINE}\n".encode())
    return refusal.EXIT


def _refused(answer: bytes) -> int | None:
    import json

    from keyturn.text import safe

    try:
        error = json.loads(answer)["error"]
        kind, line, code = error["type"], error["line"], error["exit"]
    except (ValueError, LookupError, TypeError):
        return None
    if kind == "AgentUnavailable" or not isinstance(line, str) or not isinstance(code, int):
        return None
    _write(2, f"keyturn: {safe(line)}\n".encode(sys.getfilesystemencoding(), "backslashreplace"))
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


def require_life(socket: Path) -> None:
    """Where an agent is there, waits until it answers; returns at once where there is none.

    :raises AgentHangs: it does not, for some ten seconds.
    """
    from keyturn.errors import AgentHangs, AgentUnavailable

    try:
        call(socket, {"op": "status"})
    except AgentHangs:
        raise
    except AgentUnavailable:
        return


def _asked(socket: Path, line: bytes, timeout: float) -> bytes:
    from keyturn.errors import AgentHangs, AgentUnavailable

    try:
        return ask(str(socket), line, timeout)
    except Silence as error:
        raise AgentUnavailable("the agent", "none is running", "Run keyturn vault unlock.") from error
    except Hung as error:
        raise AgentHangs("the agent", str(error), REVIVE) from error
    except TimeoutError as error:
        raise AgentUnavailable("the agent", f"it did not answer within {timeout:g} s", REVIVE) from error


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
