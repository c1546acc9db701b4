"""HTTP server of the stand-in: loopback only, with limits, and closed to web pages."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from keyturn_sandbox.aws_errors import not_implemented
from keyturn_sandbox.corrupt_responses import PORTAL_PATH, page
from keyturn_sandbox.service import Service
from keyturn_sandbox.services.sts import NAMESPACE
from keyturn_sandbox.sigv4 import HttpRequest
from keyturn_sandbox.wire import DRIP_SECONDS, Reply, Wire, head
from keyturn_sandbox.xml_responses import failure

CONNECTIONS = 64
"""Concurrent connections; further ones are closed without a response."""
IDLE_SECONDS = 10.0
REQUEST_SECONDS = 25.0
"""Seconds for a whole request to arrive, including idle time before it. Clients that send a byte now and then
are disconnected."""
HOLD_SECONDS = 120.0
"""Seconds that a call without a response is held open."""
BODY_LIMIT = 256 * 1024

#: Headers of browsers and proxies. AWS clients on the same machine do not send them.
_FOREIGN = ("origin", "sec-fetch-site", "x-forwarded-for", "forwarded", "via")


class LoopbackServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 and passes requests to a :class:`Service`.

    :param port: 0 for any free port.
    :raises OSError: if the port is in use.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, service: Service, port: int = 0) -> None:
        self.service = service
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        self._open: set[socket.socket] = set()
        self.incomplete: dict[socket.socket, float] = {}
        """Connections with an incomplete request, and their start time."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.port = int(self.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="keyturn-sandbox", daemon=True
        )

    def start(self) -> None:
        """Serve in a new thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self.service.stopping.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def service_actions(self) -> None:
        """Disconnect clients that are too slow. The base class calls this several times per second."""
        now = time.monotonic()
        for connection, since in list(self.incomplete.items()):
            if now - since > REQUEST_SECONDS:
                self.incomplete.pop(connection, None)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:  # socketserver's types
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._open.add(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._release(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # the same
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._release(request)

    def _release(self, request: socket.socket) -> None:
        self._open.discard(request)
        self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # the same
        """Ignore errors of disconnected clients. Requests are never printed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "keyturn-sandbox"
    sys_version = ""
    timeout = IDLE_SECONDS
    server: LoopbackServer

    def handle_one_request(self) -> None:
        """Wait for a request, at most as long as one may take."""
        self.server.incomplete[self.connection] = time.monotonic()
        try:
            super().handle_one_request()
        finally:
            self.server.incomplete.pop(self.connection, None)

    def parse_request(self) -> bool:
        """Read the request line and headers, and reject forbidden clients for every method."""
        return super().parse_request() and self._is_allowed()

    def do_POST(self) -> None:
        body = self._body()
        self.server.incomplete.pop(self.connection, None)
        if body is None:
            return
        path, _, query = self.path.partition("?")
        if path != "/" or "x-amz-target" in self.headers:
            self._send_not_implemented()
            return
        headers = {name.lower(): self.headers.get_all(name, []) for name in self.headers}
        self._send(self.server.service.answer(HttpRequest("POST", path, query, headers, body)))

    def do_GET(self) -> None:
        """Serve the only page, the target of a captive portal's redirect."""
        if self.path == PORTAL_PATH:
            self._send(Reply(200, page("Sign in to the network"), kind="text/html; charset=utf-8"))
        else:
            self._send_not_implemented()

    # the base class would send HTML
    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Send an error that AWS clients can read. The base class calls this for other methods and for
        requests that are not HTTP."""
        self.close_connection = True
        self._send_not_implemented()

    def _is_allowed(self) -> bool:
        """Return True if the request can come from a local AWS client: an exact Host header, and no headers
        of a browser or proxy."""
        hosts = self.headers.get_all("host", [])
        allowed = {f"127.0.0.1:{self.server.port}", f"localhost:{self.server.port}"}
        if (
            len(hosts) == 1
            and hosts[0].strip() in allowed
            and not any(name in self.headers for name in _FOREIGN)
        ):
            return True
        self.close_connection = True
        self._send(Reply(403, b""))
        return False

    def _body(self) -> bytes | None:
        """Return the whole body, or None if it was rejected for its length."""
        try:
            length = int(self.headers.get("content-length", ""))
        except ValueError:
            length = -1
        if "transfer-encoding" in self.headers or length < 0:
            status = 411
        elif length > BODY_LIMIT:
            status = 413
        else:
            return self.rfile.read(length)
        self.close_connection = True
        self._send(Reply(status, b""))
        return None

    def _send_not_implemented(self) -> None:
        """Send the error for other services: XML for S3, JSON for the rest."""
        refusal = not_implemented()
        if "/s3/" in (self.headers.get("authorization", "") if hasattr(self, "headers") else ""):
            self._send(Reply(refusal.status, failure(refusal, NAMESPACE, "")))
            return
        body = json.dumps({"__type": refusal.code, "message": refusal.message}).encode("ascii")
        self._send(Reply(refusal.status, body, kind="application/json"))

    def _send(self, reply: Reply) -> None:
        """Send `reply` over its kind of connection."""
        if reply.wire is not Wire.WHOLE:
            self.close_connection = True
        head_bytes = head(reply, self.date_time_string(), last=self.close_connection)
        body = reply.body if self.command != "HEAD" else b""
        match reply.wire:
            case Wire.WHOLE:
                self.wfile.write(head_bytes + body)
            case Wire.TRUNCATED:
                self.wfile.write(head_bytes + body[: len(body) // 2])
            case Wire.RAW:
                self.wfile.write(body)
            case Wire.DRIP:
                self._send_slowly(head_bytes + body)
            case Wire.NEVER:
                self._hold_open()
            case Wire.RESET:
                self._reset()
            case Wire.RESET_IN_ANSWER:
                self.wfile.write(head_bytes + body[: len(body) // 2])
                self._reset()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the `Date` header by the stand-in's clock."""
        return super().date_time_string(
            self.server.service.real_now().timestamp() if timestamp is None else timestamp
        )

    def _send_slowly(self, answer: bytes) -> None:
        for byte in answer:
            self.wfile.write(bytes((byte,)))
            if self.server.service.stopping.wait(DRIP_SECONDS):
                return

    def _hold_open(self) -> None:
        """Hold the connection open until the client disconnects or the time limit."""
        deadline = time.monotonic() + HOLD_SECONDS
        while time.monotonic() < deadline and not self.server.service.stopping.is_set():
            if select.select([self.connection], [], [], 0.1)[0]:
                return

    def _reset(self) -> None:
        """Reset the connection, so that the client gets an error instead of an empty response."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Log nothing, because requests contain session tokens."""
