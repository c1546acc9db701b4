"""A client that sends too many requests. Run as a user: `flood.py SOCKET WAY COUNT`; prints the number of
answers as JSON.

Standard library only; imports nothing of keyturn.
"""
# ruff: noqa: T201

from __future__ import annotations

import contextlib
import json
import socket
import sys

ASK = b'{"v":1,"op":"status"}\n'


def connected(path: str) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(100)
    one.connect(path)
    return one


def answered(one: socket.socket) -> bool:
    got = b""
    with contextlib.suppress(OSError):
        while not got.endswith(b"\n") and (part := one.recv(65536)):
            got += part
    return json.loads(got or b"{}").get("ok") is True


def one_after_another(path: str, count: int) -> int:
    good = 0
    for _ in range(count):
        with connected(path) as one:
            one.sendall(ASK)
            good += answered(one)
    return good


def at_once(path: str, count: int) -> int:
    many = [connected(path) for _ in range(count)]
    for one in many:
        one.sendall(ASK)
    good = sum(answered(one) for one in many)
    for one in many:
        one.close()
    return good


def half_said(path: str, count: int) -> int:
    """Send half a request on all connections and keep them open, then send one whole request."""
    many = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            one = connected(path)
            one.sendall(ASK[:7] + b"x" * 50_000)
            many.append(one)
    good = one_after_another(path, 1)
    for one in many:
        one.close()
    return good


def announced(path: str, count: int) -> int:
    """Announce `count` bytes in words that are not of the protocol, then send nothing."""
    with connected(path) as one:
        one.sendall(b"Content-Length: %d\r\n" % count + count.to_bytes(8, "big") + b"\n")
        answered(one)
    return one_after_another(path, 1)


def sent(path: str, count: int) -> int:
    """Send `count` bytes without a line end, as far as they are accepted."""
    part = b"x" * (1 << 20)
    with connected(path) as one, contextlib.suppress(OSError):
        for _ in range(count // len(part)):
            one.sendall(part)
    return one_after_another(path, 1)


WAYS = {
    "one after another": one_after_another,
    "at once": at_once,
    "half said": half_said,
    "announced": announced,
    "sent": sent,
}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[2]](sys.argv[1], int(sys.argv[3]))))
