"""Client of the agent. The module is cheap to import, because AWS clients wait for it in
`credential-process`."""
# ruff: noqa: PTH108, PTH116, PTH120 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os
import stat
import sys
import time

from keyturn.agent import wire
from keyturn.storage.raw_paths import config_folder, forwarded_path, socket_paths
from keyturn.system.caller_variables import caller_variables
from keyturn.system.unix_peer import peer_pid, peer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from threading import Event
    from typing import Any

    from keyturn.agent.protocol import Agent
    from keyturn.model.errors import AgentUnavailable
    from keyturn.model.secret import Secret
    from keyturn.model.steps import Steps
    from keyturn.storage.paths import Paths

#: Seconds. The AWS SDK for Go kills a credential process after 60 s; keyturn reports the error before that.
TIMEOUT = 50.0

#: Most seconds that a status may add to a wait: the longest limits of two programs, one after the other, and
#: of the calls to AWS.
MAX_WAIT_SECONDS = 1500.0

#: Seconds. An operation may take long, but the agent's event loop always answers at once. After this much
#: silence the client sends a status request, and waits for it this long, because a stopped process never
#: answers.
HEARTBEAT_SECONDS = 5.0

#: Seconds between two looks if the user stops an operation.
STOP_POLL_SECONDS = 0.1

#: Seconds. A forwarded socket that refuses connections and is older than this was left by a dropped SSH
#: connection.
STALE_SECONDS = 10.0

#: Printed once on stderr when credentials are printed to a terminal.
TTY_NOTE = "keyturn: These are plaintext credentials. They stay in this terminal's scrollback.\n"


class NoAgent(Exception):
    """No agent to ask: no private socket, no process behind it, or the process exited before it answered."""


class AgentNotRunning(NoAgent):
    """There is no private socket, or no process listens on it."""


class AgentUnresponsive(TimeoutError):
    """The agent runs, but its event loop no longer answers. The one argument describes it, with its process
    id."""


def ask(path: str, request: bytes, seconds: float, *, is_remote: bool = False) -> bytes:
    """Send one line to the agent at `path` and return the line that it answers.

    The folder and the socket must be private to this user, and the process behind the socket must be this
    user's.

    :param is_remote: SSH forwards the socket from another machine. Its folder may then be shared, such as
        `/tmp`, if only the owner of a file can remove it.
    :raises NoAgent: if no agent runs or it exited early.
    :raises AgentUnresponsive: if it runs and does not answer status requests.
    :raises TimeoutError: if it runs and did not answer within `seconds`.
    """
    deadline = time.monotonic() + seconds
    connection = connect(path, seconds, is_remote=is_remote)
    return _exchange(connection, request, lambda: read_line(connection, deadline, path, is_remote=is_remote))


def _exchange(connection: _socket.socket, request: bytes, read_answer: Callable[[], bytes]) -> bytes:
    """Send a request, return the answer and close the connection. Raises as :func:`ask`."""
    try:
        connection.sendall(request)
        return read_answer()
    except TimeoutError:
        raise
    except OSError as error:
        raise NoAgent from error
    finally:
        connection.close()


def connect(path: str, seconds: float, *, is_remote: bool = False) -> _socket.socket:
    """Return a connection to the agent at `path`. Remove a socket that a dropped SSH connection left, because
    sshd does not remove it and the next forwarding needs the path.

    :raises NoAgent: if no agent of this user listens there.
    :raises AgentUnresponsive: if it accepts no connections.
    """
    import _socket  # a third of the import time of `socket`, which imports enum and selectors

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
            raise AgentUnresponsive("it accepts no connections; its process is stopped or hangs") from error
        if isinstance(error, ConnectionRefusedError):
            if is_remote:
                _remove_stale(path)
            raise AgentNotRunning from error
        raise NoAgent from error
    connection.close()
    raise NoAgent


