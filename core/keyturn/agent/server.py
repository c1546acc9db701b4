"""Event loop of the agent: connections, limits, dispatch of requests, shutdown."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import selectors
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from keyturn import __version__
from keyturn.agent.build import build
from keyturn.agent.listener import Listener
from keyturn.agent.protocol import (
    Request,
    document_line,
    error_line,
    parse_request,
    require_forwardable,
    result_line,
    step_line,
)
from keyturn.agent.wire import REQUEST_LIMIT
from keyturn.model.errors import AgentUnavailable, KeyturnError, Remedy, UsageError
from keyturn.model.steps import UNWATCHED, Step, Steps
from keyturn.model.text import iso
from keyturn.system.caller_environment import CallerEnvironment
from keyturn.system.clock import Clock, boot_seconds, system_clock
from keyturn.system.running_call import RunningCall, serving
from keyturn.system.secret_channel import WaitCancelled
from keyturn.system.unix_peer import peer_uid


class ServicePort(Protocol):
    """The part of the service that the agent uses. Called from several threads at once."""

    def run_operation(
        self, op: str, args: Mapping[str, object], caller: CallerEnvironment | None, steps: Steps = UNWATCHED
    ) -> object:
        """Run `op` and return a JSON value without long-term secrets.

        :param caller: the environment in which AWS is reached; this process's own if it is None.
        :param steps: what the client is shown while it waits, and how it stops the operation.
        """

    def credential_process(self, name: str, caller: CallerEnvironment | None) -> str:
        """Return the credential document of a profile, one line.

        :param caller: as for :meth:`run_operation`.
        """

    def get_forwarded_credentials(self, name: str, least_seconds: int | None) -> str:
        """Return the credential document for another machine: temporary credentials of a forwardable profile
        only."""

    def withdraw_expired(self) -> object:
        """Remove expired delivered sessions from the credentials file."""

    def withdraw_delivered(self) -> object:
        """Remove all delivered sessions from the credentials file."""

    def wait_until_secrets_saved(self) -> None:
        """Wait, at most some seconds, while a secret exists only in this process's memory."""

    def renew_due(self, may_go_on: Callable[[], bool]) -> object:
        """Renew sessions that are due while `may_go_on` returns True. Called by one thread at a time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what clients can use of the agent."""

    life: timedelta = timedelta(hours=12)
    """Time that the identity is held, by the wall clock or by the clock since the system's start, whichever
    shows the end first. The wall clock can be set back."""
    connections: int = 256
    """Concurrent connections. One more drops the oldest connection with an incomplete request."""
    remote: int = 16
    """Concurrent connections and operations over the forwarded socket, so that the remote machine cannot
    block local clients."""
    remote_pause: float = 0.04
    """Seconds between two accepted connections on the forwarded socket; further ones wait in the listen
    queue. Each answer costs milliseconds of this process, so a flood from the remote machine would slow
    down local clients."""
    operations: int = 64
    """Concurrent operations. Further requests are answered with AgentUnavailable."""
    unread: int = 16 << 20
    """Bytes of all incomplete requests together."""
    request_seconds: float = 5.0
    """Seconds in which a client must complete its request, and take the answer."""
    shutdown_seconds: float = 5.0
    """Seconds that running operations get when the agent stops."""
    step_pause: float = 0.05
    """Seconds between two step lines, and between two looks if the client stops an operation."""
    tick: float = 1.0
    """Seconds between two checks of the wall clock, which may jump."""
    periodic: float = 15.0
    """Seconds between two checks for expired deliveries and sessions that are due."""


@dataclass(slots=True)
class _Caller:
    """A connection with an incomplete request."""

    sock: socket.socket
    deadline: float
    """On the monotonic clock."""
    is_remote: bool = False
    """Accepted on the forwarded socket."""
    received: bytearray = field(default_factory=bytearray)


#: Bytes of kernel memory that unread steps may take. The rest of a socket's buffer is left to the answer,
#: which a client finds when its user continues it.
MOST_QUEUED_BYTES = 64 << 10


