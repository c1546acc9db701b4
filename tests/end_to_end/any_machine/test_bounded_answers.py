"""Answers of AWS and of a `credential_process`, however long or false: one line, a small agent, and no false
session."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.end_to_end.person import PASSPHRASE, Person

MIB = 1024 * 1024
#: Length of the answers, and the most that the agent may ever have used.
LONG, AGENT_MIB = 100 * MIB, 150
_BLOCK = b"x" * 65536

Answer = Callable[[BaseHTTPRequestHandler], None]


def _of_length(status: int, length: int = LONG, *headers: tuple[str, str]) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for header in (*headers, ("Content-Length", str(length))):
            handler.send_header(*header)
        handler.end_headers()
        for _ in range(length // len(_BLOCK)):
            handler.wfile.write(_BLOCK)

    return answer


def _of_parts(start: bytes, part: bytes) -> Answer:
    """Return an answer that repeats a part without an end."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        for _ in range(LONG // len(part)):
            handler.wfile.write(part)
        handler.close_connection = True

    return answer


def _of_body(body: bytes, *headers: tuple[str, str], status: int = 200) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for header in (*headers, ("Content-Length", str(len(body)))):
            handler.send_header(*header)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
ANSWERS: dict[str, Answer] = {
    "with its length": _of_length(200),
    "an error": _of_length(500),
    "a redirect": _of_length(302, LONG, ("Location", "/elsewhere")),
    "without its length": _of_parts(_OK + b"\r\n", _BLOCK),
    "in chunks": _of_parts(_CHUNKED, b"10000\r\n" + _BLOCK + b"\r\n"),
    "in one chunk": _of_parts(_CHUNKED + b"%x\r\n" % LONG, _BLOCK),
    "the length of a chunk": _of_parts(_CHUNKED, b"0" * 65536),
    "a trailer": _of_parts(_CHUNKED + b"1\r\nx\r\n0\r\n", _BLOCK),
    "headers": _of_parts(_OK, b"X-Header: " + _BLOCK[:60000] + b"\r\n"),
    "interim answers": _of_parts(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4000),
    "compressed": _of_body(gzip.compress(bytes(LONG)), ("Content-Encoding", "gzip")),
    "elements": _of_body(b"<a>" + b"<b/>" * 250_000 + b"</a>"),
    "entities": _of_body(
        b'<!DOCTYPE a [<!ENTITY e "' + b"x" * 10_000 + b'">]><a>' + b"&e;" * 99_000 + b"</a>"),
    "a message": _of_body(
        b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>" + b"no " * 300_000
        + b"</Message></Error></ErrorResponse>", status=403),
}  # fmt: skip


class Impostor:
    """A server in the place of STS."""

    def __init__(self) -> None:
        self.answer: Answer = _of_length(200)
        impostor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    impostor.answer(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's own
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture(scope="module")
def impostor(person: Person) -> Iterator[Impostor]:
    """An impostor of STS, in the environment of a user who manages `ci-deploy`, and of their agent."""
    person.does("adopt", "ci-deploy", "--yes")
    person.does("agent", "stop")
    found = Impostor()
    person.environ |= {"AWS_ENDPOINT_URL_STS": found.url, "AWS_MAX_ATTEMPTS": "1"}
    person.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    yield found
    found.server.shutdown()
    found.server.server_close()


def _agent_mib(person: Person) -> int:
    """Return the most memory that the agent has used so far."""
    process = json.loads(person.does("agent", "status", "--json"))["pid"]
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024


def _refused(person: Person, *words: str) -> str:
    done = person.keyturn(*words)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 3000
    return done.stderr


@pytest.mark.parametrize("name", ANSWERS)
def test_a_long_answer_is_refused_while_it_is_read(person: Person, impostor: Impostor, name: str) -> None:
    impostor.answer = ANSWERS[name]
    assert "Could not refresh ci-deploy: sts:GetSessionToken" in _refused(person, "refresh", "ci-deploy")
    assert _agent_mib(person) < AGENT_MIB


def _session(key_id: str, lasts: timedelta) -> Answer:
    end = datetime.now(UTC) + lasts
    return _of_body(
        "<GetSessionTokenResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><GetSessionTokenResult>"
        f"<Credentials><AccessKeyId>{key_id}</AccessKeyId>"
        "<SecretAccessKey>wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY01</SecretAccessKey>"
        f"<SessionToken>FwoGZXIvYXdzEXAMPLETOKEN</SessionToken><Expiration>{end:%Y-%m-%dT%H:%M:%SZ}"
        "</Expiration></Credentials></GetSessionTokenResult></GetSessionTokenResponse>".encode()
    )


@pytest.mark.parametrize(
    ("key_id", "hours", "why"),
    [
        ("AKIAQQQQQQQQQQQQQQQQ", 12.0, "an access key id that is not that of a session"),
        ("ASIAQQQQQQQQQQQQQQQQ", 12.5, "longer than requested"),
        ("ASIAQQQQQQQQQQQQQQQQ", 24 * 365 * 100, "longer than requested"),
    ],
)
def test_a_false_session_is_refused(
    person: Person, impostor: Impostor, key_id: str, hours: float, why: str
) -> None:
    impostor.answer = _session(key_id, timedelta(hours=hours))
    assert why in _refused(person, "refresh", "ci-deploy")


def test_a_session_within_the_tolerance_is_taken(person: Person, impostor: Impostor) -> None:
    impostor.answer = _session("ASIAQQQQQQQQQQQQQQQQ", timedelta(hours=12, minutes=10))
    person.does("refresh", "ci-deploy")


@pytest.mark.parametrize(
    ("stream", "told"), [("", "printed more than 64 KiB"), (">&2", "wrote more than 16 MiB")]
)
def test_the_output_of_a_process_is_refused_while_it_is_read(
    person: Person, impostor: Impostor, stream: str, told: str
) -> None:
    assert impostor.url
    tool = person.sandbox.home / f"tool{len(stream)}"
    tool.write_text(f"#!/bin/sh\nexec head -c {LONG} /dev/zero {stream}\n")
    tool.chmod(0o700)
    with person.config.open("a") as file:
        file.write(f"\n[profile {tool.name}]\ncredential_process = {tool}\n")
    assert told in _refused(person, "refresh", tool.name)
    assert _agent_mib(person) < AGENT_MIB


def test_a_process_may_hand_out_a_long_term_key(person: Person, impostor: Impostor) -> None:
    assert impostor.url
    tool = person.sandbox.home / "keys"
    document = {"Version": 1, "AccessKeyId": "AKIAQQQQQQQQQQQQQQQQ", "SecretAccessKey": "w" * 40}
    tool.write_text(f"#!/bin/sh\necho '{json.dumps(document)}'\n")
    tool.chmod(0o700)
    with person.config.open("a") as file:
        file.write(f"\n[profile keys]\ncredential_process = {tool}\n")
    assert person.keyturn("exec", "keys", "--", "sh", "-c", "echo $AWS_ACCESS_KEY_ID").stdout.strip() == (
        "AKIAQQQQQQQQQQQQQQQQ"
    )


def test_an_endless_token_file_is_refused(person: Person, impostor: Impostor) -> None:
    assert impostor.url
    with person.config.open("a") as file:
        file.write(
            "\n[profile token]\nrole_arn = arn:aws:iam::111122223333:role/web\nregion = eu-west-1\n"
            "web_identity_token_file = /dev/zero\n"
        )
    assert "web_identity_token_file is longer than" in _refused(person, "refresh", "token")
    assert _agent_mib(person) < AGENT_MIB
