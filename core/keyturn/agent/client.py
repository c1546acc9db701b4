"""Asking the agent. Importing this costs next to nothing: it is what an AWS client waits for."""
# ruff: noqa: PTH108, PTH116, PTH120 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os
import stat
import sys
import time

from keyturn.agent import wire
from keyturn.storage.socket_paths import forwarded_path, socket_path
from keyturn.system.unix_peer import peer_pid, peer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from keyturn.agent.protocol import Agent
    from keyturn.model.secret import Secret
    from keyturn.storage.paths import Paths

#: Go kills a credential process after 60 seconds; ours says why it has nothing before that.
TIMEOUT = 50.0

#: An act may take its time, but the agent's loop answers at once. After so many seconds of silence it is asked whether it
#: still does, and it has as many to say so: a process that somebody stopped never answers.
HEARTBEAT_SECONDS = 5.0

#: A forwarded socket behind which nobody is, for so many seconds, is what a line that dropped left behind.
STALE_SECONDS = 10.0

#: Said once on stderr where credentials go to a terminal.
TTY_NOTE = "keyturn: these are credentials in clear; they stay in this terminal's scrollback.\n"


#: What helps where an agent is there and of no use.
RESTART_HINT = "Run keyturn agent stop, then keyturn vault unlock."


class NoAgent(Exception):
    """There is no agent to ask: no socket of ours, nobody behind it, or it ended before it answered."""


class AgentNotRunning(NoAgent):
    """There is no socket of ours, or nobody behind it."""


class AgentUnresponsive(TimeoutError):
    """The agent is there, and its loop answers nothing any more. The one argument says so, with its process."""


def ask(path: str, request: bytes, seconds: float, *, is_remote: bool = False) -> bytes:
    """Send one line to the agent at `path` and give back the line that it answers.

    The folder and the socket must be this user's and closed to all others, and so must be the process behind it.

    :param is_far: SSH carries the socket from another machine; its folder may be one in which nobody can touch what is
        not theirs, such as `/tmp`.

    :raises Silence: there is no agent, or it ended meanwhile.
    :raises Hung: it is there and answers nobody.
    :raises TimeoutError: it is there and did not answer within `seconds`.
    """
    deadline = time.monotonic() + seconds
    connection = connect(path, seconds, is_remote=is_remote)
    try:
        connection.sendall(request)
        return read_line(connection, deadline, path, is_remote=is_remote)
    except TimeoutError:
        raise
    except OSError as error:
        raise NoAgent from error
    finally:
        connection.close()


def connect(path: str, seconds: float, *, is_remote: bool = False) -> _socket.socket:
    """A connection to the agent at `path`; Silence where there is none of this user's own. What a line that dropped left
    behind goes, so that the next one finds room: sshd does not remove it."""
    import _socket  # a third of the cost of `socket`, which brings enum and selectors along

    if not (has_forwarded_socket(path) if is_remote else _is_private_socket(path)):
        raise AgentNotRunning
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        _connect(connection, path, seconds)
        if peer_uid(connection) == os.geteuid():
            return connection
    except OSError as error:
        connection.close()
        if isinstance(error, TimeoutError):
            raise AgentUnresponsive(
                "it takes no more connections; its process is stopped or hangs"
            ) from error
        if isinstance(error, ConnectionRefusedError):
            if is_remote:
                _remove_stale(path)
            raise AgentNotRunning from error
        raise NoAgent from error
    connection.close()
    raise NoAgent


def _connect(connection: _socket.socket, path: str, seconds: float) -> None:
    """Waits for its turn where many others do; TimeoutError where that does not come."""
    deadline = time.monotonic() + min(seconds, HEARTBEAT_SECONDS)
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(0.01)
        else:
            return


def read_line(
    connection: _socket.socket, deadline: float, path: str = "", *, is_remote: bool = False
) -> bytes:
    """The line that the agent answers on `connection`; errors as of :func:`ask`.

    :param path: where to ask meanwhile whether the agent lives; empty for not at all.
    :param is_far: as for :func:`ask`.
    """
    reply = bytearray()
    while not reply.endswith(b"\n"):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        connection.settimeout(min(remaining, HEARTBEAT_SECONDS) if path else remaining)
        try:
            chunk = connection.recv(65536)
        except TimeoutError:
            if path and remaining > HEARTBEAT_SECONDS:
                _require_responsive(path, connection, is_remote=is_remote)
            continue
        if not chunk or len(reply) > wire.ANSWER_LIMIT:
            raise NoAgent
        reply += chunk
    return bytes(reply)


