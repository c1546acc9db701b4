"""The HTTP side: loopback only, closed to browsers, bounded; injected faults; the log of calls."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError

from keyturn_sandbox import AccessKey, Sandbox
from keyturn_sandbox.server import BODY_LIMIT, CONNECTIONS

ASK = b"Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture(scope="module")
def key(sandbox: Sandbox) -> AccessKey:
    return sandbox.state.add_key(sandbox.state.add_user("500000000001", "caller"))


@pytest.fixture
def sts(sandbox: Sandbox, key: AccessKey, client: Callable[..., Any]) -> Iterator[Any]:
    sandbox.calls.clear()
    yield client("sts", key)
    sandbox.faults.clear()


def status(sandbox: Sandbox, method: str = "POST", path: str = "/", **headers: str) -> int:
    """Return the HTTP status of a bare request; 0 if the connection was closed instead."""
    with closing(http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)) as connection:
        connection.putrequest(method, path, skip_host=True)
        fields = {"Host": f"127.0.0.1:{sandbox.port}", "Content-Length": str(len(ASK))} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        for name, value in fields.items():
            if value:
                connection.putheader(name, value)
        try:
            connection.endheaders(ASK)
            return connection.getresponse().status
        except (ConnectionError, http.client.HTTPException):
            return 0


UNSIGNED = 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost",
        "evil.example:{port}",
        "[::1]:{port}",
        "127.1:{port}",
        "",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_another_host_name_is_turned_away(sandbox: Sandbox, host: str, method: str) -> None:
    sandbox.calls.clear()
    assert status(sandbox, method, Host=host.format(port=sandbox.port)) == 403
    assert sandbox.calls == []


def test_both_names_of_loopback_are_let_in(sandbox: Sandbox) -> None:
    sandbox.calls.clear()
    for host in ("127.0.0.1", "localhost"):
        assert status(sandbox, Host=f"{host}:{sandbox.port}") == UNSIGNED
    assert [call.error for call in sandbox.calls] == ["MissingAuthenticationToken"] * 2


@pytest.mark.parametrize("header", ["Origin", "Sec_Fetch_Site", "X_Forwarded_For"])
def test_browsers_and_proxies_are_turned_away(sandbox: Sandbox, header: str) -> None:
    sandbox.calls.clear()
    assert status(sandbox, **{header: "http://evil.example"}) == 403
    assert sandbox.calls == []


def test_it_listens_on_loopback_only(sandbox: Sandbox) -> None:
    port = f"{sandbox.port:04X}"
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    assert [row[1] for row in rows if row[3] == "0A" and row[1].endswith(":" + port)] == [f"0100007F:{port}"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "BREW"])
def test_other_methods_and_paths_are_not_played(sandbox: Sandbox, method: str) -> None:
    assert status(sandbox, method) == 501
    assert status(sandbox, "POST", "/federation/credentials") == 501


def test_a_body_must_have_a_length_within_reason(sandbox: Sandbox) -> None:
    assert status(sandbox, Content_Length="") == 411
    assert status(sandbox, Content_Length="x") == 411
    assert status(sandbox, Content_Length=str(BODY_LIMIT + 1)) == 413
    assert status(sandbox, Transfer_Encoding="chunked") == 411


def test_more_connections_than_served_are_closed_and_the_rest_goes_on(sandbox: Sandbox, sts: Any) -> None:
    assert sts.get_caller_identity()
    connections = [socket.create_connection(("127.0.0.1", sandbox.port), 5) for _ in range(CONNECTIONS + 8)]
    closed = 0
    for connection in connections[CONNECTIONS:]:
        connection.settimeout(5)
        closed += connection.recv(1) == b""
    for connection in connections:
        connection.close()
    assert closed == 8
    deadline = time.monotonic() + 10
    while status(sandbox) != UNSIGNED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sts.get_caller_identity()


def test_nothing_is_printed_about_a_request(
    sandbox: Sandbox, sts: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    sts.get_caller_identity()
    with socket.create_connection(("127.0.0.1", sandbox.port), 5) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100)
    assert capfd.readouterr() == ("", "")


def test_calls_are_recorded_without_codes(sandbox: Sandbox, sts: Any, key: AccessKey) -> None:
    sts.get_caller_identity()
    with pytest.raises(ClientError):
        sts.get_session_token(SerialNumber="arn:aws:iam::1:mfa/x", TokenCode="123456")
    first, second = sandbox.calls
    assert (first.action, first.key_id, first.params, first.error) == (
        "GetCallerIdentity",
        key.key_id,
        {},
        None,
    )
    assert second.params == {"SerialNumber": "arn:aws:iam::1:mfa/x"}
    assert second.error == "AccessDenied"


def test_a_refusal_can_be_ordered_for_the_next_calls(
    sandbox: Sandbox, sts: Any, refused: Callable[..., str]
) -> None:
    sandbox.faults.refuse("GetCallerIdentity", "ServiceUnavailable", "Try later", status=503, times=2)
    sandbox.faults.order("GetSessionToken", "throttle")
    assert refused("Throttling", 400, sts.get_session_token) == "Rate exceeded"
    for _ in range(2):
        assert refused("ServiceUnavailable", 503, sts.get_caller_identity) == "Try later"
    assert sts.get_caller_identity()


def test_a_connection_can_be_cut_before_anything_is_done(
    sandbox: Sandbox, key: AccessKey, client: Callable[..., Any]
) -> None:
    iam = client("iam", key)
    sandbox.faults.order("CreateAccessKey", "reset")
    with pytest.raises((ConnectionClosedError, EndpointConnectionError, HTTPClientError)):
        iam.create_access_key()
    assert len(iam.list_access_keys()["AccessKeyMetadata"]) == 1
    assert [call.error for call in sandbox.calls[-2:]] == ["reset", None]


def test_an_answer_can_get_lost_after_all_is_done(sandbox: Sandbox, client: Callable[..., Any]) -> None:
    user = sandbox.state.add_user("500000000002", "unlucky")
    iam = client("iam", sandbox.state.add_key(user))
    sandbox.faults.order("CreateAccessKey", "answer-lost")
    with pytest.raises((ConnectionClosedError, EndpointConnectionError, HTTPClientError)):
        iam.create_access_key()
    assert len(iam.list_access_keys()["AccessKeyMetadata"]) == 2
    assert [call.error for call in sandbox.calls[-2:]] == ["answer-lost", None]


def test_a_retrying_client_gets_over_throttling(
    sandbox: Sandbox, key: AccessKey, boto: boto3.Session
) -> None:
    sandbox.faults.order("GetCallerIdentity", "throttle")
    sts = boto.client(
        "sts",
        region_name="eu-west-1",
        endpoint_url=sandbox.url,
        aws_access_key_id=key.key_id,
        aws_secret_access_key=key.secret.reveal(),
        config=Config(proxies={}),
    )
    assert sts.get_caller_identity()["Account"] == "500000000001"


def test_a_slow_call_holds_up_no_other(sandbox: Sandbox, sts: Any) -> None:
    sandbox.faults.order("GetCallerIdentity", "slow", seconds=1.5)
    slow = threading.Thread(target=sts.get_caller_identity)
    slow.start()
    while "GetCallerIdentity" in sandbox.faults.waiting():
        time.sleep(0.005)
    assert sts.get_caller_identity()
    assert slow.is_alive()
    slow.join()
