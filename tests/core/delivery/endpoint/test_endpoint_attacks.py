"""A real endpoint gives credentials only for its program's own request, whoever sends another."""

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
from tests.adversarial.process_isolation.conftest import skip_or_fail
from tests.adversarial.process_isolation.ordinary import BOB, common_python, run_as
from tests.core.delivery.endpoint.exec_program import Program, Record, answers_to, heard, started, tables
from tests.core.delivery.endpoint.test_endpoint_requests import WRONG
from tests.end_to_end.person import Person

#: Words of any text that holds a credential.
CREDENTIAL_WORDS = (b"ASIA", b"AKIA", b"SecretAccessKey", b"200 OK")
_HOLDERS = {b"/aBcD-x_9": "path", b"t0ken-Of-32": "token", b"4711": "port"}


@pytest.fixture(scope="module")
def target(person: Person) -> Iterator[Program]:
    with start_program(person) as program:
        assert program.key_id()
        yield program
        assert program.key_id(), "it still serves"


def has_no_credential(answer: bytes) -> bool:
    return not any(word in answer for word in CREDENTIAL_WORDS)


def fill_in(raw: bytes, target: Program) -> bytes:
    """Return a request of the table of judgements, with the real port, path and token in it."""
    real = {"path": target.path, "token": target.token, "port": str(target.port)}
    for holder, name in _HOLDERS.items():
        raw = raw.replace(holder, real[name].encode())
    return raw


def wrong_tokens(token: str) -> Iterator[str]:
    """Return wrong tokens near the right one, and some that are not tokens at all."""
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
        yield fill_in(b"\r\n".join([*lines, b"", b""]), target)
    for token in wrong_tokens(target.token):
        yield (
            target.request(token=token)
            if token.strip()
            else target.request(f"Authorization: {token}", token="")
        )
    for host in ("evil.example", f"rebound.example:{target.port}", f"127.0.0.1.example:{target.port}", "127.0.0.1:80", f"127.1:{target.port}",
                 f"[::ffff:127.0.0.1]:{target.port}", f"2130706433:{target.port}", f"0x7f.1:{target.port}"):  # fmt: skip
        yield target.request(host=host)
    for method in ("POST", "PUT", "OPTIONS", "HEAD", "DELETE", "PATCH", "TRACE", "PROPFIND"):
        yield target.request(line=f"{method} {target.path} HTTP/1.1")
        yield target.request("Content-Length: 2", line=f"{method} {target.path} HTTP/1.1") + b"{}"
    for path in ("/", "/../..", f"/..{target.path}", f"{target.path}/..", f"/x/..{target.path}", f"{target.path}%00", f"{target.path};x",
                 target.path[:-1], "/latest/meta-data/iam/security-credentials/", "/%2e%2e/%2e%2e/etc/passwd", f"\\{target.path}"):  # fmt: skip
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


def damaged_requests(target: Program, count: int) -> Iterator[bytes]:
    """Yield the right request with one part cut out, doubled or changed."""
    dice = random.Random(7)  # noqa: S311  # the same each time
    right = target.request("User-Agent: x")
    # Every such request is wrong, because the changed part is within the path, the host and the token.
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


def is_accepted(raw: bytes, target: Program) -> bool:
    """Return True if the endpoint accepts the request (a name in another case, spaces around a value)."""
    door = EndpointAddress(target.port, Secret(target.path), Secret(target.token))
    return judge(raw, door) is RequestStatus.OK


def send(target: Program, raw: bytes) -> bytes:
    """Return the reply; the client ends an unfinished head, as the endpoint would after five seconds."""
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as sock:
        with suppress(OSError):
            sock.sendall(raw)
            sock.shutdown(socket.SHUT_WR)
        return read_reply(sock)


def test_of_all_wrong_requests_none_gets_a_credential(target: Program, record_property: Record) -> None:
    attempts = 0
    assert b"200 OK" in send(target, target.request())
    for raw in (*requests(target), *damaged_requests(target, 1000)):
        if is_accepted(raw, target):
            continue
        assert has_no_credential(send(target, raw)), raw
        attempts += 1
    assert attempts > 1100
    record_property("endpoint: wrong requests without a credential", f"{attempts} of {attempts}")


def test_a_connection_is_answered_once(target: Program) -> None:
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as sock:
        sock.sendall(target.request("Connection: keep-alive"))
        first = read_reply(sock)
        with suppress(OSError):
            sock.sendall(target.request())
        assert read_reply(sock) == b""
    assert first.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close\r\n" in first


def test_a_refusal_takes_no_longer_for_what_is_nearly_right(target: Program) -> None:
    """The difference is within this machine's noise: the medians differ by less than 0.2 ms and a quarter."""
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
    assert [sock for sock in listeners if sock.endswith(f":{target.port:04X}")] == [
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
    mine = answers_to(target, python or "", count=3)
    assert all("ASIA" in answer for answer in mine), "the request itself is right"
    theirs = answers_to(target, *run_as(BOB), python or "", count=200)
    assert theirs == [""] * 200
    record_property("endpoint: right requests of another user without an answer", f"{len(theirs)} of 200")