def _require_responsive(path: str, connection: _socket.socket, *, is_remote: bool) -> None:
    try:
        ask(path, wire.STATUS_REQUEST, HEARTBEAT_SECONDS, is_remote=is_remote)
    except TimeoutError:
        if is_remote:
            raise AgentUnresponsive("it does not answer any more, or the line to its machine hangs") from None
        pid = peer_pid(connection)
        raise AgentUnresponsive(f"its process{f' {pid}' if pid else ''} is stopped or hangs") from None
    except NoAgent:
        return  # on its way out: whether it still answers shows on the first connection


def _is_private_socket(path: str) -> bool:
    try:
        folder, sock = os.lstat(os.path.dirname(path)), os.lstat(path)
    except (OSError, ValueError):
        return False
    uid = os.geteuid()
    return (
        stat.S_ISDIR(folder.st_mode)
        and stat.S_ISSOCK(sock.st_mode)
        and folder.st_uid == sock.st_uid == uid
        and not (folder.st_mode | sock.st_mode) & 0o077
    )


def has_forwarded_socket(path: str) -> bool:
    """Whether there is a forwarded socket of this user's own at `path`."""
    try:
        folder, sock = os.stat(os.path.dirname(path)), os.lstat(path)
    except (OSError, ValueError):
        return False
    uid = os.geteuid()
    is_writable_by_others = folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX
    return (
        folder.st_uid in (0, uid)
        and not is_writable_by_others
        and stat.S_ISSOCK(sock.st_mode)
        and sock.st_uid == uid
        and not sock.st_mode & 0o077
    )


def _remove_stale(path: str) -> None:
    """One that was made a moment ago may be about to listen."""
    try:
        if time.time() - os.lstat(path).st_ctime > STALE_SECONDS:
            os.unlink(path)
    except OSError:
        return


