"""No request but the program's own gets a credential from a real endpoint, whoever sends it and however."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from keyturn.delivery.endpoint.http import EndpointAddress, RequestStatus, judge
from keyturn.model.secret import Secret
from tests.adversarial.process_isolation.ordinary import BOB, common_python, run_as
from tests.core.delivery.endpoint.exec_program import (
    Program,
    Record,
    read_reply,
    replies_to,
    start_program,
    tcp_tables,
)
from tests.core.delivery.endpoint.test_endpoint_requests import WRONG
from tests.end_to_end.person import Person
from tests.support.needs import skip_or_fail

#: Of whatever holds a credential.
LOOT = (b"ASIA", b"AKIA", b"SecretAccessKey", b"200 OK")
_HOLDERS = {b"/aBcD-x_9": "path", b"t0ken-Of-32": "token", b"4711": "port"}


@pytest.fixture(scope="module")
def target(person: Person) -> Iterator[Program]:
    with start_program(person) as program:
        assert program.key_id()
        yield program
        assert program.key_id(), "it still serves"


def got_nothing(answer: bytes) -> bool:
    return not any(word in answer for word in LOOT)


def aimed(raw: bytes, target: Program) -> bytes:
    """A request of the judge's table, with the real port, path and token in it."""
    real = {"path": target.path, "token": target.token, "port": str(target.port)}
    for holder, name in _HOLDERS.items():
        raw = raw.replace(holder, real[name].encode())
    return raw


def guesses(token: str) -> Iterator[str]:
    """Wrong tokens near the right one, and some that are none."""
    yield from (
        "",
        " ",
        "null",
        "undefined",
        "*",
        token[:-1],
        token + "=",
        token[::-1],
        token.swapcase(),
        f'"{token}"',
    )
    for at in range(len(token)):
        yield token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


def requests(target: Program) -> Iterator[bytes]:
    for _, lines in WRONG.values():
        yield aimed(b"\r\n".join([*lines, b"", b""]), target)
    for token in guesses(target.token):
        yield (
            target.request(token=token)
            if token.strip()
            else target.request(f"Authorization: {token}", token="")
        )
    for host in ("evil.example", f"rebound.example:{target.port}", f"127.0.0.1.example:{target.port}",
        "127.0.0.1:80", f"127.1:{target.port}",
                 f"[::ffff:127.0.0.1]:{target.port}", f"2130706433:{target.port}",
                 f"0x7f.1:{target.port}"):  # fmt: skip
        yield target.request(host=host)
    for method in ("POST", "PUT", "OPTIONS", "HEAD", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        yield target.request(line=f"{method} {target.path} HTTP/1.1")
        yield target.request("Content-Length: 2", line=f"{method} {target.path} HTTP/1.1") + b"{}"
    for path in ("/", "/../..", f"/..{target.path}", f"{target.path}/..", f"/x/..{target.path}",
        f"{target.path}%00", f"{target.path};x",
                 target.path[:-1], "/latest/meta-data/iam/security-credentials/", "/%2e%2e/%2e%2e/etc/passwd",
                 f"\\{target.path}"):  # fmt: skip
        yield target.request(line=f"GET {path} HTTP/1.1")
    preflight = (
        "Origin: https://evil.example",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: authorization",
    )
    yield target.request(*preflight, line=f"OPTIONS {target.path} HTTP/1.1")
    yield target.request(preflight[0])
    yield target.request() + target.request()
    yield (
        target.request(line=f"GET {target.path} HTTP/1.1\r\nTransfer-Encoding: chunked")
        + b"0\r\n\r\n"
        + target.request()
    )
    yield target.request(token="") + target.request()
    yield target.request().replace(b"\r\n", b"\n")
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def spoilt(target: Program, count: int) -> Iterator[bytes]:
    """The right request with something in it cut out, doubled or changed."""
    dice = random.Random(7)  # noqa: S311  # the same each time
    right = target.request("User-Agent: x")
    # Whatever follows is not the right request: the token, the path and the host are inside of what is
    # spoilt.
    start, end = right.index(target.path.encode()), right.index(target.token.encode()) + len(target.token)
    for _ in range(count):
        at = dice.randrange(start, end)
        length = dice.randrange(1, 9)
        yield dice.choice(
            [
                right[:at] + right[at + length :],
                right[:at] + dice.randbytes(length) + right[at + length :],
                right[:at] + right[at : at + length] * 2 + right[at + length :],
                right[:at] + b"\r\n" + right[at:],
            ]
        )


def is_still_right(raw: bytes, target: Program) -> bool:
    """Return True if a spoilt request still means the same (a letter's case in a name, a space around a
    value)."""
    door = EndpointAddress(target.port, Secret(target.path), Secret(target.token))
    return judge(raw, door) is RequestStatus.OK


def said(target: Program, raw: bytes) -> bytes:
    """Return the reply. An unfinished head ends at once here; the endpoint would drop it after five
    seconds."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as one:
        with suppress(OSError):
            one.sendall(raw)
            one.shutdown(socket.SHUT_WR)
        return read_reply(one)


def test_of_all_wrong_requests_none_gets_a_credential(target: Program, record_property: Record) -> None:
    tried = 0
    assert b"200 OK" in said(target, target.request())
    for raw in (*requests(target), *spoilt(target, 1000)):
        if is_still_right(raw, target):
            continue
        assert got_nothing(said(target, raw)), raw
        tried += 1
    assert tried > 1100
    record_property("endpoint: wrong requests without a credential", f"{tried} of {tried}")


def test_a_connection_is_answered_once(target: Program) -> None:
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as one:
        one.sendall(target.request("Connection: keep-alive"))
        first = read_reply(one)
        with suppress(OSError):
            one.sendall(target.request())
        assert read_reply(one) == b""
    assert first.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close\r\n" in first


def test_a_refusal_takes_no_longer_for_what_is_nearly_right(target: Program) -> None:
    """No more than the noise of this machine: by the medians, less than a fifth of a millisecond and a
    quarter."""
    near, far = target.request(token=target.token[:-1] + "*"), target.request(token="*" * 43)
    times: dict[bytes, list[float]] = {near: [], far: []}
    for _ in range(300):
        for raw in (near, far):
            began = time.perf_counter()
            target.send(raw)
            times[raw].append(time.perf_counter() - began)
    medians = [sorted(found)[len(found) // 2] for found in times.values()]
    assert abs(medians[0] - medians[1]) < 0.0002 + max(medians) / 4


def test_it_listens_on_loopback_only(target: Program) -> None:
    listeners = [line.split()[1] for line in tcp_tables() if line.split()[3] == "0A"]
    assert [one for one in listeners if one.endswith(f":{target.port:04X}")] == [
        f"0100007F:{target.port:04X}"
    ]
    for address in ("127.0.0.2", "::1"):
        with pytest.raises(OSError, match=r"refused|assign"):
            target.send(target.request(), address)


def test_another_user_gets_no_byte_even_with_the_right_request(
    target: Program, record_property: Record
) -> None:
    if os.geteuid() != 0:
        skip_or_fail("only root can be two users")
    python = common_python()
    if python is None:
        skip_or_fail("no Python of this version that an ordinary user can run")
    mine = replies_to(target, python, count=3)
    assert all("ASIA" in answer for answer in mine), "the request itself is right"
    theirs = replies_to(target, *run_as(BOB), python or "", count=200)
    assert theirs == [""] * 200
    record_property("endpoint: right requests of another user without an answer", f"{len(theirs)} of 200")
