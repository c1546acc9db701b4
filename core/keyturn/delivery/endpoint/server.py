"""Event loop of the endpoint: connections, limits, responses, shutdown."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from keyturn.delivery.endpoint import http
from keyturn.delivery.endpoint.http import EndpointAddress, RequestStatus
from keyturn.model.errors import KeyturnError
from keyturn.system.clock import Clock
from keyturn.system.file_fingerprint import Fingerprint
from keyturn.system.process_watch import Watch


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on what local programs can use of the endpoint."""

    connections: int = 64
    """Concurrent connections. One more drops the oldest connection with an incomplete request."""
    request_seconds: float = 5.0
    """Seconds in which a client must complete its request."""
    answer_seconds: float = 0.7
    """Seconds that a client waits for a new session if the last one is still valid; SDKs wait one or two."""
    margin: timedelta = timedelta(minutes=1)
    """Minimum remaining lifetime of such a last session."""


@dataclass(slots=True)
class _Caller:
    sock: socket.socket
    deadline: float
    """On the monotonic clock."""
    received: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class _Waiter:
    sock: socket.socket
    since: float
    """On the monotonic clock."""


FetchResult = str | KeyturnError
"""A credential document, or the error."""


class EndpointServer:
    """Serves one program until it exits.

    One thread runs :meth:`serve`. It reads and answers all requests, so that a silent or slow client does not
    delay others. A second thread fetches credentials, once for all clients that wait.
    """

    def __init__(
        self,
        listener: socket.socket,
        address: EndpointAddress,
        profile: str,
        get_credentials: Callable[[], str],
        *,
        first: str,
        is_ours: Callable[[socket.socket], bool],
        clock: Clock,
        fingerprint: Callable[[], Fingerprint],
        limits: Limits | None = None,
        report: Callable[[BaseException], None] = lambda _error: None,
    ) -> None:
        """:param get_credentials: returns a document of credentials that are valid now; called by one thread
            at a time.
        :param first: the document that was issued before.
        :param is_ours: returns True if a connection comes from a permitted process.
        :param fingerprint: returns the current state that a document depends on.
        :param report: called with unexpected errors; must not raise.
        """
        self._listener = listener
        self._address = address
        self._profile = profile
        self._get_credentials = get_credentials
        self._is_ours = is_ours
        self._fingerprint = fingerprint
        self._clock = clock
        self._limits = limits or Limits()
        self._report = report
        self._callers: dict[int, _Caller] = {}
        self._waiting: list[_Waiter] = []
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out, listener):
            end.settimeout(0)
        self._pool = ThreadPoolExecutor(1, "keyturn-hand")
        self._is_fetching = self._is_stopped = False
        self._result: list[tuple[FetchResult, Fingerprint]] = []
        self._last: str | None = first
        self._last_fingerprint = fingerprint()
        self._end_watches: dict[int, tuple[Watch, Callable[[], bool]]] = {}
        """By descriptor. A watch that nobody holds closes its descriptor."""

    def ends_when_readable(self, watch: Watch, is_end: Callable[[], bool] = lambda: True) -> None:
        """Make :meth:`serve` return when `watch` becomes readable.

        :param is_end: called then; if it returns False, `watch` is ignored from then on.
        """
        self._end_watches[watch.fileno()] = (watch, is_end)
        self._selector.register(watch.fileno(), selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until the end. After that nobody can connect."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        try:
            while not self._is_stopped:
                for key, _ in self._selector.select(self._select_timeout()):
                    self._serve_caller(key.fd)
                self._drop_expired()
                self._answer_from_last()
        finally:
            self.close()

    def stop(self) -> None:
        """Make `serve` return soon. May be called from any thread and from a signal handler."""
        self._is_stopped = True
        self._wake()

    def close(self) -> None:
        """Release all resources. A second call does nothing."""
        self._is_stopped = True
        for caller in self._callers.values():
            caller.sock.close()
        for waiter in self._waiting:
            waiter.sock.close()
        self._callers.clear()
        self._waiting.clear()
        self._selector.close()
        for end in (self._listener, self._wake_in, self._wake_out):
            end.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_in.send(b"\0")

    def _select_timeout(self) -> float | None:
        deadlines = [caller.deadline for caller in self._callers.values()]
        if self._last is not None and self._waiting:
            deadlines.append(self._waiting[0].since + self._limits.answer_seconds)
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _serve_caller(self, number: int) -> None:
        if number == self._listener.fileno():
            self._accept()
        elif number == self._wake_out.fileno():
            self._drain_wakeups()
        elif number in self._end_watches:
            _watch, is_end = self._end_watches.pop(number)
            if is_end():
                self._is_stopped = True
            self._selector.unregister(number)
        elif number in self._callers:
            self._receive(self._callers[number])

    # -- reading

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            self._drop_oldest()
            return
        if not self._is_ours(sock):
            sock.close()
            return
        sock.settimeout(0)
        if len(self._callers) + len(self._waiting) >= self._limits.connections:
            self._drop_oldest()
        caller = _Caller(sock, time.monotonic() + self._limits.request_seconds)
        self._callers[sock.fileno()] = caller
        self._selector.register(sock, selectors.EVENT_READ)
        self._receive(caller)

    def _receive(self, caller: _Caller) -> None:
        try:
            chunk = caller.sock.recv(http.HEAD_LIMIT + 1)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        caller.received += chunk
        if not chunk:
            self._unregister(caller).close()
        elif http.HEAD_END in caller.received or len(caller.received) > http.HEAD_LIMIT:
            status = http.judge(bytes(caller.received), self._address)
            sock = self._unregister(caller)
            if status is RequestStatus.OK:
                self._waiting.append(_Waiter(sock, time.monotonic()))
                self._start_fetch()
            else:
                _answer(sock, http.refusal_response(status))

    def _unregister(self, caller: _Caller) -> socket.socket:
        del self._callers[caller.sock.fileno()]
        self._selector.unregister(caller.sock)
        return caller.sock

    def _drop_oldest(self) -> None:
        """Drop the oldest client with an incomplete request; if there is none, the client that has waited
        longest and may have disconnected."""
        if self._callers:
            self._unregister(min(self._callers.values(), key=lambda caller: caller.deadline)).close()
        elif self._waiting:
            self._waiting.pop(0).sock.close()

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for caller in [caller for caller in self._callers.values() if caller.deadline < now]:
            self._unregister(caller).close()

    # -- answering

    def _start_fetch(self) -> None:
        if not self._is_fetching:
            self._is_fetching = True
            self._pool.submit(self._fetch)

    def _fetch(self) -> None:
        result: FetchResult
        before = self._fingerprint()
        try:
            result = self._get_credentials()
            if (
                not before.is_unchanged()
                # The session was renewed by this call, so fetch again for a document that matches the
                # fingerprint.
            ):
                before = self._fingerprint()
                result = self._get_credentials()
        except KeyturnError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: reported, never shown
            self._report(error)
            result = KeyturnError(
                f"Endpoint cannot serve {self._profile}",
                "Unexpected error",
                "See keyturn.log in the state folder.",
            )
        self._result.append((result, before))
        self._wake()

    def _drain_wakeups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_out.recv(4096)
        if not self._result:
            return
        result, self._last_fingerprint = self._result.pop()
        self._is_fetching = False
        answer, is_good = self._answer_to(result)
        # Do not keep a document that the vault or AWS no longer gives.
        self._last = result if is_good and isinstance(result, str) else None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            _answer(waiter.sock, answer)

    def _answer_from_last(self) -> None:
        """Answer clients that have waited for `answer_seconds` with the last session if it is still valid,
        while the next is being fetched. After a file has changed (a stop, another role) the last session
        may no longer be served, so it is dropped."""
        if self._last is None:
            return
        if self._waiting and not self._last_fingerprint.is_unchanged():
            self._last = None
            return
        cutoff = time.monotonic() - self._limits.answer_seconds
        waiting = [waiter for waiter in self._waiting if waiter.since <= cutoff]
        if not waiting:
            return
        answer, is_good = self._answer_to(self._last, self._limits.margin)
        if not is_good:
            self._last = None
            return
        self._waiting = self._waiting[len(waiting) :]
        for waiter in waiting:
            _answer(waiter.sock, answer)

    def _answer_to(self, result: FetchResult, margin: timedelta = timedelta(0)) -> tuple[bytes, bool]:
        """Return the response for a result, and True if it has credentials that are valid for at least
        `margin`."""
        try:
            if isinstance(result, KeyturnError):
                raise result
            return http.credentials_response(self._profile, result, self._clock() + margin), True
        except KeyturnError as error:
            return http.failure_response(error), False


def _answer(sock: socket.socket, answer: bytes) -> None:
    """Send the response and close the connection. It fits in the socket's empty send buffer, so this never
    blocks."""
    with sock, contextlib.suppress(OSError):
        # Read the rest of the request, because the kernel resets a connection with unread data, and the
        # response is lost.
        with contextlib.suppress(BlockingIOError):
            sock.recv(1 << 16)
        sock.send(answer)
        sock.shutdown(socket.SHUT_WR)


def listen() -> socket.socket:
    """Return a socket that listens on a free port of 127.0.0.1 only."""
    listener = socket.create_server((http.HOST, 0), backlog=512, reuse_port=False)
    os.set_inheritable(listener.fileno(), False)  # noqa: FBT003 - it takes no keyword
    return listener
