"""Hostile clients: all input is answered or dropped, and other clients are still served."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from keyturn_sandbox import AccessKey, Sandbox
from keyturn_sandbox.server import BODY_LIMIT

SEED = "hostile clients"
#: Calls that would succeed, before one or more of their parameters are replaced with nonsense.
ACTIONS = (
    ("sts", "GetCallerIdentity", ""),
    ("sts", "GetSessionToken", "DurationSeconds=900"),
    ("sts", "GetFederationToken", "Name=guest"),
    ("sts", "GetAccessKeyInfo", "AccessKeyId=AKIAIOSFODNN7EXAMPLE"),
    ("sts", "AssumeRole", "RoleArn=arn:aws:iam::520000000001:role/Open&RoleSessionName=s1"),
    ("sts", "Nonsense", ""),
    ("iam", "GetUser", ""),
    ("iam", "ListAccessKeys", "MaxItems=1"),
    ("iam", "ListMFADevices", ""),
    ("iam", "GetAccessKeyLastUsed", "AccessKeyId=AKIAIOSFODNN7EXAMPLE"),
    ("iam", "CreateAccessKey", "UserName=victim"),
    ("iam", "UpdateAccessKey", "UserName=victim&AccessKeyId=AKIAIOSFODNN7EXAMPLE&Status=Active"),
    ("iam", "DeleteAccessKey", "UserName=victim&AccessKeyId=AKIAIOSFODNN7EXAMPLE"),
    ("iam", "", ""),
)
VERSIONS = {"sts": "2011-06-15", "iam": "2010-05-08"}
NAMES = [
    "RoleArn",
    "RoleSessionName",
    "DurationSeconds",
    "ExternalId",
    "SerialNumber",
    "TokenCode",
    "SourceIdentity",
    "Policy",
    "UserName",
    "AccessKeyId",
    "Status",
    "Marker",
    "MaxItems",
    "Name",
    "Tags.member.1.Key",
    "Tags.member.1.Value",
    "Tags.member.x",
    "Tags.member.99.Key",
    "TransitiveTagKeys.member.1",
    "PolicyArns.member.1.arn",
    "MinimumSessionTokenSize",
    "Action",
    "Version",
]
VALUES = (
    "",
    "0",
    "-1",
    "9" * 400,
    "1e9",
    "NaN",
    "٣٦٠٠",
    "%",
    "%00",
    "a\x00b",
    "\x1b]0;x\x07",
    "\ud7ff\ufffe",
    "arn:aws:iam::000000000000:role/x",
    "arn:aws:iam::" + "1" * 3000,
    "{" * 2000,
    "[" * 2000,
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":{"a":1},"Resource":[[["*"]]]}]}',
    '{"Version":"2012-10-17","Statement":[{"Effect":["Allow"],"Action":"*","Resource":"*"}]}',
    '{"Statement":{"Effect":"Deny","NotAction":null,"NotResource":7,"Condition":{"Bool":{"a":{"b":1}}}}}',
    '{"Version":{"a":1},"Statement":[{}]}',
    "../../etc/passwd",
    "${aws:username}",
    "<x>&amp;",
    "a" * 5000,
    "AKIAIOSFODNN7EXAMPLE",
    "Active",
)


@pytest.fixture(scope="module")
def key(sandbox: Sandbox) -> AccessKey:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    user = sandbox.state.add_user("520000000001", "mallory", policies=[everything])
    sandbox.state.add_key(user)
    sandbox.state.add_user(user.account, "victim")
    trust = {"Effect": "Allow", "Principal": "*", "Action": "sts:*"}
    sandbox.state.add_role(user.account, "Open", [trust])
    return user.keys[0]


@pytest.fixture
def served(key: AccessKey, client: Callable[..., Any]) -> Callable[[], bool]:
    """Return True if an ordinary client is served."""
    return lambda: bool(client("sts", key).get_caller_identity())


def send(sandbox: Sandbox, request: bytes) -> bytes:
    """Return the full reply to `request` on its own connection."""
    with closing(socket.create_connection(("127.0.0.1", sandbox.port), 10)) as connection:
        connection.settimeout(10)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while chunk := connection.recv(65536):
            found += chunk
        return found


def signed_request(sandbox: Sandbox, key: AccessKey, service: str, body: str) -> bytes:
    """Return a request with a valid signature over any `body`."""
    data = body.encode("utf-8", "surrogatepass")
    request = AWSRequest(
        "POST",
        f"{sandbox.url}/",
        headers={"Content-Type": "application/x-www-form-urlencoded", "Connection": "close"},
        data=data,
    )
    SigV4Auth(Credentials(key.key_id, key.secret.reveal()), service, "eu-west-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = "\r\n".join(["POST / HTTP/1.1", f"Host: 127.0.0.1:{sandbox.port}", *lines])
    return f"{head}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def test_every_signed_nonsense_gets_an_answer(
    sandbox: Sandbox, key: AccessKey, served: Callable[[], bool]
) -> None:
    chance = random.Random(SEED)  # noqa: S311  # the same nonsense at each run
    statuses = set()
    for number in range(700):
        service, action, good = ACTIONS[number % len(ACTIONS)]
        pairs = [f"{chance.choice(NAMES)}={chance.choice(VALUES)}" for _ in range(number % 5)]
        body = "&".join([f"Action={action}", f"Version={VERSIONS[service]}", good, *pairs])
        status = send(sandbox, signed_request(sandbox, key, service, body)).partition(b"\r\n")[0]
        assert status.startswith(b"HTTP/1.1 "), body
        statuses.add(int(status.split()[1]))
        assert int(status.split()[1]) in (200, 400, 403, 404, 409, 501), body
    assert {200, 400} <= statuses
    assert served()


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=/////, SignedHeaders=;;;, Signature=",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host;x-amz-date, Signature=é",
        "AWS4-HMAC-SHA256 " + "Credential=x," * 3000,
        "Basic dXNlcjpwYXNz",
        "AWS4-HMAC-SHA256 Credential=" + "A" * 5000 + "/20200101/eu-west-1/sts/aws4_request",
    ],
)
def test_a_signature_that_is_none_is_refused(sandbox: Sandbox, authorization: str) -> None:
    request = (
        f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{sandbox.port}\r\nConnection: close\r\nX-Amz-Date: "
        f"20200101T000000Z\r\n"
        f"Authorization: {authorization}\r\nContent-Length: 0\r\n\r\n"
    )
    status = int(send(sandbox, request.encode()).split()[1])
    assert status in (400, 403)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00" * 4096,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"X-A: b\r\n" * 500 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: " + b"a" * 70000 + b"\r\n\r\n",
        b"GET " + b"/" * 70000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost\r\n : x\r\n\r\n",
        b"\r\n\r\n\r\n",
    ],
)
def test_what_is_no_request_is_dropped_or_refused(
    sandbox: Sandbox, served: Callable[[], bool], request_bytes: bytes
) -> None:
    try:
        found = send(sandbox, request_bytes)
    except ConnectionError:
        found = b""
    assert b" 200 " not in found.partition(b"\r\n")[0]
    assert served()


def test_a_body_longer_than_any_call_is_refused_unread(sandbox: Sandbox, served: Callable[[], bool]) -> None:
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{sandbox.port}\r\nContent-Length: {BODY_LIMIT * 400}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", sandbox.port), 5)) as connection:
        connection.settimeout(5)
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")
    assert served()


def test_a_request_that_never_ends_is_given_up(
    sandbox: Sandbox, served: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte arrives in time, but the limit applies to the whole request."""
    monkeypatch.setattr("keyturn_sandbox.server.REQUEST_SECONDS", 0.5)
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{sandbox.port}\r\nContent-Length: 100000\r\n\r\n"
    began = time.monotonic()
    with closing(socket.create_connection(("127.0.0.1", sandbox.port), 5)) as connection:
        connection.sendall(head.encode())
        with suppress(ConnectionError):
            while time.monotonic() - began < 8:
                connection.sendall(b"x")
                time.sleep(0.05)
    assert time.monotonic() - began < 8
    assert served()


def test_many_at_once_are_all_answered(sandbox: Sandbox, key: AccessKey, boto: boto3.Session) -> None:
    requests: list[str] = []
    failed: list[Exception] = []

    def ask() -> None:
        sts = boto.client(
            "sts",
            region_name="eu-west-1",
            endpoint_url=sandbox.url,
            aws_access_key_id=key.key_id,
            aws_secret_access_key=key.secret.reveal(),
            config=Config(proxies={}, retries={"total_max_attempts": 1}, read_timeout=30),
        )
        try:
            requests.extend(sts.get_session_token()["Credentials"]["AccessKeyId"] for _ in range(5))
        except BotoCoreError as error:
            failed.append(error)
        finally:
            sts.close()

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(requests)) == 120