def _connect(connection: _socket.socket, path: str, seconds: float) -> None:
    """Connect, and retry while the listen queue is full.

    :raises TimeoutError: if the queue stays full.
    """
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
    """Read the line that the agent answers on `connection`. Raises as :func:`ask`.

    :param path: socket for status requests while waiting; empty to send none.
    :param is_remote: as for :func:`ask`.
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
                more = _require_responsive(path, connection, is_remote=is_remote)
                # A program of the user may take longer than AWS, within a limit that the user has set.
                deadline = max(deadline, time.monotonic() + more)
            continue
        if not chunk or len(reply) > wire.ANSWER_LIMIT:
            raise NoAgent
        reply += chunk
    return bytes(reply)


def ask_with_steps(
    path: str,
    request: bytes,
    seconds: float,
    on_step: Callable[[bytes], None],
    is_stopped: Callable[[], bool],
) -> bytes:
    """Send one line to the agent at `path` and return its answer, as :func:`ask` does.

    :param seconds: longest time without a step.
    :param on_step: called with each step line.
    :param is_stopped: returns True once the user stops the operation. The answer says how far it came.
    """
    connection = connect(path, seconds)
    return _exchange(connection, request, lambda: _read_steps(connection, path, seconds, on_step, is_stopped))


def _read_steps(
    connection: _socket.socket,
    path: str,
    seconds: float,
    on_step: Callable[[bytes], None],
    is_stopped: Callable[[], bool],
) -> bytes:
    import _socket

    received = bytearray()
    deadline, next_check = time.monotonic() + seconds, time.monotonic() + HEARTBEAT_SECONDS
    is_stop_sent = False
    while True:
        line, newline, rest = received.partition(b"\n")
        if newline:
            if not line.startswith(wire.STEP_START):
                return bytes(line + newline)
            on_step(bytes(line))
            received = rest
            deadline, next_check = time.monotonic() + seconds, time.monotonic() + HEARTBEAT_SECONDS
            continue
        if not is_stop_sent and is_stopped():
            connection.shutdown(_socket.SHUT_WR)
            is_stop_sent = True
        now = time.monotonic()
        if now >= deadline:
            raise TimeoutError
        if now >= next_check:
            more = _require_responsive(path, connection, is_remote=False)
            deadline = max(deadline, time.monotonic() + more)
            next_check = time.monotonic() + HEARTBEAT_SECONDS
        connection.settimeout(STOP_POLL_SECONDS)
        try:
            chunk = connection.recv(65536)
        except TimeoutError:
            continue
        if not chunk or len(received) > wire.ANSWER_LIMIT:
            raise NoAgent
        received += chunk


def _require_responsive(path: str, connection: _socket.socket, *, is_remote: bool) -> float:
    """Check that the agent answers. Return the seconds that it may still wait for a program of the user; 0 if
    it waits for none.
    """
    try:
        return _wait_seconds(ask(path, wire.STATUS_REQUEST, HEARTBEAT_SECONDS, is_remote=is_remote))
    except TimeoutError:
        if is_remote:
            raise AgentUnresponsive("it no longer answers, or the connection to its machine hangs") from None
        pid = peer_pid(connection)
        raise AgentUnresponsive(f"its process{f' {pid}' if pid else ''} is stopped or hangs") from None
    except NoAgent:
        return 0.0  # shutting down; it may still answer on the first connection


def _wait_seconds(status: bytes) -> float:
    """Return `wait_seconds` of a status, 0 if it has none: it is of an earlier version, or of another
    machine.
    """
    import json

    try:
        seconds = json.loads(status)["result"]["wait_seconds"]
    except (ValueError, LookupError, TypeError):
        return 0.0
    return min(float(seconds), MAX_WAIT_SECONDS) if type(seconds) is int else 0.0


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
    """Return True if `path` is a forwarded socket that belongs to this user."""
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
    """Remove the socket, unless it is new: its process may be about to listen."""
    try:
        if time.time() - os.lstat(path).st_ctime > STALE_SECONDS:
            os.unlink(path)
    except OSError:
        return


def credential_process(argv: Sequence[str], environ: Mapping[str, str]) -> int | None:
    """Handle `keyturn credential-process NAME` through the agent: print the document, or one line for the
    error.

    :param argv: arguments after the command name; anything but one profile name is left to the full command
        line.
    :returns: the exit code, or None if no agent runs and the full path must be taken.
    """
    args = argv[1:] if argv[:1] == ["--"] else argv
    if len(args) != 1 or (args is argv and args[0].startswith("-")):
        return None
    request = wire.document_request(args[0], caller_variables(environ))
    try:
        answer = _ask_first(socket_paths(environ), request)
    except NoAgent:
        return None
    except TimeoutError as error:
        _write(2, f"keyturn: {_unresponsive_error(error, TIMEOUT).line()}\n".encode())
        return 1
    if answer is None:
        return _answer_without_agent(args[0], environ)
    document = wire.document_in(answer)
    if document is None:
        return _print_error(answer, environ)
    return _document_from_agent(document)


def _ask_first(paths: Iterable[str], request: bytes) -> bytes | None:
    """Return the answer of the first agent that runs at one of `paths`, or None. Raises as :func:`ask`."""
    for path in paths:
        try:
            return ask(path, request, TIMEOUT)
        except AgentNotRunning:
            continue
    return None


def _document_from_agent(document: bytes) -> int:
    if os.isatty(1):
        _write(2, TTY_NOTE.encode())
    _write(1, document + b"\n")
    return 0


def _answer_without_agent(profile: str, environ: Mapping[str, str]) -> int | None:
    """Answer without an agent and without the full path, if possible: over the forwarded socket if no profile
    is managed on this machine, or with the error that the vault is locked."""
    from keyturn.agent.fast_lock_check import LOCKED, is_locked

    path = forwarded_path(environ)
    if has_forwarded_socket(path) and not os.path.lexists(f"{config_folder(environ)}/profiles.toml"):
        return _from_forwarded_socket(path, profile)
    if not is_locked(environ, profile):
        return None
    _write(2, f"keyturn: {LOCKED}\n".encode())
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


def call(socket: Path, request: Mapping[str, Any], timeout: float = TIMEOUT) -> Any:
    """Send a request to the agent at `socket` and return the result, a JSON value.

    :param request: `op` and its fields, see :mod:`keyturn.agent.protocol`.
    :param timeout: seconds.
    :raises AgentUnavailable: if no agent runs or it did not answer in time.
    :raises KeyturnError: the error that the agent answered.
    """
    from keyturn.agent.protocol import parse_answer, request_line

    return parse_answer(_ask_agent(socket, request_line(**request), timeout))


def document(socket: Path, profile: str, timeout: float = TIMEOUT) -> str:
    """Return the credential document of `profile`. Raises as :func:`call`."""
    from keyturn.agent.protocol import parse_answer

    answer = _ask_agent(socket, wire.document_request(profile), timeout)
    body = wire.document_in(answer)
    return body.decode() if body is not None else str(parse_answer(answer))


def get_forwarded_credentials(
    socket: Path, profile: str, least_seconds: int | None, timeout: float = TIMEOUT
) -> str:
    """Return the credential document of a profile on another machine, over the forwarded `socket`. Raises as
    :func:`call`.
    """
    from keyturn.agent.protocol import request_line, temporary_document
    from keyturn.model.errors import AgentUnavailable

    what = "Forwarded agent is unreachable"
    fields = {} if least_seconds is None else {"least": least_seconds}
    try:
        answer = ask(
            str(socket),
            request_line("credential-process", profile=profile, **fields),
            timeout,
            is_remote=True,
        )
    except NoAgent as error:
        raise AgentUnavailable(
            what, "nothing listens on the forwarded socket", "Log in over SSH again."
        ) from error
    except TimeoutError as error:
        raise AgentUnavailable(
            what,
            str(error) or f"no answer within {timeout:g} s",
            "Check the agent on the machine that forwards its socket.",
        ) from error
    return temporary_document(answer)


def run(
    socket: Path,
    operation: str,
    args: Mapping[str, object],
    timeout: float = TIMEOUT,
    *,
    variables: Mapping[str, str] | None = None,
    steps: Steps | None = None,
) -> Any:
    """Run an operation in the agent's service (:meth:`keyturn.service.CredentialService.run_operation`).
    Raises as :func:`call`.

    :param timeout: seconds; with `steps`, the longest time without a step.
    :param variables: as for :func:`keyturn.agent.wire.document_request`.
    :param steps: the front end that shows the steps and can stop the operation.
    """
    from keyturn.agent.protocol import parse_answer, parse_step, request_line

    env = {} if variables is None else {"env": dict(variables)}
    fields: dict[str, Any] = {"act": operation, "args": dict(args), **env}
    if steps is None:
        return call(socket, {"op": "run", **fields}, timeout)

    def report(line: bytes) -> None:
        step = parse_step(line)
        if step is not None:
            steps.report(step)

    line = request_line("run", **fields, steps=True)
    answer = _translated(
        lambda: ask_with_steps(str(socket), line, timeout, report, steps.is_stopped), timeout
    )
    return parse_answer(answer)


def is_answering(socket: Path, timeout: float = 1.0) -> bool:
    """Return True if an agent with this protocol version answers at `socket`."""
    return find_agent(socket, timeout) is not None


def find_socket(sockets: Sequence[Path]) -> Path:
    """Return the first of `sockets` at which a process of this user listens, or the first one if none
    does."""
    for socket in sockets:
        try:
            connect(str(socket), 1.0).close()
        except AgentUnresponsive:
            return socket
        except NoAgent:
            continue
        return socket
    return sockets[0]


def find_agent(socket: Path, timeout: float = 1.0) -> Agent | None:
    """Return the agent with this protocol version that answers at `socket`, or None."""
    from keyturn.model.errors import AgentHangs

    try:
        return await_agent(socket, timeout)
    except AgentHangs:
        return None


def await_agent(socket: Path, timeout: float) -> Agent | None:
    """Return the agent with this protocol version that runs at `socket`, or None if none does.

    :raises AgentHangs: if a process listens there and does not answer within `timeout` seconds.
    """
    from keyturn.agent.protocol import RESTART_HINT, Agent, parse_answer
    from keyturn.model.errors import AgentHangs, KeyturnError

    try:
        status = parse_answer(ask(str(socket), wire.STATUS_REQUEST, timeout))
    except NoAgent:
        return None
    except TimeoutError as error:
        raise AgentHangs(
            "Agent does not respond", str(error) or f"no answer within {timeout:g} s", RESTART_HINT
        ) from error
    except KeyturnError:
        return None
    try:
        build = status.get("build", 0)
        return Agent(
            int(status["pid"]), paused=bool(status.get("paused")), build=build if type(build) is int else 0
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        return None


def require_responsive(socket: Path) -> None:
    """Wait until the running agent answers; return at once if none runs.

    :raises AgentHangs: if it does not answer for about ten seconds.
    """
    from keyturn.model.errors import AgentHangs, AgentUnavailable

    try:
        call(socket, {"op": "status"})
    except AgentHangs:
        raise
    except AgentUnavailable:
        return


def _ask_agent(socket: Path, line: bytes, timeout: float) -> bytes:
    return _translated(lambda: ask(str(socket), line, timeout), timeout)


def _translated(question: Callable[[], bytes], timeout: float) -> bytes:
    """Return the answer to a question to the agent, or raise its error as a `KeyturnError`."""
    from keyturn.model.errors import AgentUnavailable, Remedy

    try:
        return question()
    except NoAgent as error:
        raise AgentUnavailable("Agent is not running", "", Remedy("vault unlock")) from error
    except TimeoutError as error:
        raise _unresponsive_error(error, timeout) from error


def _unresponsive_error(error: TimeoutError, timeout: float) -> AgentUnavailable:
    from keyturn.agent.protocol import RESTART_HINT
    from keyturn.model.errors import AgentHangs, AgentUnavailable

    what = "Agent does not respond"
    if isinstance(error, AgentUnresponsive):
        return AgentHangs(what, str(error), RESTART_HINT)
    return AgentUnavailable(what, f"no answer within {timeout:g} s", RESTART_HINT)


def start(
    paths: Paths,
    environ: Mapping[str, str],
    *,
    passphrase: Secret | None = None,
    recovery_key: Secret | None = None,
    cancelled: Event | None = None,
) -> None:
    """Start the agent. Wait until it has opened the vault (with the keyring if no secret is given) and
    answers. It replaces a running agent of another build, and leaves one of this build alone.

    :param cancelled: set by another thread to end the agent before it has opened the vault.
    :raises AgentUnavailable: if it did not start within 10 minutes.
    :raises WaitCancelled: if it was cancelled.
    :raises KeyturnError: if it could not open the vault.
    """
    from keyturn.agent.launcher import start_agent

    start_agent(paths, environ, passphrase=passphrase, recovery_key=recovery_key, cancelled=cancelled)