def credential_process(argv: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """`keyturn credential-process NAME`, answered by the agent: prints the document, or the one line of its error.

    :param argv: what follows the verb; anything but one name is left to the command line proper.
    :returns: the exit code, or None if there is no agent and the long way must be gone.
    """
    args = argv[1:] if argv[:1] == ["--"] else argv
    if len(args) != 1 or (args is argv and args[0].startswith("-")):
        return None
    try:
        answer = ask(socket_path(environ), wire.document_request(args[0]), TIMEOUT)
    except AgentNotRunning:
        return _answer_without_agent(args[0], environ)
    except NoAgent:
        return None
    except TimeoutError as error:
        why = str(error) or f"it did not answer within {TIMEOUT:g} s"
        _write(2, f"keyturn: the agent: {why}. {RESTART_HINT}\n".encode())
        return 1
    document = wire.document_in(answer)
    if document is None:
        return _print_error(answer, environ)
    return _document_from_agent(document)


def _document_from_agent(document: bytes) -> int:
    if os.isatty(1):
        _write(2, TTY_NOTE.encode())
    _write(1, document + b"\n")
    return 0


def _answer_without_agent(profile: str, environ: Mapping[str, str]) -> int | None:
    """What can be said at once: a forwarded socket's answer where nothing is managed here, or that the vault is locked."""
    from keyturn.agent.fast_lock_check import LOCKED, is_locked
    from keyturn.storage.raw_paths import config_folder

    path = forwarded_path(environ)
    if has_forwarded_socket(path) and not os.path.lexists(f"{config_folder(environ)}/profiles.toml"):
        return _from_forwarded_socket(path, profile)
    if not is_locked(environ, profile):
        return None
    what, why, hint = LOCKED
    _write(2, f"keyturn: {what}: {why}. {hint}\n".encode())
    return 4


def _from_forwarded_socket(path: str, profile: str) -> int:
    from pathlib import Path

    from keyturn.model.errors import KeyturnError

    try:
        return _document_from_agent(get_forwarded_credentials(Path(path), profile, None).encode())
    except KeyturnError as error:
        _write(2, f"keyturn: {error.line()}\n".encode(sys.getfilesystemencoding(), "backslashreplace"))
        return error.exit_code


def _print_error(answer: bytes, environ: Mapping[str, str]) -> int | None:
    import json

    from keyturn.model.text import safe

    try:
        error = json.loads(answer)["error"]
        error_type, line, code = error["type"], error["line"], error["exit"]
    except (ValueError, LookupError, TypeError):
        return None
    if error_type == "NotFound" and has_forwarded_socket(forwarded_path(environ)):
        return None
    if error_type == "AgentUnavailable" or not isinstance(line, str) or not isinstance(code, int):
        return None
    _write(2, f"keyturn: {safe(line)}\n".encode(sys.getfilesystemencoding(), "backslashreplace"))
    return code


def _write(descriptor: int, text: bytes) -> None:
    while text:
        text = text[os.write(descriptor, text) :]


def call(socket: Path, request: Mapping[str, object], timeout: float = TIMEOUT) -> Any:
    """Ask the agent at `socket` and give back the result, a JSON value.

    :param request: `op` and its fields, see :mod:`keyturn.agent.protocol`.
    :param timeout: seconds.
    :raises AgentUnavailable: there is none, or it gave no answer in time.
    :raises KeyturnError: the error that the agent answered with.
    """
    from keyturn.agent.protocol import parse_answer, request_line

    fields = dict(request)
    op = str(fields.pop("op", ""))
    return parse_answer(_find_agent(socket, request_line(op, **fields), timeout))


def document(socket: Path, profile: str, timeout: float = TIMEOUT) -> str:
    """The finished credential document of `profile`; errors as of :func:`call`."""
    from keyturn.agent.protocol import parse_answer

    answer = _find_agent(socket, wire.document_request(profile), timeout)
    body = wire.document_in(answer)
    return body.decode() if body is not None else str(parse_answer(answer))


def get_forwarded_credentials(
    socket: Path, profile: str, least_seconds: int | None, timeout: float = TIMEOUT
) -> str:
    """The document of a profile from another machine, over the forwarded `socket`; errors as of :func:`call`."""
    from keyturn.agent.protocol import request_line, temporary_document
    from keyturn.model.errors import AgentUnavailable

    what = "the forwarded socket"
    fields = {} if least_seconds is None else {"least": least_seconds}
    try:
        answer = ask(
            str(socket),
            request_line("credential-process", profile=profile, **fields),
            timeout,
            is_remote=True,
        )
    except NoAgent as error:
        raise AgentUnavailable(what, "nobody answers behind it", "Log in anew.") from error
    except TimeoutError as error:
        why = str(error) or f"the agent behind it did not answer within {timeout:g} s"
        raise AgentUnavailable(what, why, "See to it on the machine that forwards.") from error
    return temporary_document(answer)


def run(socket: Path, operation: str, args: Mapping[str, object], timeout: float = TIMEOUT) -> Any:
    """Let the agent's keeper do `act` (:meth:`keyturn.service.CredentialService.run_operation`); errors as of :func:`call`."""
    return call(socket, {"op": "run", "act": operation, "args": dict(args)}, timeout)


def is_answering(socket: Path, timeout: float = 1.0) -> bool:
    """Whether an agent of this version answers at `socket`."""
    return find_agent(socket, timeout) is not None


def find_agent(socket: Path, timeout: float = 1.0) -> Agent | None:
    """The agent of this version that answers at `socket`."""
    from keyturn.agent.protocol import Agent
    from keyturn.model.errors import KeyturnError

    try:
        status = call(socket, {"op": "status"}, timeout)
        return Agent(int(status["pid"]), paused=bool(status.get("paused")))
    except (KeyturnError, LookupError, TypeError, ValueError, AttributeError):
        return None


def require_responsive(socket: Path) -> None:
    """Where an agent is there, waits until it answers; returns at once where there is none.

    :raises AgentHangs: it does not, for some ten seconds.
    """
    from keyturn.model.errors import AgentHangs, AgentUnavailable

    try:
        call(socket, {"op": "status"})
    except AgentHangs:
        raise
    except AgentUnavailable:
        return


def _find_agent(socket: Path, line: bytes, timeout: float) -> bytes:
    from keyturn.model.errors import AgentHangs, AgentUnavailable

    try:
        return ask(str(socket), line, timeout)
    except NoAgent as error:
        raise AgentUnavailable("the agent", "none is running", "Run keyturn vault unlock.") from error
    except AgentUnresponsive as error:
        raise AgentHangs("the agent", str(error), RESTART_HINT) from error
    except TimeoutError as error:
        raise AgentUnavailable(
            "the agent", f"it did not answer within {timeout:g} s", RESTART_HINT
        ) from error


def start(
    paths: Paths,
    environ: Mapping[str, str],
    *,
    passphrase: Secret | None = None,
    recovery_key: Secret | None = None,
) -> None:
    """Start the agent and wait until it has opened the vault (by the keyring where no secret is given) and answers.

    :raises KeyturnError: what kept it from opening the vault; AgentUnavailable if it did not come up within 30 s.
    """
    from keyturn.agent.launcher import start_agent

    start_agent(paths, environ, passphrase=passphrase, recovery_key=recovery_key)
