"""The credential services of a container and of an EC2 instance, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from keyturn.model.text import iso
from keyturn_sandbox.policy.principals import Session

ROLE = "instance-role"
TOKEN = "imds-token"


@contextmanager
def serve_credentials(session: Session) -> Iterator[str]:
    """Serve `session` as the container's (`/container`) and as the instance's (IMDSv2, at its own paths);
    yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer(TOKEN if self.path == "/latest/api/token" else None)

        def do_GET(self) -> None:
            base = "/latest/meta-data/iam/security-credentials/"
            if self.path == "/container" and self.headers.get("Authorization") == "Bearer abc":
                self._answer(_document(session))
            elif self.headers.get("x-aws-ec2-metadata-token") != TOKEN:
                self._answer(None)
            else:
                self._answer({base: ROLE, base + ROLE: _document(session)}.get(self.path))

        def _answer(self, body: str | None) -> None:
            data = (body or "").encode()
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's own name
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _document(session: Session) -> str:
    return json.dumps(
        {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": iso(session.issued),
            "AccessKeyId": session.key_id,
            "SecretAccessKey": session.secret.reveal(),
            "Token": session.token.reveal(),
            "Expiration": iso(session.expires),
        }
    )
