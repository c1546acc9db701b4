"""Answers that are not what AWS sends: pages of proxies and portals, and AWS's own answer spoilt on its way.

Each function takes the right answer (or, where nobody was asked, an empty one) and returns what arrives instead.
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
#: What a page says is as hostile as a page can be: markup, scripts and terminal escapes.
_WORDS = (
    "<script>alert(1)</script> \x1b]0;owned\x07 [bold red]Sign in[/] & [@click=app.quit()]accept[/] the terms"
)


def page(title: str) -> bytes:
    """An HTML page such as a proxy or a portal sends."""
    return (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title><meta charset=utf-8></head>"
        f"<body><h1>{title}</h1><p>{_WORDS}<br><hr></body></html>\n"
    ).encode()


def says(status: int, title: str, *headers: tuple[str, str]) -> Corruption:
    """An HTML page instead of an answer."""
    return lambda _reply: Reply(status, page(title), kind=_HTML, headers=headers)


def goes(wire: Wire) -> Corruption:
    """The same answer, on a broken way."""
    return lambda reply: replace(reply, wire=wire)


def reads(body: bytes, kind: str = "text/xml") -> Corruption:
    """Another body under AWS's own status and headers."""
    return lambda reply: replace(reply, body=body, kind=kind)


def typed(kind: str) -> Corruption:
    """AWS's body under another content type."""
    return lambda reply: replace(reply, kind=kind)


def raw(first_bytes: bytes) -> Corruption:
    """Bytes that are no HTTP."""
    return lambda _reply: replace(NOTHING, body=first_bytes, wire=Wire.RAW)


def cut_off(reply: Reply) -> Reply:
    """Half of the body, under a Content-Length that fits the half."""
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def emptied(reply: Reply) -> Reply:
    """The right document without anything in its result."""
    return replace(
        reply, body=re.sub(rb"(<\w+Result>).*(</\w+Result>)", rb"\1\2", reply.body, flags=re.DOTALL)
    )


def without(element: str) -> Corruption:
    """The right document without one element, wherever it stands."""
    return lambda reply: replace(reply, body=_each(element, b"", reply.body))


def with_text(element: str, text: str) -> Corruption:
    """The right document with another text in one element."""
    one = f"<{element}>{escape(text)}</{element}>".encode()
    return lambda reply: replace(reply, body=_each(element, one, reply.body))


def huge_page(_reply: Reply) -> Reply:
    """A page of twelve megabytes."""
    return Reply(200, page("Welcome").ljust(HUGE, b"\n"), kind=_HTML)


def huge_field(reply: Reply) -> Reply:
    """The right document with twelve megabytes in its first text."""
    return replace(reply, body=re.sub(rb">([^<]+)<", b">" + b"A" * HUGE + b"<", reply.body, count=1))


def _each(element: str, instead: bytes, body: bytes) -> bytes:
    name = re.escape(element.encode())
    return re.sub(rb"<%s>.*?</%s>" % (name, name), lambda _: instead, body, flags=re.DOTALL)
