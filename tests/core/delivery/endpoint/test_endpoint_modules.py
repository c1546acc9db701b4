"""The parts of an endpoint's process: its loop, the peer check, the program that it serves."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.delivery import credential_process, environment
from keyturn.delivery.endpoint import http
from keyturn.delivery.endpoint.credential_source import ServiceCredentialSource
from keyturn.delivery.endpoint.http import EndpointAddress
from keyturn.delivery.endpoint.server import EndpointServer, Limits, listen
from keyturn.model.errors import KeyturnError
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.system import process_watch, tcp_peer
from keyturn.system.file_fingerprint import Fingerprint
from tests.core.delivery.endpoint.exec_program import read_reply
from tests.core.operations.conftest import Bench, bench, writer_timing

__all__ = ["bench", "writer_timing"]

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def document(end: datetime = NOW + timedelta(hours=1)) -> str:
    return credential_process.document(Credentials("ASIAX", Secret("s"), Secret("t"), end), None)


class FakeFingerprint:
    """A server that runs until it is stopped."""

    def __init__(self) -> None:
        self.unchanged = True

    def is_unchanged(self) -> bool:
        return self.unchanged


@contextmanager
def serve(
    get_credentials: Callable[[], str],
    limits: Limits | None = None,
    *,
    is_ours: bool = True,
    clock: Callable[[], datetime] = lambda: NOW,
    report: Callable[[BaseException], None] = lambda _error: None,
    first: str | None = None,
    fingerprint: Callable[[], Fingerprint] = FakeFingerprint,
) -> Iterator[tuple[int, bytes]]:
    """Serve in this process; yield the port and the right request."""
    listener = listen()
    address = EndpointAddress(listener.getsockname()[1], Secret("/p"), Secret("t0ken"))
    server = EndpointServer(
        listener, address, "ci", get_credentials, is_ours=lambda _sock: is_ours, clock=clock,
        fingerprint=fingerprint, first=first or document(), limits=limits, report=report
    )  # fmt: skip
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        right = f"GET /p HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\nAuthorization: t0ken\r\n\r\n"
        yield address.port, right.encode()
    finally:
        server.stop()
        thread.join(10)
        assert not thread.is_alive()


def send(port: int, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(raw)
        return read_reply(sock)


def test_all_who_ask_while_a_session_is_fetched_get_that_one() -> None:
    started, go, fetched = threading.Event(), threading.Event(), []

    def slow() -> str:
        fetched.append(1)
        started.set()
        assert go.wait(10)
        return document()

    with serve(slow) as (port, right):
        answers: list[bytes] = []
        threads = [threading.Thread(target=lambda: answers.append(send(port, right))) for _ in range(20)]
        for thread in threads:
            thread.start()
        assert started.wait(10)
        time.sleep(0.3)
        assert b" 403 " in send(port, b"GET / HTTP/1.1\r\n\r\n"), "the others are answered meanwhile"
        go.set()
        for thread in threads:
            thread.join(10)
    assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * 20
    assert len(fetched) <= 2


def test_while_a_new_session_does_not_come_the_last_one_is_given_as_long_as_it_is_good() -> None:
    """AWS may not answer: SDKs wait one or two seconds, but making a session may take twenty."""
    now, go, requested = [NOW], threading.Event(), threading.Event()

    def get_document() -> str:
        if requested.is_set():
            go.wait(10)
        requested.set()
        return document()

    with serve(get_document, clock=lambda: now[0]) as (port, right):
        first = send(port, right)
        began = time.monotonic()
        for _ in range(2):
            assert send(port, right) == first
        assert time.monotonic() - began < 3
        now[0] += timedelta(minutes=59, seconds=30)
        with socket.create_connection(("127.0.0.1", port), timeout=1.5) as sock:
            sock.sendall(right)
            with pytest.raises(TimeoutError):
                sock.recv(1)
        go.set()


def test_what_was_refused_since_is_not_given_from_memory() -> None:
    answers: list[str | KeyturnError] = [document(), KeyturnError("Vault is locked")]
    stuck = threading.Event()

    def get_document() -> str:
        if not answers:
            stuck.wait(3)
            raise KeyturnError("Vault is locked")
        answer = answers.pop(0)
        if isinstance(answer, KeyturnError):
            raise answer
        return answer

    with serve(get_document) as (port, right):
        assert b"200 OK" in send(port, right)
        assert b"Vault is locked" in send(port, right)
        assert b"Vault is locked" in send(port, right)


def test_an_error_is_told_in_one_line_and_a_fault_of_our_own_without_a_word_of_it() -> None:
    faults: list[BaseException] = []

    def fails() -> str:
        raise KeyturnError("refresh of ci", "AWS is away", "Try again")

    def breaks() -> str:
        raise ZeroDivisionError("s3cret")

    with serve(fails) as (port, right):
        assert b'"keyturn: refresh of ci: AWS is away. Try again"' in send(port, right)
    with serve(breaks, report=faults.append) as (port, right):
        answer = send(port, right)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"s3cret" not in answer
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


def test_what_has_ended_is_not_given() -> None:
    with serve(lambda: document(NOW)) as (port, right):
        assert send(port, right).startswith(b"HTTP/1.1 503 ")


def test_who_may_not_speak_hears_nothing() -> None:
    with (
        serve(document, is_ours=False) as (port, _right),
        socket.create_connection(("127.0.0.1", port)) as sock,
    ):
        assert read_reply(sock) == b""


def test_one_more_than_the_limit_costs_the_oldest_that_has_not_spoken() -> None:
    with serve(document, Limits(connections=3)) as (port, right):
        silent = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
        time.sleep(0.1)
        assert b"200 OK" in send(port, right)
        assert read_reply(silent[0]) == b""
        silent[1].sendall(right)
        assert b"200 OK" in read_reply(silent[1])
        for sock in silent:
            sock.close()


def test_a_request_may_come_in_parts() -> None:
    with serve(document) as (port, right), socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        for part in range(len(right)):
            sock.sendall(right[part : part + 1])
        assert b"200 OK" in read_reply(sock)


# -- the peer check


@contextmanager
def connection(family: int = socket.AF_INET) -> Iterator[tuple[socket.socket, socket.socket]]:
    with listen() as listener, socket.socket(family) as own_end:
        port = listener.getsockname()[1]
        own_end.connect(("127.0.0.1", port) if family == socket.AF_INET else ("::ffff:127.0.0.1", port))
        theirs, _ = listener.accept()
        with theirs:
            yield own_end, theirs


@pytest.mark.skipif(not tcp_peer.IS_SUPPORTED, reason="this system does not say who connects")
@pytest.mark.parametrize("way", [tcp_peer.by_netlink, tcp_peer.by_proc])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_kernel_says_who_connects(
    way: Callable[[tcp_peer.Address, tcp_peer.Address], int | None], family: int
) -> None:
    with connection(family) as (_, theirs):
        ends = theirs.getpeername(), theirs.getsockname()
        assert way(*ends) == os.geteuid()
        assert way(("127.0.0.1", 1), ends[1]) is None
        assert way(ends[0], ("127.0.0.1", 1)) is None
        assert tcp_peer.caller_uid(theirs) == os.geteuid()


@pytest.mark.skipif(not tcp_peer.IS_SUPPORTED, reason="this system does not say who connects")
def test_a_listener_on_the_callers_port_is_not_taken_for_the_caller() -> None:
    with connection() as (own_end, theirs):
        ends = theirs.getpeername(), theirs.getsockname()
        own_end.close()
        with socket.create_server(("127.0.0.1", 0)) as other:
            assert tcp_peer.by_netlink(other.getsockname(), ends[1]) is None


# -- the program that it serves


def test_the_end_of_a_process_is_seen_at_once_and_none_is_watched_that_is_gone() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        watch = process_watch.watch_process(process.pid)
        assert watch is not None
        assert select.select([watch], [], [], 0.05)[0] == []
        process.kill()
        assert select.select([watch], [], [], 5)[0] == [watch]
        watch.close()
    assert process_watch.watch_process(process.pid) is None


ENDPOINT = (sys.executable, "-I", "-m", "keyturn.delivery.endpoint")


def test_by_hand_it_says_what_to_run_instead() -> None:
    done = subprocess.run(
        ENDPOINT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "keyturn: The endpoint cannot be started directly. Run: keyturn exec PROFILE --endpoint\n"
    )


def test_an_order_for_a_process_that_is_not_its_parent_is_not_taken(environ: dict[str, str]) -> None:
    from keyturn.system import secret_channel
    from keyturn.system.background_process import read_reply

    own_end, theirs = secret_channel.create()
    with own_end, theirs:
        process = subprocess.Popen(ENDPOINT, stdin=theirs.fileno(), env=environ)
        theirs.close()
        own_end.settimeout(30)
        channel = secret_channel.accept(own_end, process.pid)
        assert channel is not None
        order = {"profile": "x", "pid": 1, "in_file": True, "first": document()}
        with channel:
            assert read_reply(channel, json.dumps(order).encode() + b"\n", time.monotonic() + 30) == b""
        assert process.wait(30) == 1
    assert not Path(environ["KEYTURN_HOME"]).exists()


# -- its sessions, and its environment


def test_of_whoever_asks_a_session_is_kept_while_it_is_fresh(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    document: list[str] = []

    class Asker:
        """A service whose profile uses caller credentials, with the real sessions of another profile."""

        now = staticmethod(bench.service.now)
        snapshot = staticmethod(bench.service.snapshot)
        paths = bench.service.paths
        index = staticmethod(bench.service.index)

        def uses_caller_credentials(self, _name: str) -> bool:
            return True

        def get_credentials(self, name: str) -> str:
            bench.service.refresh(name)
            document.append(bench.service.get_credentials(name))
            return document[-1]

    first = Asker().get_credentials("ci-release")
    handing = ServiceCredentialSource(Asker(), "ci-release", first)
    assert {handing.get_credentials() for _ in range(3)} == {first}
    assert len(document) == 1
    bench.sandbox.move_clock(45 * 60)
    assert handing.get_credentials() == document[1]
    bench.sandbox.move_clock(45 * 60)
    bench.sandbox.faults.order("*", "reset", times=None)
    assert handing.get_credentials() == document[1], "due, AWS is away, and it is valid"
    bench.sandbox.move_clock(16 * 60)
    with pytest.raises(KeyturnError):
        handing.get_credentials()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"HTTPS_PROXY": "http://p"}, {}),
        ({"http_proxy": "http://p"}, {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}),
        ({"ALL_PROXY": "p", "no_proxy": "a,b"}, {"no_proxy": "a,b,127.0.0.1", "NO_PROXY": "a,b,127.0.0.1"}),
        (
            {"HTTP_PROXY": "p", "NO_PROXY": "127.0.0.1", "no_proxy": "c"},
            {"no_proxy": "c,127.0.0.1", "NO_PROXY": "127.0.0.1"},
        ),
    ],
)
def test_no_proxy_is_asked_for_this_machine(before: dict[str, str], after: dict[str, str]) -> None:
    assert environment.without_proxy(before, http.HOST) == after


def test_the_last_session_is_given_to_nobody_once_something_has_changed() -> None:
    ground, go = FakeFingerprint(), threading.Event()
    hands = iter([document(), ""])

    def slow() -> str:
        text = next(hands)
        if not text:
            go.wait(20)
            raise KeyturnError("session", "it was stopped")
        return text

    with serve(slow, Limits(answer_seconds=0.1), fingerprint=lambda: ground) as (port, right):
        assert b" 200 " in send(port, right)
        ground.unchanged = False
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(send(port, right)))
        asking.start()
        asking.join(0.5)
        assert answers == [], "it waits for what is true now"
        go.set()
        asking.join(10)
        assert b" 503 " in answers[0]