class _StepLines:
    """Sends the steps of one operation to its client, and notices when the client stops it."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self.unsent = b""
        """The rest of a line of which the client took the beginning. The answer must follow it."""
        self._sock = sock
        self._pause = limits.step_pause
        self._next_send = self._next_look = 0.0
        self._is_stopped = False
        self._lock = threading.Lock()  # the steps of one operation may come from several threads

    def steps(self) -> Steps:
        return Steps(self._send, self._look)

    def _send(self, step: Step) -> None:
        """Send a step, unless one was sent just now or the client takes no more. It never waits for the
        client, because the operation may hold the state lock.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._next_send and step.done < step.total:
                return
            self._next_send = now + self._pause
            if _queued_bytes(self._sock) > MOST_QUEUED_BYTES:
                return
            line = self.unsent or step_line(step)
            with contextlib.suppress(OSError):
                self._sock.settimeout(0)
                self.unsent = line[self._sock.send(line) :]

    def _look(self) -> bool:
        """Return True if the client has closed its sending direction, or is gone."""
        with self._lock:
            now = time.monotonic()
            if not self._is_stopped and now >= self._next_look:
                self._next_look = now + self._pause
                try:
                    self._sock.settimeout(0)
                    self._is_stopped = not self._sock.recv(1, socket.MSG_PEEK)
                except BlockingIOError:
                    self._is_stopped = False
                except OSError:
                    self._is_stopped = True
            return self._is_stopped


