"""How an answer goes over the wire: whole, as AWS sends it, or broken in one of the ways in which networks break it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

DRIP_SECONDS = 0.02
"""Between two bytes of a dripping answer: a few hundred bytes take longer than any one read may."""


class Wire(Enum):
    """What becomes of an answer on its way."""

    WHOLE = "whole"
    DRIP = "drip"
    """Byte by byte from the status line on, so that no single read ever takes long."""
    TRUNCATED = "truncated"
    """Half of what Content-Length tells, then an orderly end."""
    RESET = "reset"
    """Not a byte, and the connection is reset."""
    RESET_IN_ANSWER = "reset in answer"
    """The head and half of the body, then a reset."""
    NEVER = "never"
    """Not a byte, and the connection stays open."""
    RAW = "raw"
    """The body alone, without any head: something that does not speak HTTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back to the client."""

    status: int
    body: bytes
    request_id: str = ""
    """Empty for whatever does not come from AWS."""
    kind: str = "text/xml"
    headers: tuple[tuple[str, str], ...] = ()
    wire: Wire = Wire.WHOLE


NOTHING = Reply(0, b"")
"""The reply before anybody answered; only its `wire` can mean anything."""


def head(reply: Reply, date: str, *, last: bool) -> bytes:
    """The status line and headers of `reply`.

    :param date: the `Date` header.
    :param last: whether the connection ends after it.
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
