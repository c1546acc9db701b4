"""Transport of a reply: complete as AWS sends it, or broken as networks break it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

DRIP_SECONDS = 0.02
"""Delay between two bytes of a slow response. A few hundred bytes take longer than any read timeout."""


class Wire(Enum):
    """Way in which a reply is transported."""

    WHOLE = "whole"
    DRIP = "drip"
    """Byte by byte from the status line on, so that no single read takes long."""
    TRUNCATED = "truncated"
    """Half of the Content-Length, then an orderly close."""
    RESET = "reset"
    """No byte, then a connection reset."""
    RESET_IN_ANSWER = "reset in answer"
    """The head and half of the body, then a connection reset."""
    NEVER = "never"
    """No byte; the connection stays open."""
    RAW = "raw"
    """The body without a head, as from a server that does not speak HTTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The response to the client."""

    status: int
    body: bytes
    request_id: str = ""
    """Empty if the reply does not come from AWS."""
    kind: str = "text/xml"
    headers: tuple[tuple[str, str], ...] = ()
    wire: Wire = Wire.WHOLE


NOTHING = Reply(0, b"")
"""Placeholder if the service was not called; only its `wire` is used."""


def head(reply: Reply, date: str, *, last: bool) -> bytes:
    """Return the status line and headers of `reply`.

    :param date: the `Date` header.
    :param last: True if the connection closes after it.
    """
    known = {status.value: status.phrase for status in HTTPStatus}
    lines = [
        f"HTTP/1.1 {reply.status} {known.get(reply.status, 'Unknown')}",
        "Server: keyturn-sandbox",
        f"Date: {date}",
        f"Content-Type: {reply.kind}",
        f"Content-Length: {len(reply.body)}",
        "Cache-Control: no-store",
    ]
    if reply.request_id:
        lines.append(f"x-amzn-RequestId: {reply.request_id}")
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if last:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
