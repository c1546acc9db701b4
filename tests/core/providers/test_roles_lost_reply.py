"""An MFA code is sent once, a lost reply is not taken for a refusal, and waiting for another request is not a
timeout."""

from __future__ import annotations

import http.server
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator

import pytest

from keyturn.aws.client import BotoClientFactory
from keyturn.aws.deadline import DEFAULT_SECONDS, Deadline
from keyturn.model.errors import NeedsMfa, NoResponse, Unreachable
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.providers.refresher import source_lock_name
from tests.core.operations.conftest import Bench

KEY = Credentials("AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))


@pytest.fixture
def received_codes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the codes that arrive at an AWS whose replies get lost."""
    codes: list[str] = []

    class Losing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            codes.append(urllib.parse.parse_qs(body).get("TokenCode", ["none"])[0])
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Losing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bench.adopt("acme-alice")
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
        yield codes
        server.shutdown()


@pytest.mark.parametrize("attempts", ["", "5"])
def test_a_code_whose_reply_is_lost_is_sent_once_and_counts_as_no_refusal(
    bench: Bench, received_codes: list[str], monkeypatch: pytest.MonkeyPatch, attempts: str
) -> None:
    if attempts:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)
    code = bench.sandbox.totp("alice")
    with pytest.raises(NeedsMfa, match=r"the code may be used up\. Wait for the next code") as excinfo:
        bench.service.refresh("acme-alice", code)
    assert received_codes == [code]
    assert "closed the connection" in excinfo.value.line()
    assert '"refused"' not in bench.service.paths.mfa_file.read_text()


def test_what_takes_no_code_is_tried_again(received_codes: list[str]) -> None:
    with pytest.raises(NoResponse):
        BotoClientFactory()(None, "us-east-1").get_caller_identity(KEY)
    assert len(received_codes) == 2


def test_an_operation_that_has_no_time_left_says_what_took_it_and_does_not_blame_the_network() -> None:
    now = [0.0]
    deadline = Deadline(lambda: now[0])
    deadline.add_time(0.5, "waiting for an MFA code")
    deadline.add_time(44, "waiting for another refresh")
    now[0] = 46
    with pytest.raises(Unreachable) as excinfo:
        BotoClientFactory()(None, "us-east-1", deadline=deadline).get_caller_identity(KEY)
    expected = (
        "time limit of 20 s exceeded before the request was sent, after 44 s of waiting for another refresh. "
        "Try again"
    )
    assert excinfo.value.line() == f"sts:GetCallerIdentity: {expected}"


def test_who_waited_for_another_refresh_still_asks_aws(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.adopt("ci-deploy")
    ahead = 0.0
    really = time.monotonic
    # The holder of the lock releases it after longer than an operation may take.
    monkeypatch.setattr(time, "monotonic", lambda: really() + ahead)
    monkeypatch.setattr(Deadline.__init__, "__defaults__", (time.monotonic,))
    lock = bench.service.context.source_lock(source_lock_name("ci-deploy"))
    lock.__enter__()

    def let_go() -> None:
        nonlocal ahead
        ahead = DEFAULT_SECONDS + 1
        lock.__exit__(None, None, None)

    timer = threading.Timer(1, let_go)
    timer.start()
    assert bench.service.refresh("ci-deploy").session.expires is not None
    timer.join()