class AgentServer:
    """Serves one service on one listener until it is locked or stopped, its socket is removed, or its life
    ends.

    One thread runs :meth:`serve`. It reads all requests, so that a silent or slow client does not delay
    others, and answers `status`, `pause`, `resume` and `lock` itself. Everything else runs in a worker thread
    together with its connection.
    """

    def __init__(
        self,
        service: ServicePort,
        listener: Listener,
        *,
        forward: Listener | None = None,
        clock: Clock = system_clock,
        boot_seconds: Callable[[], float] = boot_seconds,
        limits: Limits | None = None,
        report: Callable[[BaseException], None] = lambda _error: None,
        paused: bool = False,
    ) -> None:
        """:param forward: the socket that SSH forwards to other machines.
        :param boot_seconds: seconds since an arbitrary moment, with suspended time; see
            :func:`keyturn.system.clock.boot_seconds`.
        :param report: called with unexpected errors; must not raise.
        :param paused: begin with auto-renewal paused.
        """
        self._service = service
        self._listener = listener
        self._forward = forward
        self._clock = clock
        self._limits = limits or Limits()
        self._report = report
        self._boot_seconds = boot_seconds
        self._build = build()  # now, because an upgrade may replace the files while this process serves
        self._since, self._since_boot = clock(), boot_seconds()
        self._callers: dict[int, _Caller] = {}
        self._lock_requests: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.settimeout(0)
        self._is_stopping = self._withdraws_on_exit = False
        self._is_paused = paused
        self._running_tasks: set[str] = set()
        self._pool = ThreadPoolExecutor(self._limits.operations, "keyturn-act")
        self._condition = threading.Condition()
        self._operations = self._remote_operations = 0
        self._calls: set[RunningCall] = set()
        self._generation = 0
        self._next_periodic = self._next_remote_accept = 0.0
        self._reads_forward_socket = False

    def serve(self) -> None:
        """Serve until the end. After that nobody can connect; clients that requested the lock stay connected
        until the process exits or :meth:`close` is called."""
        self._selector.register(self._listener.sock, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        try:
            while not self._is_expired():
                self._poll_forward_socket()
                for key, _ in self._selector.select(self._select_timeout()):
                    if self._is_expired():
                        break
                    if key.fileobj is self._listener.sock:
                        self._accept(self._listener)
                    elif self._forward is not None and key.fileobj is self._forward.sock:
                        self._accept(self._forward)
                        self._next_remote_accept = time.monotonic() + self._limits.remote_pause
                    elif key.fd in self._callers:
                        self._receive(self._callers[key.fd])
                self._drop_expired()
                self._run_periodic()
                if not self._listener.is_reachable():
                    self._is_stopping = True
                else:
                    self._restore_forward()
        finally:
            self._shut_down()
        self._execute(self._service.wait_until_secrets_saved)
        if self._withdraws_on_exit:
            self._execute(self._service.withdraw_delivered)

    def stop(self) -> None:
        """Make `serve` return soon, for a logout or shutdown; delivered sessions are removed. May be called
        from any thread and from a signal handler."""
        self._withdraws_on_exit = self._is_stopping = True
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    def close(self) -> None:
        """Release all resources, in a process that continues."""
        for sock in (*self._lock_requests, self._wake_in, self._wake_out):
            sock.close()
        self._lock_requests.clear()
        self._selector.close()
        for listener in self._listeners():
            listener.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _is_expired(self) -> bool:
        return self._is_stopping or self._life_left() <= timedelta(0)

    def _life_left(self) -> timedelta:
        elapsed = max(self._clock() - self._since, self._elapsed_since_boot())
        return self._limits.life - elapsed

    def _elapsed_since_boot(self) -> timedelta:
        return timedelta(seconds=self._boot_seconds() - self._since_boot)

    def _open_until(self) -> datetime:
        """Return the end by the wall clock as it is set now. The two clocks tick a little apart, which is not
        to show."""
        end, now = self._since + self._limits.life, self._clock()
        is_set_back = self._elapsed_since_boot() - (now - self._since) > timedelta(seconds=self._limits.tick)
        return now + self._life_left() if is_set_back else end

    def _select_timeout(self) -> float:
        life_left = self._life_left().total_seconds()
        poll = self._limits.tick
        if self._forward is not None and not self._reads_forward_socket:
            poll = self._next_remote_accept - time.monotonic()
        return max(0.0, min(life_left, self._limits.tick, poll))

    def _poll_forward_socket(self) -> None:
        """Register the forwarded socket when its pause is over; unregister it during the pause."""
        is_due = time.monotonic() >= self._next_remote_accept
        if self._forward is None or is_due == self._reads_forward_socket:
            return
        self._reads_forward_socket = is_due
        if is_due:
            self._selector.register(self._forward.sock, selectors.EVENT_READ)
        else:
            self._selector.unregister(self._forward.sock)

    def _restore_forward(self) -> None:
        """Listen again on the forwarded socket if it was removed. A successor replaces the main socket first,
        so the forwarded socket is not restored under it."""
        forward = self._forward
        if forward is None or not forward.is_missing() or not self._listener.is_reachable():
            return
        try:
            restored = forward.restored()
        except KeyturnError:
            return  # tried again at the next tick
        if self._reads_forward_socket:
            self._selector.unregister(forward.sock)
            self._reads_forward_socket = False
        forward.close()
        self._forward = restored

    def _run_periodic(self) -> None:
        if time.monotonic() < self._next_periodic:
            return
        self._next_periodic = time.monotonic() + self._limits.periodic
        # Two tasks, because expired sessions must be removed at once and renewal may wait for AWS.
        self._submit_once("withdraw", self._service.withdraw_expired)
        if self._may_renew():
            self._submit_once("renew", lambda: self._service.renew_due(self._may_renew))

    def _may_renew(self) -> bool:
        return not (self._is_paused or self._is_stopping)

    def _submit_once(self, name: str, task: Callable[[], object]) -> None:
        """Run `task` in a worker thread, unless the previous run of `name` has not finished."""
        if name in self._running_tasks:
            return
        self._running_tasks.add(name)

        def run() -> None:
            try:
                self._execute(task)
            finally:
                self._running_tasks.discard(name)

        self._pool.submit(run)

    def _execute(self, task: Callable[[], object]) -> None:
        try:
            with serving(RunningCall(self._is_expired)):
                task()
        except WaitCancelled:
            return
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: reported, never shown
            self._report(error)

    # -- reading

    def _listeners(self) -> list[Listener]:
        return [listener for listener in (self._forward, self._listener) if listener is not None]

    def _accept(self, listener: Listener) -> None:
        is_remote = listener is self._forward
        try:
            sock, _ = listener.sock.accept()
        except OSError:
            self._drop_oldest(is_remote=is_remote)
            return
        if peer_uid(sock) != os.geteuid():
            sock.close()
            return
        sock.settimeout(0)
        limit = self._limits.remote if is_remote else self._limits.connections
        if sum(caller.is_remote == is_remote for caller in self._callers.values()) >= limit:
            self._drop_oldest(is_remote=is_remote)
        caller = _Caller(sock, time.monotonic() + self._limits.request_seconds, is_remote)
        self._callers[sock.fileno()] = caller
        self._selector.register(sock, selectors.EVENT_READ)
        self._receive(caller)

    def _receive(self, caller: _Caller) -> None:
        try:
            chunk = caller.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(caller)
            return
        caller.received += chunk
        line, newline, _ = caller.received.partition(b"\n")
        if len(line) > REQUEST_LIMIT:
            self._unregister(caller)
            self._answer(
                caller.sock, error_line(UsageError("Invalid request to the agent", "it is longer than 1 MiB"))
            )
        elif newline:
            self._unregister(caller)
            self._read_request(caller.sock, bytes(line), is_remote=caller.is_remote)
        elif sum(len(other.received) for other in self._callers.values()) > self._limits.unread:
            self._drop(max(self._callers.values(), key=lambda other: len(other.received)))

    def _unregister(self, caller: _Caller) -> None:
        del self._callers[caller.sock.fileno()]
        self._selector.unregister(caller.sock)

    def _drop(self, caller: _Caller) -> None:
        self._unregister(caller)
        caller.sock.close()

    def _drop_oldest(self, *, is_remote: bool) -> None:
        candidates = [caller for caller in self._callers.values() if caller.is_remote == is_remote]
        if candidates:
            self._drop(min(candidates, key=lambda caller: caller.deadline))

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for caller in [caller for caller in self._callers.values() if caller.deadline < now]:
            self._drop(caller)

    # -- answering

    def _read_request(self, sock: socket.socket, line: bytes, *, is_remote: bool) -> None:
        try:
            request = parse_request(line, is_remote=is_remote)
            if is_remote:
                require_forwardable(request)
            if self._is_expired():
                raise AgentUnavailable("Agent is shutting down", "", Remedy("vault unlock"))
        except KeyturnError as error:
            self._answer(sock, error_line(error))
            return
        match request.op:
            case "status" if is_remote:
                self._answer(sock, result_line({"version": __version__}))
            case "status" | "pause" | "resume" as op:
                self._is_paused = {"pause": True, "resume": False}.get(op, self._is_paused)
                self._answer(sock, result_line(self._status()))
            case "lock":
                self._lock(sock)
            case _:
                self._start_operation(sock, request, is_remote=is_remote)

    def _status(self) -> dict[str, object]:
        with self._condition:
            generation = self._generation
            wait_seconds = max((call.seconds_left() for call in self._calls), default=0.0)
        return {
            "pid": os.getpid(),
            "version": __version__,
            "build": self._build,
            "open_since": iso(self._since),
            "open_until": iso(self._open_until()),
            "generation": generation,
            "paused": self._is_paused,
            "wait_seconds": math.ceil(wait_seconds),
        }

    def _lock(self, sock: socket.socket) -> None:
        self._withdraw_sockets()
        self._lock_requests.append(sock)
        with contextlib.suppress(OSError):
            sock.send(result_line({"pid": os.getpid()}))
        self._is_stopping = True

    def _start_operation(self, sock: socket.socket, request: Request, *, is_remote: bool) -> None:
        with self._condition:
            is_busy = self._operations >= self._limits.operations or (
                is_remote and self._remote_operations >= self._limits.remote
            )
            self._operations += not is_busy
            self._remote_operations += is_remote and not is_busy
        if is_busy:
            self._answer(sock, error_line(AgentUnavailable("Agent is busy", "", "Try again.")))
        else:
            self._pool.submit(self._run_operation, sock, request, is_remote=is_remote)

    def _run_operation(self, sock: socket.socket, request: Request, *, is_remote: bool) -> None:
        call = RunningCall(lambda: self._is_expired() or _has_hung_up(sock))
        with self._condition:
            self._calls.add(call)
        try:
            lines = _StepLines(sock, self._limits)
            steps = lines.steps() if request.has_steps else UNWATCHED
            with serving(call):
                answer = self._answer_to(request, steps, is_remote=is_remote)
            with self._condition:
                self._generation += request.op == "run"
            self._answer(sock, lines.unsent + answer)
        finally:
            with self._condition:
                self._calls.discard(call)
                self._operations -= 1
                self._remote_operations -= is_remote
                self._condition.notify_all()

    def _answer_to(self, request: Request, steps: Steps, *, is_remote: bool) -> bytes:
        try:
            try:
                if is_remote:
                    return document_line(
                        self._service.get_forwarded_credentials(request.profile, request.least_seconds)
                    )
                if request.op == "credential-process":
                    return document_line(self._service.credential_process(request.profile, request.caller))
                return result_line(
                    self._service.run_operation(request.act, request.args or {}, request.caller, steps)
                )
            except KeyturnError as error:
                return error_line(error)
            except WaitCancelled:
                return error_line(AgentUnavailable("Agent is shutting down", "", Remedy("vault unlock")))
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: reported, never shown
            self._report(error)
            return error_line(
                KeyturnError(
                    request.act or request.op, "Unexpected error", "See keyturn.log in the state folder."
                )
            )

    def _answer(self, sock: socket.socket, answer: bytes) -> None:
        with contextlib.closing(sock), contextlib.suppress(OSError):
            sock.settimeout(self._limits.request_seconds)
            sock.sendall(answer)

    # -- ending

    def _withdraw_sockets(self) -> None:
        for listener in self._listeners():
            listener.withdraw()

    def _shut_down(self) -> None:
        self._withdraw_sockets()
        for caller in list(self._callers.values()):
            self._drop(caller)
        with self._condition:
            self._condition.wait_for(lambda: self._operations == 0, self._limits.shutdown_seconds)


def _queued_bytes(sock: socket.socket) -> int:
    """Return the bytes of kernel memory that the peer has not read yet, 0 if the kernel cannot tell."""
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _has_hung_up(sock: socket.socket) -> bool:
    """Return True if the client has closed its connection, not just the half on which it sends."""
    poll = select.poll()
    try:
        poll.register(sock, 0)
    except ValueError:
        return True
    return bool(poll.poll(0))
