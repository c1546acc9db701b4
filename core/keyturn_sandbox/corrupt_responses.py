"""Corrupted responses: pages of proxies and captive portals, and AWS's response damaged in transit.

Each function takes the correct reply (empty if the service was not called) and returns the reply that arrives
instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from xml.sax.saxutils import escape

from keyturn_sandbox.wire import NOTHING, Reply, Wire

HUGE = 12 * 1024 * 1024
PORTAL_PATH = "/captive-portal"

Corruption = Callable[[Reply], Reply]

_HTML = "text/html; charset=utf-8"
#: Hostile page text: markup, scripts and terminal escapes.
_WORDS = (
    "<script>alert(1)</script> \x1b]0;owned\x07 [bold red]Sign in[/] & [@click=app.quit()]accept[/] the terms"
)


def page(title: str) -> bytes:
    """Return an HTML page as a proxy or captive portal sends it."""
    return (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title><meta charset=utf-8></head>"
        f"<body><h1>{title}</h1><p>{_WORDS}<br><hr></body></html>\n"
    ).encode()


def html_page(status: int, title: str, *headers: tuple[str, str]) -> Corruption:
    """Return a corruption that sends an HTML page instead of the response."""
    return lambda _reply: Reply(status, page(title), kind=_HTML, headers=headers)


def over_wire(wire: Wire) -> Corruption:
    """Return a corruption that sends the same response over a broken connection."""
    return lambda reply: replace(reply, wire=wire)


def with_body(body: bytes, kind: str = "text/xml") -> Corruption:
    """Return a corruption that replaces the body and keeps AWS's status and headers."""
    return lambda reply: replace(reply, body=body, kind=kind)


def with_content_type(kind: str) -> Corruption:
    """Return a corruption that changes the content type and keeps the body."""
    return lambda reply: replace(reply, kind=kind)


def raw_bytes(first_bytes: bytes) -> Corruption:
    """Return a corruption that sends bytes that are not HTTP."""
    return lambda _reply: replace(NOTHING, body=first_bytes, wire=Wire.RAW)


def half_body(reply: Reply) -> Reply:
    """Return half of the body with a matching Content-Length."""
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def empty_result(reply: Reply) -> Reply:
    """Return the document with an empty result element."""
    return replace(
        reply, body=re.sub(rb"(<\w+Result>).*(</\w+Result>)", rb"\1\2", reply.body, flags=re.DOTALL)
    )


def without_element(element: str) -> Corruption:
    """Return a corruption that removes every occurrence of one element."""
    return lambda reply: replace(reply, body=_replace_element(element, b"", reply.body))


def with_text(element: str, text: str) -> Corruption:
    """Return a corruption that replaces the text of one element."""
    replacement = f"<{element}>{escape(text)}</{element}>".encode()
    return lambda reply: replace(reply, body=_replace_element(element, replacement, reply.body))


def huge_page(_reply: Reply) -> Reply:
    """Return a page of 12 MiB."""
    return Reply(200, page("Welcome").ljust(HUGE, b"\n"), kind=_HTML)


def huge_field(reply: Reply) -> Reply:
    """Return the document with 12 MiB of text in its first text element."""
    return replace(reply, body=re.sub(rb">([^<]+)<", b">" + b"A" * HUGE + b"<", reply.body, count=1))


def _replace_element(element: str, replacement: bytes, body: bytes) -> bytes:
    name = re.escape(element.encode())
    return re.sub(rb"<%s>.*?</%s>" % (name, name), lambda _: replacement, body, flags=re.DOTALL)
