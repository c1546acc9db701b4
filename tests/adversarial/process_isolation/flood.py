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


def connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(100)
    connection.connect(path)
    return connection


def is_answered(connection: socket.socket) -> bool:
    answer = b""
    with contextlib.suppress(OSError):
        while not answer.endswith(b"\n") and (part := connection.recv(65536)):
            answer += part
    return json.loads(answer or b"{}").get("ok") is True


def one_after_another(path: str, count: int) -> int:
    answers = 0
    for _ in range(count):
        with connect(path) as connection:
            connection.sendall(ASK)
            answers += is_answered(connection)
    return answers


def at_once(path: str, count: int) -> int:
    connections = [connect(path) for _ in range(count)]
    for connection in connections:
        connection.sendall(ASK)
    answers = sum(is_answered(connection) for connection in connections)
    for connection in connections:
        connection.close()
    return answers


def half_request(path: str, count: int) -> int:
    """Send half a request on all connections and keep them open, then send one whole request."""
    connections = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            connection = connect(path)
            connection.sendall(ASK[:7] + b"x" * 50_000)
            connections.append(connection)
    answers = one_after_another(path, 1)
    for connection in connections:
        connection.close()
    return answers


def oversized_header(path: str, count: int) -> int:
    """Announce `count` bytes in words that are not of the protocol, then send nothing."""
    with connect(path) as connection:
        connection.sendall(b"Content-Length: %d\r\n" % count + count.to_bytes(8, "big") + b"\n")
        is_answered(connection)
    return one_after_another(path, 1)


def endless_line(path: str, count: int) -> int:
    """Send `count` bytes without a line end, as far as they are accepted."""
    part = b"x" * (1 << 20)
    with connect(path) as connection, contextlib.suppress(OSError):
        for _ in range(count // len(part)):
            connection.sendall(part)
    return one_after_another(path, 1)


WAYS = {
    "one after another": one_after_another,
    "at once": at_once,
    "half said": half_request,
    "announced": oversized_header,
    "sent": endless_line,
}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[2]](sys.argv[1], int(sys.argv[3]))))
