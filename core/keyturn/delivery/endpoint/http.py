"""HTTP format of the endpoint, as the ECS container credential provider expects it: request validation and
responses. Pure.

Every program of the machine can connect to the port, and so can every web page in a browser on it. Therefore
exactly one form of request is accepted, and everything else is refused with the same text.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from keyturn.delivery import credential_process
from keyturn.model.errors import THEN_RUN, KeyturnError, Remedy, UsageError
from keyturn.model.secret import Secret
from keyturn.model.text import iso

HOST = "127.0.0.1"
#: End of the request head.
HEAD_END = b"\r\n\r\n"
#: Maximum length of a head in bytes, including its end.
HEAD_LIMIT = 8 << 10
_MAX_FIELDS = 64

_METHOD = re.compile(rb"[A-Z]{1,32}")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)")
#: Headers of a browser, a proxy or a body. AWS clients do not send them to a loopback address.
_FOREIGN = frozenset(
    {b"origin", b"referer", b"cookie", b"forwarded", b"via", b"x-real-ip", b"transfer-encoding", b"upgrade"}
    | {b"expect", b"trailer", b"te", b"proxy-authorization", b"proxy-connection"}
)
_FOREIGN_STARTS = (b"x-forwarded-", b"access-control-", b"sec-")


class RequestStatus(IntEnum):
    """Result of the validation; the value is the HTTP status."""

    OK = 200
    MALFORMED = 400
    REFUSED = 403
    WRONG_METHOD = 405


_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """Address of one endpoint and the secrets that a client must know."""

    port: int
    path: Secret
    """Path of the URL with its leading slash. Only the program's environment contains it."""
    token: Secret
    """Complete value of the Authorization header."""

    def url(self) -> Secret:
        """Return the URL for AWS clients."""
        return Secret(f"http://{HOST}:{self.port}{self.path.reveal()}")

    def hosts(self) -> tuple[bytes, ...]:
        """Return the accepted values of the Host header. Other names that resolve to 127.0.0.1 are rejected
        (DNS rebinding)."""
        return (f"{HOST}:{self.port}".encode(), f"localhost:{self.port}".encode())


def judge(request: bytes, address: EndpointAddress) -> RequestStatus:
    """Return the status of a request. It is :attr:`RequestStatus.OK` only for GET of the path with the token,
    without headers of a browser or proxy, without a body and without a second request.

    :param request: all bytes received, at least up to the end of the head.
    """
    head, end, rest = request.partition(HEAD_END)
    if not end or rest or len(request) > HEAD_LIMIT:
        return RequestStatus.MALFORMED
    request_line, *field_lines = head.split(b"\r\n")
    parts = request_line.split(b" ")
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]) or parts[2] != b"HTTP/1.1":
        return RequestStatus.MALFORMED
    fields = _fields(field_lines)
    if fields is None:
        return RequestStatus.MALFORMED
    if parts[0] != b"GET":
        return RequestStatus.WRONG_METHOD
    # No short circuit, because the time that a refusal takes must not tell which check failed.
    checks = (
        hmac.compare_digest(parts[1], address.path.reveal().encode()),
        hmac.compare_digest(fields.get(b"authorization", b""), address.token.reveal().encode()),
        fields.get(b"host") in address.hosts(),
        not _is_foreign(fields),
    )
    return RequestStatus.OK if all(checks) else RequestStatus.REFUSED


def _fields(lines: list[bytes]) -> dict[bytes, bytes] | None:
    """Return the header fields by lower-case name, or None if a line is invalid or folded, or a name is
    repeated."""
    if len(lines) > _MAX_FIELDS:
        return None
    fields: dict[bytes, bytes] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None or match[1].lower() in fields:
            return None
        fields[match[1].lower()] = match[2].strip(b" \t")
    return fields


def _is_foreign(fields: Mapping[bytes, bytes]) -> bool:
    if _FOREIGN & fields.keys() or fields.get(b"content-length", b"0") != b"0":
        return True
    return any(
        name.startswith(_FOREIGN_STARTS) and not (name.startswith(b"sec-fetch-") and value == b"none")
        for name, value in fields.items()
    )


def refusal_response(status: RequestStatus) -> bytes:
    """Return the response to a rejected request. It tells only the kind of fault."""
    return _answer(status, {"Code": "Refused", "Message": "keyturn serves only the program that it started."})


def credentials_response(name: str, document: str, now: datetime) -> bytes:
    """Return the response with credentials (AWS SDKs reference, "Container credential provider"). It contains
    the secrets in plaintext.

    :param document: as :func:`keyturn.delivery.credential_process.document` writes it.
    :raises UsageError: if the credentials are not temporary.
    :raises KeyturnError: if they have expired.
    """
    credentials, account = credential_process.parse(document)
    if credentials.session_token is None:
        raise only_temporary(name)
    if credentials.expires is None:
        raise UsageError(
            f"Endpoint cannot serve {name}", "the expiry of its session is unknown", "Omit --endpoint"
        )
    if credentials.expires <= now:
        raise KeyturnError(
            f"Endpoint cannot serve {name}", "its session has expired", Remedy("refresh", name)
        )
    table = {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key.reveal(),
        "Token": credentials.session_token.reveal(),
        "Expiration": iso(credentials.expires),
        **({"AccountId": account} if account else {}),
    }
    return _answer(RequestStatus.OK, table)


def only_temporary(name: str) -> UsageError:
    """Return the error for a profile that delivers its long-term access key."""
    return UsageError(
        f"Endpoint cannot serve {name}",
        "it delivers its long-term access key, and an endpoint serves only temporary credentials",
        ("Omit --endpoint, or ", THEN_RUN, Remedy("set", name, "session=temporary")),
    )


def failure_response(error: KeyturnError) -> bytes:
    """Return the response to a valid request when no credentials are available. SDKs show its message."""
    return _answer(503, {"Code": "Unavailable", "Message": f"keyturn: {error.line()}"})


def _answer(status: int, table: Mapping[str, str | None]) -> bytes:
    body = json.dumps(table, ensure_ascii=True).encode("ascii") + b"\n"
    lines = [
        f"HTTP/1.1 {int(status)} {_REASONS[int(status)]}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status == RequestStatus.WRONG_METHOD:
        lines.append("Allow: GET")
    return "\r\n".join(lines).encode("ascii") + HEAD_END + body
