"""An endpoint that records every request and answers STS with a session that no other endpoint issues."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import parse_qs

from keyturn.model.text import iso

#: Key id of every session that it issues.
KEY_ID = "ASIARECORDEDRECORDED"
_SECRET, _TOKEN = "r" * 40, "recorded-session-token"
_CREDENTIALS = (
    "<Credentials><AccessKeyId>{key_id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
    "<SessionToken>{token}</SessionToken><Expiration>{expires}</Expiration></Credentials>"
)
_ROLE = (
    "<AssumedRoleUser><AssumedRoleId>AROAEXAMPLE:s</AssumedRoleId>"
    "<Arn>arn:aws:sts::111122223333:assumed-role/Recorded/s</Arn></AssumedRoleUser>"
)
_ISSUING = ("GetSessionToken", "AssumeRole", "AssumeRoleWithWebIdentity")
_DENIED = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"


@dataclass
class RecordingAws:
    """The endpoint."""

    url: str
    requests: list[str] = field(default_factory=list)
    """Each request with its headers and body."""

    def actions(self) -> list[str]:
        """Return the action of each request."""
        return [parse_qs(request.rpartition("\n")[2])["Action"][0] for request in self.requests]


@contextmanager
def recording_aws(certificate: Path | None = None) -> Iterator[RecordingAws]:
    """Serve on a free port of the loopback interface.

    :param certificate: file with a certificate and its key, for TLS.
    """
    record = RecordingAws("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            record.requests.append(f"{self.requestline}\n{self.headers}\n{body}")
            action = parse_qs(body)["Action"][0]
            self._send(*(200, _issued(action)) if action in _ISSUING else (403, _DENIED))

        def _send(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    record.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _issued(action: str) -> str:
    expires = iso(datetime.now(UTC) + timedelta(hours=1))
    credentials = _CREDENTIALS.format(key_id=KEY_ID, secret=_SECRET, token=_TOKEN, expires=expires)
    role = _ROLE if action.startswith("AssumeRole") else ""
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{credentials}'
        f"{role}</{action}Result></{action}Response>"
    )


def write_certificate(path: Path) -> None:
    """Write a new certificate for 127.0.0.1 that signs itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keyturn test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    own_key = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(own_key + certificate.public_bytes(pem))
