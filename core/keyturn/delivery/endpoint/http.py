"""Delivery over HTTP on loopback, as containers get credentials: who is answered, and in which bytes. Pure.

The port is open to every program of the machine, and to every web page in a browser on it, so a request is held against
one form and everything else is refused in the same words.
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
from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.secret import Secret
from keyturn.model.text import iso

HOST = "127.0.0.1"
#: What ends a head.
HEAD_END = b"\r\n\r\n"
#: Of a head, in bytes, its end included.
HEAD_LIMIT = 8 << 10
_MAX_FIELDS = 64

_METHOD = re.compile(rb"[A-Z]{1,32}")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~]*)")
#: A browser, a proxy or a body; no AWS client sends any of them to an address of its own machine.
_FOREIGN = frozenset(
    {b"origin", b"referer", b"cookie", b"forwarded", b"via", b"x-real-ip", b"transfer-encoding", b"upgrade"}
    | {b"expect", b"trailer", b"te", b"proxy-authorization", b"proxy-connection"}
)
_FOREIGN_STARTS = (b"x-forwarded-", b"access-control-", b"sec-")


class RequestStatus(IntEnum):
    """What becomes of a request; its number is the HTTP status."""

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
    """One endpoint: where it is, and what whoever asks must know."""

    port: int
    path: Secret
    """Of the URL, with the slash before it. In the environment of the program alone."""
    token: Secret
    """The whole value of the Authorization header."""

    def url(self) -> Secret:
        """What AWS clients are given."""
        return Secret(f"http://{HOST}:{self.port}{self.path.reveal()}")

    def hosts(self) -> tuple[bytes, ...]:
        """The only values of the Host header that name this endpoint; a name that was bound to 127.0.0.1 is none."""
        return (f"{HOST}:{self.port}".encode(), f"localhost:{self.port}".encode())


def judge(request: bytes, address: EndpointAddress) -> RequestStatus:
    """What a request deserves: :attr:`RequestStatus.OK` for GET of the path, with the token, without anything that comes
    from a browser or a proxy, and without a body or a second request behind it.

    :param request: all that came, up to the end of the head at least.
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
    # Without a short cut: how long a refusal takes does not tell what was right.
    checks = (
        hmac.compare_digest(parts[1], address.path.reveal().encode()),
        hmac.compare_digest(fields.get(b"authorization", b""), address.token.reveal().encode()),
        fields.get(b"host") in address.hosts(),
        not _is_foreign(fields),
    )
    return RequestStatus.OK if all(checks) else RequestStatus.REFUSED


def _fields(lines: list[bytes]) -> dict[bytes, bytes] | None:
    """The header fields by their names in small letters; None if one is none, is folded, or comes twice."""
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
    """The answer to whoever gets nothing; it tells nothing but the kind of fault."""
    return _answer(status, {"Code": "Refused", "Message": "keyturn answers the program that it started."})


def credentials_response(name: str, document: str, now: datetime) -> bytes:
    """The answer with credentials (AWS SDKs reference, "Container credential provider"). Holds the secrets in clear.

    :param document: as :func:`keyturn.delivery.credential_process.document` writes it.
    :raises UsageError: they are no temporary ones.
    :raises KeyturnError: they have ended.
    """
    credentials, account = credential_process.parse(document)
    if credentials.session_token is None:
        raise only_temporary(name)
    if credentials.expires is None:
        why = "nobody knows when its session ends, and an endpoint has to say it"
        raise UsageError(f"endpoint for {name}", why, "Leave out --endpoint")
    if credentials.expires <= now:
        raise KeyturnError(f"endpoint for {name}", "its session has ended", f"Run: keyturn refresh {name}")
    table = {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key.reveal(),
        "Token": credentials.session_token.reveal(),
        "Expiration": iso(credentials.expires),
        **({"AccountId": account} if account else {}),
    }
    return _answer(RequestStatus.OK, table)


def only_temporary(name: str) -> UsageError:
    """For a profile that hands out its long-term key."""
    why = "it hands out its long-term key itself, and an endpoint gives temporary credentials only"
    return UsageError(
        f"endpoint for {name}", why, f"Leave out --endpoint, or run: keyturn set {name} session=temporary"
    )


def failure_response(error: KeyturnError) -> bytes:
    """The answer to whoever asked rightly, where there is nothing to give. SDKs show it."""
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
