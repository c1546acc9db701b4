"""Credentials over HTTP: given for exactly the right request, refused for all other bytes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.delivery import credential_process
from keyturn.delivery.endpoint import http
from keyturn.delivery.endpoint.http import EndpointAddress, RequestStatus, judge
from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret

ADDRESS = EndpointAddress(4711, Secret("/aBcD-x_9"), Secret("t0ken-Of-32"))
NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
LINE, HOST, TOKEN = b"GET /aBcD-x_9 HTTP/1.1", b"Host: 127.0.0.1:4711", b"Authorization: t0ken-Of-32"
SDK = (b"User-Agent: Boto3/1.44", b"Accept: application/json", b"Accept-Encoding: gzip", b"Content-Length: 0")


def request(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


RIGHT = {
    "as botocore asks": (LINE, HOST, TOKEN, *SDK),
    "by the other name": (LINE, b"Host: localhost:4711", TOKEN),
    "small letters, spaces around": (LINE, b"host:127.0.0.1:4711", b"AUTHORIZATION: \t t0ken-Of-32 \t"),
    "kept alive": (LINE, HOST, TOKEN, b"Connection: keep-alive"),
    "typed into the browser's own bar": (LINE, HOST, TOKEN, b"Sec-Fetch-Site: none"),
}
WRONG: dict[str, tuple[int, tuple[bytes, ...]]] = {
    "no token": (403, (LINE, HOST)),
    "an empty token": (403, (LINE, HOST, b"Authorization:")),
    "another token": (403, (LINE, HOST, b"Authorization: t0ken-Of-33")),
    "a part of it": (403, (LINE, HOST, b"Authorization: t0ken-Of-3")),
    "more than it": (403, (LINE, HOST, b"Authorization: t0ken-Of-32x")),
    "as a bearer": (403, (LINE, HOST, b"Authorization: Bearer t0ken-Of-32")),
    "in another header": (403, (LINE, HOST, b"X-Authorization: t0ken-Of-32")),
    "two tokens": (400, (LINE, HOST, TOKEN, TOKEN)),
    "two tokens, one wrong": (400, (LINE, HOST, b"authorization: x", TOKEN)),
    "no host": (403, (LINE, TOKEN)),
    "another host": (403, (LINE, b"Host: evil.example", TOKEN)),
    "a name that leads here": (403, (LINE, b"Host: rebound.evil.example:4711", TOKEN)),
    "another port": (403, (LINE, b"Host: 127.0.0.1:4712", TOKEN)),
    "no port": (403, (LINE, b"Host: 127.0.0.1", TOKEN)),
    "another of our addresses": (403, (LINE, b"Host: 127.0.0.2:4711", TOKEN)),
    "IPv6": (403, (LINE, b"Host: [::1]:4711", TOKEN)),
    "any address": (403, (LINE, b"Host: 0.0.0.0:4711", TOKEN)),
    "with a user": (403, (LINE, b"Host: x@127.0.0.1:4711", TOKEN)),
    "a name in capitals": (403, (LINE, b"Host: LOCALHOST:4711", TOKEN)),
    "a dot behind the name": (403, (LINE, b"Host: localhost.:4711", TOKEN)),
    "two hosts": (400, (LINE, HOST, HOST, TOKEN)),
    "two hosts in one": (403, (LINE, HOST + b", 127.0.0.1:4711", TOKEN)),
    "an origin": (403, (LINE, HOST, TOKEN, b"Origin: http://127.0.0.1:4711")),
    "no origin in words": (403, (LINE, HOST, TOKEN, b"Origin: null")),
    "a referer": (403, (LINE, HOST, TOKEN, b"Referer: http://evil.example/")),
    "a cookie": (403, (LINE, HOST, TOKEN, b"Cookie: a=b")),
    "from a page": (403, (LINE, HOST, TOKEN, b"Sec-Fetch-Site: same-origin")),
    "by a script": (403, (LINE, HOST, TOKEN, b"Sec-Fetch-Mode: cors")),
    "a browser": (403, (LINE, HOST, TOKEN, b"Sec-CH-UA: x")),
    "through a proxy": (403, (LINE, HOST, TOKEN, b"X-Forwarded-For: 127.0.0.1")),
    "for a host": (403, (LINE, HOST, TOKEN, b"X-Forwarded-Host: 127.0.0.1:4711")),
    "forwarded": (403, (LINE, HOST, TOKEN, b"Forwarded: for=127.0.0.1")),
    "via": (403, (LINE, HOST, TOKEN, b"Via: 1.1 proxy")),
    "a body": (403, (LINE, HOST, TOKEN, b"Content-Length: 3")),
    "a body of no length": (403, (LINE, HOST, TOKEN, b"Content-Length: -0")),
    "a body in parts": (403, (LINE, HOST, TOKEN, b"Transfer-Encoding: chunked")),
    "another protocol": (403, (LINE, HOST, TOKEN, b"Upgrade: websocket")),
    "folded": (400, (LINE, HOST, b"Authorization:", b" t0ken-Of-32")),
    "a space before the colon": (400, (LINE, HOST, b"Authorization : t0ken-Of-32")),
    "no colon": (400, (LINE, HOST, TOKEN, b"x")),
    "a line end inside": (400, (LINE, HOST, TOKEN, b"X: a\nOrigin: b")),
    "a return inside": (400, (LINE, HOST, TOKEN, b"X: a\rb")),
    "a NUL": (400, (LINE, HOST, TOKEN, b"X: a\0b")),
    "letters beyond ASCII": (400, (LINE, HOST, TOKEN, b"X: \xe4")),
    "too many fields": (400, (LINE, HOST, TOKEN, *(b"X-%d: y" % number for number in range(99)))),
    "too long": (400, (LINE, HOST, TOKEN, b"X: " + b"y" * 9000)),
    "the root": (403, (b"GET / HTTP/1.1", HOST, TOKEN)),
    "a path above": (403, (b"GET /x/../aBcD-x_9 HTTP/1.1", HOST, TOKEN)),
    "two slashes": (403, (b"GET //aBcD-x_9 HTTP/1.1", HOST, TOKEN)),
    "a slash behind": (403, (b"GET /aBcD-x_9/ HTTP/1.1", HOST, TOKEN)),
    "a query": (403, (b"GET /aBcD-x_9?a=b HTTP/1.1", HOST, TOKEN)),
    "a fragment": (403, (b"GET /aBcD-x_9#a HTTP/1.1", HOST, TOKEN)),
    "escaped": (403, (b"GET /%61BcD-x_9 HTTP/1.1", HOST, TOKEN)),
    "in other letters": (403, (b"GET /ABCD-X_9 HTTP/1.1", HOST, TOKEN)),
    "the whole URL": (403, (b"GET http://127.0.0.1:4711/aBcD-x_9 HTTP/1.1", HOST, TOKEN)),
    "any": (403, (b"GET * HTTP/1.1", HOST, TOKEN)),
    "two spaces": (400, (b"GET  /aBcD-x_9 HTTP/1.1", HOST, TOKEN)),
    "a tab": (400, (b"GET\t/aBcD-x_9 HTTP/1.1", HOST, TOKEN)),
    "a space before": (400, (b" GET /aBcD-x_9 HTTP/1.1", HOST, TOKEN)),
    "an empty line before": (400, (b"", LINE, HOST, TOKEN)),
    "no version": (400, (b"GET /aBcD-x_9", HOST, TOKEN)),
    "an old version": (400, (b"GET /aBcD-x_9 HTTP/1.0", HOST, TOKEN)),
    "a new version": (400, (b"GET /aBcD-x_9 HTTP/2.0", HOST, TOKEN)),
    "small letters": (400, (b"get /aBcD-x_9 HTTP/1.1", HOST, TOKEN)),
    **{
        method.decode(): (405, (method + b" /aBcD-x_9 HTTP/1.1", HOST, TOKEN))
        for method in (b"POST", b"PUT", b"OPTIONS", b"HEAD", b"DELETE", b"PATCH", b"TRACE", b"GETX")
    },
    "a tunnel": (405, (b"CONNECT 127.0.0.1:4711 HTTP/1.1", HOST, TOKEN)),
}


@pytest.mark.parametrize("lines", RIGHT.values(), ids=RIGHT)
def test_the_right_request_is_answered(lines: tuple[bytes, ...]) -> None:
    assert judge(request(*lines), ADDRESS) is RequestStatus.OK


@pytest.mark.parametrize(("status", "lines"), WRONG.values(), ids=WRONG)
def test_any_other_is_refused(status: int, lines: tuple[bytes, ...]) -> None:
    assert judge(request(*lines), ADDRESS) == status


@pytest.mark.parametrize("behind", [b"x", request(LINE, HOST, TOKEN), b"\r\n"])
def test_what_brings_more_than_its_head_is_refused(behind: bytes) -> None:
    assert judge(request(LINE, HOST, TOKEN) + behind, ADDRESS) is RequestStatus.MALFORMED


@pytest.mark.parametrize("length", range(len(request(LINE, HOST, TOKEN))))
def test_a_part_of_the_right_request_is_refused(length: int) -> None:
    assert judge(request(LINE, HOST, TOKEN)[:length], ADDRESS) is RequestStatus.MALFORMED


PIECES = st.sampled_from(
    [LINE, HOST, TOKEN, *SDK, *{line for _, lines in WRONG.values() for line in lines}, b"\r\n", b"\n", b" "]
)


@given(st.lists(PIECES | st.binary(max_size=30), max_size=8), st.sampled_from([b"\r\n", b"\n", b""]))
@settings(max_examples=2000)
def test_no_heap_of_pieces_is_answered_that_is_not_the_right_request(
    pieces: list[bytes], between: bytes
) -> None:
    raw = between.join(pieces) + b"\r\n\r\n"
    if judge(raw, ADDRESS) is RequestStatus.OK:
        lines = raw.split(b"\r\n")
        assert lines[0] == LINE
        assert sum(line.lower().startswith(b"host:") for line in lines) == 1
        assert lines.count(TOKEN) == 1
        names = {line.partition(b":")[0].lower() for line in lines}
        assert not names & {b"origin", b"referer", b"cookie", b"via", b"forwarded", b"x-forwarded-for"}


@given(st.integers(0, len(request(LINE, HOST, TOKEN)) - 1), st.integers(1, 255))
@settings(max_examples=2000)
def test_no_changed_byte_passes_but_those_that_mean_the_same(at: int, change: int) -> None:
    right = request(LINE, HOST, TOKEN)
    raw = right[:at] + bytes([right[at] ^ change]) + right[at + 1 :]
    if judge(raw, ADDRESS) is RequestStatus.OK:
        before, after = right[at : at + 1], raw[at : at + 1]
        assert before.lower() == after.lower() or (before == b" " and after == b"\t")


def test_a_head_made_to_take_long_takes_no_time() -> None:
    began = time.perf_counter()
    for filler in (b" ", b"\t", b":", b"\r\n", b"A:\r\n", b"a"):
        judge((LINE + b"\r\nX:" + filler * 9000)[:8000] + b"\0\r\n\r\n", ADDRESS)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize(
    "verdict", [RequestStatus.MALFORMED, RequestStatus.REFUSED, RequestStatus.WRONG_METHOD]
)
def test_all_refusals_say_the_same(verdict: RequestStatus) -> None:
    head, _, body = http.refusal_response(verdict).partition(b"\r\n\r\n")
    assert body == http.refusal_response(RequestStatus.REFUSED).partition(b"\r\n\r\n")[2]
    assert head.startswith(b"HTTP/1.1 %d " % verdict)
    assert b"Cache-Control: no-store" in head
    assert b"Access-Control" not in head
    assert b"Server" not in head


def document(session: str | None = "tok", end: datetime | None = NOW + timedelta(hours=1)) -> str:
    return credential_process.document(
        Credentials("ASIAX", Secret("s3cret"), Secret(session) if session else None, end), "1" * 12
    )


def test_the_answer_has_the_members_that_containers_get() -> None:
    head, _, body = http.credentials_response("ci", document(), NOW).partition(b"\r\n\r\n")
    assert json.loads(body) == {
        "AccessKeyId": "ASIAX", "SecretAccessKey": "s3cret", "Token": "tok",
        "Expiration": "2026-11-23T15:00:00Z",
        "AccountId": "111111111111",
    }  # fmt: skip
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK", b"Content-Type: application/json", b"Content-Length: %d" % len(body),
        b"Cache-Control: no-store", b"X-Content-Type-Options: nosniff", b"Connection: close",
    ]  # fmt: skip


def test_a_long_term_key_an_unknown_end_and_what_has_ended_are_not_given() -> None:
    with pytest.raises(UsageError, match="only temporary credentials"):
        http.credentials_response("ci", document(session=None, end=None), NOW)
    with pytest.raises(UsageError, match="the expiry of its session is unknown"):
        http.credentials_response("ci", document(end=None), NOW)
    with pytest.raises(KeyturnError, match="its session has expired"):
        http.credentials_response("ci", document(end=NOW), NOW)


def test_a_door_shows_neither_path_nor_token() -> None:
    assert "aBcD" not in repr(ADDRESS)
    assert "t0ken" not in repr(ADDRESS)


def test_a_failure_is_one_harmless_line() -> None:
    answer = http.failure_response(KeyturnError("refresh of x", "\x1b]0;evil\x07\r\nX: y", "Do it"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert body.isascii()
    assert json.loads(body)["Message"].isprintable()
