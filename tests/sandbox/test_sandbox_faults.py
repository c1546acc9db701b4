"""Injected faults: the effect of each kind on a real client, and the requested number of times."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import boto3
import pytest
from botocore import exceptions as boto_errors
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from keyturn_sandbox import Sandbox, User, wire
from keyturn_sandbox.corrupt_responses import with_text, without_element
from keyturn_sandbox.faults import INBOX, KINDS, leave_order, skew_of

ACCOUNT = "510000000001"
#: botocore's exception for each kind; a code and status if it reads an AWS error.
AS_CODE = {
    "error": ("InternalFailure", 500),
    "throttle": ("Throttling", 400),
    "throttle-429": ("TooManyRequestsException", 429),
    "throttle-503": ("ServiceUnavailable", 503),
}
ON_READING = (ClientError, ResponseParserError, KeyError)
NO_ANSWER = (boto_errors.HTTPClientError, boto_errors.ConnectionError)
AS_ERROR: dict[str, tuple[type[Exception], ...]] = {
    "time-out": (boto_errors.ReadTimeoutError,),
    "answer-never": (boto_errors.ReadTimeoutError,),
    "reset": NO_ANSWER,
    "answer-lost": NO_ANSWER,
    "reset-in-answer": (*NO_ANSWER, boto_errors.ResponseStreamingError),
    "tls": NO_ANSWER,
    "not-http": NO_ANSWER,
    "truncated": (*NO_ANSWER, *ON_READING),
    "empty": ON_READING,
    "wrong-xml": ON_READING,
    "proxy-200": ON_READING,
    "proxy-403": ON_READING,
    "proxy-407": ON_READING,
    "proxy-502": ON_READING,
    "answer-502": ON_READING,
    "portal-302": ON_READING,
    "portal-511": ON_READING,
    "huge-page": ON_READING,
    "short": ON_READING,
    "not-xml": ON_READING,
    "json": ON_READING,
    "nan-date": (ResponseParserError, ValueError),
    "garbage-date": (ResponseParserError, ValueError),
}
#: botocore accepts these as good responses: the caller must check the contents.
AS_ANSWER: dict[str, Callable[[dict[str, Any]], bool]] = {
    "slow": lambda answer: "Credentials" in answer,
    "drip": lambda answer: "Credentials" in answer,
    "wrong-type": lambda answer: "Credentials" in answer,
    "missing": lambda answer: "Credentials" not in answer,
    "no-token": lambda answer: "SessionToken" not in answer["Credentials"],
    "no-expiry": lambda answer: "Expiration" not in answer["Credentials"],
    "naive-date": lambda answer: answer["Credentials"]["Expiration"].year == 2031,
    "past-expiry": lambda answer: answer["Credentials"]["Expiration"].year == 2001,
    "huge-field": lambda answer: len(answer["Credentials"]["AccessKeyId"]) > 10_000_000,
}


@pytest.fixture(scope="module")
def user(sandbox: Sandbox) -> User:
    user = sandbox.state.add_user(ACCOUNT, "unlucky")
    sandbox.state.add_key(user, age=timedelta(days=9))
    return user


@pytest.fixture
def impatient_sts(sandbox: Sandbox, user: User, boto: boto3.Session) -> Iterator[Any]:
    """An STS client with a read timeout of half a second."""
    yield boto.client(
        "sts",
        region_name="eu-west-1",
        endpoint_url=sandbox.url,
        aws_access_key_id=user.keys[0].key_id,
        aws_secret_access_key=user.keys[0].secret.reveal(),
        config=Config(retries={"total_max_attempts": 1}, proxies={}, read_timeout=0.5),
    )
    sandbox.faults.clear()


def test_every_kind_has_its_expectation_here() -> None:
    assert {*AS_CODE, *AS_ERROR, *AS_ANSWER} == set(KINDS)


@pytest.mark.parametrize("kind", AS_CODE)
def test_an_error_answer_arrives_with_its_code(sandbox: Sandbox, impatient_sts: Any, kind: str) -> None:
    sandbox.faults.order("GetSessionToken", kind)
    with pytest.raises(ClientError) as excinfo:
        impatient_sts.get_session_token()
    answer = excinfo.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == AS_CODE[kind]
    assert impatient_sts.get_session_token()


@pytest.mark.parametrize("kind", AS_ERROR)
def test_what_is_no_answer_is_an_error_of_the_client(sandbox: Sandbox, impatient_sts: Any, kind: str) -> None:
    sandbox.faults.order("GetSessionToken", kind)
    sandbox.calls.clear()
    with pytest.raises(AS_ERROR[kind]):
        impatient_sts.get_session_token()
    assert [call.error for call in sandbox.calls] == [kind]
    assert impatient_sts.get_session_token()


@pytest.mark.parametrize("kind", AS_ANSWER)
def test_what_looks_like_an_answer_gets_through_to_the_caller(
    sandbox: Sandbox, impatient_sts: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyturn_sandbox.server.DRIP_SECONDS", 0.0002)
    sandbox.faults.order("GetSessionToken", kind, seconds=0.2)
    assert AS_ANSWER[kind](impatient_sts.get_session_token())
    assert "Credentials" in impatient_sts.get_session_token()


def test_a_drip_outlasts_every_single_read() -> None:
    assert wire.DRIP_SECONDS < 0.1
    assert 700 * wire.DRIP_SECONDS > 8


def test_a_network_fault_comes_before_any_deed_and_an_answers_fault_after_it(
    sandbox: Sandbox, client: Callable[..., Any]
) -> None:
    for kind, made in (
        ("reset", 1),
        ("proxy-200", 1),
        ("answer-lost", 2),
        ("truncated", 2),
        ("answer-502", 2),
    ):
        user = sandbox.state.add_user(ACCOUNT, f"deed-{kind}")
        iam = client("iam", sandbox.state.add_key(user))
        sandbox.faults.order("CreateAccessKey", kind)
        with pytest.raises((*NO_ANSWER, *ON_READING)):
            iam.create_access_key()
        assert len(iam.list_access_keys()["AccessKeyMetadata"]) == made, kind


def test_a_network_fault_asks_for_no_signature_and_a_services_does(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    stranger = {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}
    sandbox.faults.order("GetCallerIdentity", "error")
    refused("InvalidClientTokenId", 403, client("sts", stranger).get_caller_identity)
    assert sandbox.faults.waiting() == {"GetCallerIdentity": 1}
    sandbox.faults.clear()
    sandbox.faults.order("GetCallerIdentity", "proxy-200")
    with pytest.raises(ON_READING):
        client("sts", stranger).get_caller_identity()
    assert sandbox.faults.waiting() == {}


def test_a_refused_call_uses_up_no_answer(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sts = client("sts", user.keys[0])
    sandbox.faults.order("GetSessionToken", "answer-lost")
    refused("ValidationError", 400, sts.get_session_token, DurationSeconds=1)
    with pytest.raises(NO_ANSWER):
        sts.get_session_token()
    assert sts.get_session_token()


def test_orders_are_for_so_many_calls_or_until_cleared(
    sandbox: Sandbox, user: User, client: Callable[..., Any]
) -> None:
    sts = client("sts", user.keys[0])
    sandbox.faults.order("GetCallerIdentity", "error", times=2)
    sandbox.faults.order("GetCallerIdentity", "throttle", times=None)
    codes = []
    for _ in range(5):
        with pytest.raises(ClientError) as excinfo:
            sts.get_caller_identity()
        codes.append(excinfo.value.response["Error"]["Code"])
    assert codes == ["InternalFailure"] * 2 + ["Throttling"] * 3
    assert sandbox.faults.waiting() == {"GetCallerIdentity": None}
    assert sts.get_session_token()
    sandbox.faults.clear()
    assert sts.get_caller_identity()
    sandbox.faults.order("*", "error")
    for call in (sts.get_session_token, sts.get_caller_identity):
        with pytest.raises(ClientError) if call == sts.get_session_token else _NoError():
            call()


class _NoError:
    def __enter__(self) -> None: ...

    def __exit__(self, *_error: object) -> None: ...


def test_one_element_can_be_left_out_or_told_otherwise() -> None:
    reply = wire.Reply(200, b"<Result><Arn>arn</Arn><Account>1</Account></Result>")
    assert without_element("Account")(reply).body == b"<Result><Arn>arn</Arn></Result>"
    told = with_text("Arn", "<a&b>\x1b")(reply)
    assert told.body == b"<Result><Arn>&lt;a&amp;b&gt;\x1b</Arn><Account>1</Account></Result>"


@pytest.mark.parametrize("minutes", [20, -20, 1500])
def test_a_skewed_clock_is_told_by_the_refusal_and_by_the_date(
    sandbox: Sandbox, user: User, client: Callable[..., Any], minutes: int
) -> None:
    sts = client("sts", user.keys[0])
    sandbox.faults.skew(minutes * 60)
    try:
        with pytest.raises(ClientError) as excinfo:
            sts.get_caller_identity()
    finally:
        sandbox.faults.clear()
    error = excinfo.value.response
    assert error["Error"]["Code"] == "SignatureDoesNotMatch"
    words = "Signature expired: " if minutes > 0 else "Signature not yet current: "
    assert error["Error"]["Message"].startswith(words)
    date = error["ResponseMetadata"]["HTTPHeaders"]["date"]
    there = time.mktime(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
    assert abs(there - time.time() - minutes * 60) < 5
    assert sts.get_caller_identity()


def test_a_skew_within_bounds_moves_expiry_and_codes(
    sandbox: Sandbox, user: User, client: Callable[..., Any]
) -> None:
    sts = client("sts", user.keys[0])
    before = sandbox.now()
    sandbox.faults.skew(600)
    device = sandbox.add_device(user, "skewed")
    answer = sts.get_session_token(SerialNumber=device.serial, TokenCode=sandbox.totp("skewed"))
    sandbox.faults.clear()
    gone = answer["Credentials"]["Expiration"] - before
    assert timedelta(hours=12, seconds=595) < gone < timedelta(hours=12, seconds=660)


def test_https_on_a_plain_port_fails(sandbox: Sandbox, user: User, boto: boto3.Session) -> None:
    sts = boto.client(
        "sts",
        region_name="eu-west-1",
        endpoint_url=sandbox.url.replace("http:", "https:"),
        aws_access_key_id=user.keys[0].key_id,
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, proxies={}, read_timeout=2),
    )
    with pytest.raises(boto_errors.SSLError):
        sts.get_caller_identity()


def test_a_portals_redirect_leads_to_its_page(sandbox: Sandbox) -> None:
    opener = build_opener(ProxyHandler({}))
    with opener.open(f"{sandbox.url}/captive-portal", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
        assert b"Sign in to the network" in answer.read()
    with pytest.raises(URLError):
        opener.open(f"{sandbox.url}/elsewhere", timeout=5)


def test_a_call_that_is_never_answered_holds_up_no_other_and_ends_with_the_sandbox(
    boto: boto3.Session,
) -> None:
    with Sandbox(seed=False) as sandbox:
        own = sandbox.state.add_user(ACCOUNT, "patient")
        key = sandbox.state.add_key(own)
        sts = boto.client(
            "sts",
            region_name="eu-west-1",
            endpoint_url=sandbox.url,
            aws_access_key_id=key.key_id,
            aws_secret_access_key=key.secret.reveal(),
            config=Config(retries={"total_max_attempts": 1}, proxies={}, read_timeout=30),
        )
        sandbox.faults.order("GetSessionToken", "time-out")
        ended: list[Exception] = []

        def wait() -> None:
            try:
                sts.get_session_token()
            except boto_errors.BotoCoreError as error:
                ended.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        while sandbox.faults.waiting():
            time.sleep(0.005)
        assert sts.get_caller_identity()
        assert waiting.is_alive()
    waiting.join(10)
    assert len(ended) == 1


def run_verb(sandbox: Sandbox, *words: str) -> tuple[int, str]:
    """Run `python -m keyturn_sandbox ...` in a shell that joined."""
    done = subprocess.run(
        [sys.executable, "-m", "keyturn_sandbox", *words],
        env={**os.environ, "KEYTURN_SANDBOX": str(sandbox.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def test_a_person_plays_bad_days_by_a_verb(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sts = client("sts", user.keys[0])
    result = run_verb(sandbox, "fault", "GetCallerIdentity", "throttle-429", "--times", "2")
    assert result == (0, "throttle-429: the next 2 calls of GetCallerIdentity")
    assert sandbox.faults.waiting() == {"GetCallerIdentity": 2}
    for _ in range(2):
        refused("TooManyRequestsException", 429, sts.get_caller_identity)
    assert sts.get_caller_identity()
    assert run_verb(sandbox, "fault", "*", "error", "--times", "0")[0] == 0
    for _ in range(3):
        refused("InternalFailure", 500, sts.get_session_token)
    assert run_verb(sandbox, "skew", "+20m") == (0, "AWS's clock is +1200 s from this machine's")
    assert skew_of(sandbox.folder) == 1200
    refused("SignatureDoesNotMatch", 403, sts.get_session_token)
    assert run_verb(sandbox, "fault", "--clear")[0] == 0
    assert sts.get_session_token()
    assert sts.get_caller_identity()


def test_a_verb_that_makes_no_sense_says_so(sandbox: Sandbox) -> None:
    for words, part in (
        (("fault",), "needs an action"),
        (("fault", "AssumeRole", "flood"), "invalid choice"),
        (("fault", "AssumeRole", "error", "--times", "-1"), "from 0 to 1000"),
        (("skew", "soon"), "not a duration"),
    ):
        code, output = run_verb(sandbox, *words)
        assert code == 2
        assert part in output


def test_orders_that_cannot_be_read_are_dropped(
    sandbox: Sandbox, user: User, client: Callable[..., Any]
) -> None:
    for number, text in enumerate(
        ("", "[]", "{}", '{"action": "*", "kind": "flood", "times": 1, "seconds": null}')
    ):
        (sandbox.folder / INBOX / f"{number}.json").write_text(text)
    leave_order(sandbox.folder, "GetCallerIdentity", "slow", seconds=0.01)
    assert sandbox.faults.waiting() == {"GetCallerIdentity": 1}
    assert client("sts", user.keys[0]).get_caller_identity()
    assert list((sandbox.folder / INBOX).iterdir()) == []
