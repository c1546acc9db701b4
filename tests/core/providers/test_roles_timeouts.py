"""A user's own settings reach AWS as botocore reads them, an operation has one deadline, and clock skew is
reported by size."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.loaders import Loader
from botocore.session import Session

from keyturn.aws import client as aws_client
from keyturn.aws import deadline
from keyturn.aws.client import CONNECT_SECONDS, MAX_ATTEMPTS, READ_SECONDS, BotoClient, BotoClientFactory
from keyturn.aws.deadline import Deadline
from keyturn.aws.errors import clock_skew, error_from_response
from keyturn.model.errors import AwsRefused, ClockSkew, KeyturnError, Unreachable, WrongMfaCode
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.system import caller_variables
from keyturn.system.caller_environment import CallerEnvironment
from keyturn.system.hardening import agent_environment
from keyturn.system.timeout import DeadlineExceeded, run_with_timeout
from tests.core.operations.conftest import Bench

KEY = Credentials("AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
CASES: list[tuple[str, Mapping[str, str]]] = [
    ("", {}),
    ("region = eu-west-1", {}),
    ("", {"AWS_DEFAULT_REGION": "ap-southeast-2"}),
    ("region = cn-north-1", {}),
    ("region = us-gov-west-1", {}),
    ("region = eu-west-1\nsts_regional_endpoints = legacy", {}),
    ("region = eu-west-1", {"AWS_STS_REGIONAL_ENDPOINTS": "legacy"}),
    ("region = us-east-1\nuse_fips_endpoint = true", {}),
    ("region = us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}),
    ("region = us-gov-west-1\nuse_fips_endpoint = true", {}),
    ("region = us-east-1\nuse_dualstack_endpoint = true", {}),
    ("region = us-east-1", {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
    ("region = eu-west-1\nendpoint_url = http://127.0.0.1:9", {}),
    ("region = eu-west-1\nservices = local", {}),
    ("region = eu-west-1\nservices = local", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}),
    ("region = eu-west-1\nservices = local", {"AWS_ENDPOINT_URL": "http://127.0.0.1:8"}),
    ("region = eu-west-1", {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:7", "AWS_ENDPOINT_URL_IAM": "http://127.0.0.1:6"}),
    ("region = eu-west-1", {"HTTPS_PROXY": "http://127.0.0.1:3128"}),
    ("region = eu-west-1", {"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": "amazonaws.com"}),
    ("region = eu-west-1\nca_bundle = FOLDER/own.pem", {}),
    ("region = eu-west-1", {"AWS_CA_BUNDLE": "FOLDER/other.pem"}),
    ("region = eu-west-1\ntcp_keepalive = true", {}),
    ("region = eu-west-1\nmax_attempts = 7", {}),
    ("region = eu-west-1\nmax_attempts = 7", {"AWS_MAX_ATTEMPTS": "3"}),
    ("region = eu-west-1\nretry_mode = standard", {}),
    ("region = eu-west-1\nretry_mode = adaptive\nmax_attempts = 4", {}),
    ("region = eu-west-1", {"AWS_RETRY_MODE": "legacy"}),
    ("region = eu-west-1\ndefaults_mode = standard", {}),
    ("region = eu-west-1\ndefaults_mode = cross-region", {}),
    ("region = eu-west-1", {"AWS_DEFAULTS_MODE": "in-region"}),
]  # fmt: skip
SERVICES = "\n[services local]\nsts =\n  endpoint_url = http://127.0.0.1:5\niam =\n  endpoint_url = http://127.0.0.1:4\n"
_OWN_SETTINGS = (
    "AWS_MAX_ATTEMPTS",
    "max_attempts",
    "AWS_RETRY_MODE",
    "retry_mode",
    "AWS_DEFAULTS_MODE",
    "defaults_mode",
)


def facts(client: Any) -> dict[str, Any]:
    """Return all settings that affect a client's connection to AWS."""
    config, http = client.meta.config, client._endpoint.http_session
    return {
        "endpoint": client.meta.endpoint_url,
        "partition": client.meta.partition,
        "region": client.meta.region_name,
        "proxies": {scheme: url for scheme, url in http._proxy_config._proxies.items() if scheme != "no"},
        "verify": Path(http._verify).read_bytes() if isinstance(http._verify, str) else http._verify,
        "socket": http._socket_options,
        "retries": config.retries,
        "connect": config.connect_timeout,
    }


#: Reads each service's model once for all cases, because that is most of the cost of a client.
LOADER = Loader()
FACTORY = BotoClientFactory()


def botocores(service: str) -> dict[str, Any]:
    """Return the facts of a client that botocore makes for the profile in this process's environment."""
    plain = Session(profile="p")
    plain.register_component("data_loader", LOADER)
    session: Any = boto3.Session(botocore_session=plain)
    return facts(session.client(service, aws_access_key_id=KEY.access_key_id, aws_secret_access_key="x"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two CA bundles. Nothing in the environment decides how AWS is reached."""
    for name in caller_variables.NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("own", "other"):
        (tmp_path / f"{name}.pem").write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "variables", "service"),
    [(*case, "sts") for case in CASES] + [(*case, "iam") for case in CASES[:18:3]],
)
def test_a_profiles_way_to_aws_is_botocores_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: str, variables: Mapping[str, str], service: str
) -> None:
    own_file = settings.replace("FOLDER", str(folder))
    (folder / "config").write_text(f"[profile p]\n{own_file}\n{SERVICES}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("FOLDER", str(folder)))
    view = FACTORY("p", None)
    assert isinstance(view, BotoClient)
    ours = facts(view.client(service, KEY))
    theirs = botocores(service)
    if not any(word in settings or word in variables for word in _OWN_SETTINGS):
        # Unset values are keyturn's, because no client of a credential_process should wait for minutes.
        assert ours.pop("connect") == CONNECT_SECONDS
        assert ours.pop("retries")["total_max_attempts"] == MAX_ATTEMPTS
        theirs = {name: value for name, value in theirs.items() if name in ours}
    elif "efaults_mode" not in settings and "AWS_DEFAULTS_MODE" not in variables:
        assert ours.pop("connect") == CONNECT_SECONDS
        theirs.pop("connect")
    assert ours == theirs
    assert view.client(service, KEY).meta.config.read_timeout == READ_SECONDS


#: What an agent was started with, each different from that of every case.
AGENTS_OWN = {
    "AWS_DEFAULT_REGION": "eusc-de-east-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:2",
    "AWS_CA_BUNDLE": "/nowhere/agent.pem",
    "REQUESTS_CA_BUNDLE": "/nowhere/agents.pem",
    "HTTPS_PROXY": "http://127.0.0.1:3",
    "https_proxy": "http://127.0.0.1:4",
    "NO_PROXY": "127.0.0.1",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
}


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        *(case for case in CASES if set(case[1]) <= set(caller_variables.NAMES)),
        ("region = eu-west-1", {"REQUESTS_CA_BUNDLE": "FOLDER/other.pem"}),
        ("region = eu-west-1\nca_bundle = FOLDER/own.pem", {"REQUESTS_CA_BUNDLE": "FOLDER/other.pem"}),
        ("region = eu-west-1", {"HTTPS_PROXY": "http://127.0.0.1:3128", "https_proxy": ""}),
        ("region = eu-west-1", {"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": "example.com"}),
        ("region = eu-west-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:8", "http_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1"}),
    ],
)  # fmt: skip
def test_a_callers_way_to_aws_is_as_in_its_own_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: str, variables: Mapping[str, str]
) -> None:
    own_file = settings.replace("FOLDER", str(folder))
    (folder / "config").write_text(f"[profile p]\n{own_file}\n{SERVICES}")
    callers = {name: value.replace("FOLDER", str(folder)) for name, value in variables.items()}
    with monkeypatch.context() as process:
        for name, value in callers.items():
            process.setenv(name, value)
        theirs = botocores("sts")
    for name, value in AGENTS_OWN.items():
        monkeypatch.setenv(name, value)
    view = FACTORY("p", None, caller=CallerEnvironment.of(callers))
    assert isinstance(view, BotoClient)
    ours = facts(view.client("sts", KEY))
    decided = ("endpoint", "partition", "region", "proxies", "verify")
    assert {name: ours[name] for name in decided} == {name: theirs[name] for name in decided}
    assert dict(os.environ).items() >= AGENTS_OWN.items()


def test_what_the_person_set_in_the_environment_reaches_the_agent() -> None:
    names = {name for _, variables in CASES for name in variables}
    environ = agent_environment(dict.fromkeys(names, "/x"), Path("/"))
    assert names <= set(environ)


def test_an_end_counts_for_all_that_an_operation_asks() -> None:
    moments = iter([100.0, 104.0, 119.0, 121.0, 121.0, 121.0, 200.0])
    limit = Deadline(lambda: next(moments))
    assert limit.left() == 16
    assert limit.left() == 1
    assert limit.left() == -1
    assert limit.left(deadline.EXTENDED_SECONDS) == 19
    limit.add_time(10)
    assert limit.left() == 9
    assert limit.left() == -70


def test_credit_never_passes_what_a_client_waits_for() -> None:
    limit = Deadline(lambda: 0.0)
    limit.add_time(1000)
    assert limit.left() == limit.left(1000) == deadline.MAX_SECONDS < 50


def test_an_operation_past_its_end_is_not_begun_and_one_that_hangs_is_left_behind() -> None:
    runs = []
    with pytest.raises(DeadlineExceeded):
        run_with_timeout(0, lambda: runs.append(1))
    assert not runs
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        run_with_timeout(0.05, lambda: time.sleep(5))
    assert time.monotonic() - started < 4
    assert run_with_timeout(5, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(5, lambda: 1 // 0)


@pytest.mark.parametrize("kind", ["time-out", "drip"])
def test_a_chain_of_silent_hops_has_one_end(bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    bench.adopt("acme-build")
    monkeypatch.setattr(aws_client, "DEFAULT_SECONDS", 2.0)
    bench.sandbox.faults.order("AssumeRole", kind, times=None)
    calls = bench.calls("AssumeRole")
    started = time.monotonic()
    with pytest.raises(Unreachable) as excinfo:
        bench.service.credential_process("acme-spoke-logs")
    assert time.monotonic() - started < 15, "one try alone may take 12 s, three hops with two tries 72 s"
    assert "no response from AWS within 2 s" in excinfo.value.line()
    assert "\n" not in excinfo.value.line()
    assert bench.calls("AssumeRole") - calls <= MAX_ATTEMPTS
    bench.sandbox.faults.clear()


def test_hops_that_are_slow_one_by_one_have_one_end_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("acme-build")
    monkeypatch.setattr(aws_client, "DEFAULT_SECONDS", 5.0)
    bench.sandbox.faults.order("AssumeRole", "slow", seconds=3.0, times=None)
    with pytest.raises(Unreachable, match="no response from AWS within 5 s"):
        bench.service.credential_process("acme-spoke-logs")
    bench.sandbox.faults.clear()


@pytest.mark.parametrize(
    ("minutes", "words"), [(17, "17 min behind"), (-17, "17 min ahead of"), (60 * 26, "26h behind")]
)
def test_a_clock_that_is_off_is_told_with_its_size_and_asked_once(
    bench: Bench, minutes: int, words: str
) -> None:
    bench.adopt("ci-deploy")
    bench.sandbox.faults.skew(minutes * 60)
    calls = bench.calls("GetSessionToken")
    with pytest.raises(ClockSkew) as excinfo:
        bench.service.refresh("ci-deploy")
    assert f"the system clock is {words} AWS" in excinfo.value.line()
    assert bench.calls("GetSessionToken") == calls + 1
    bench.sandbox.faults.clear()


def test_a_code_that_fails_for_the_clock_says_so(bench: Bench) -> None:
    bench.adopt("acme-alice")
    code = bench.sandbox.totp("alice")
    bench.sandbox.faults.skew(6 * 60)
    with pytest.raises(WrongMfaCode) as excinfo:
        bench.service.refresh("acme-alice", code)
    assert "the system clock is 6 min behind AWS" in excinfo.value.line()
    bench.sandbox.faults.clear()


NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def answer(code: str, message: str, ahead: timedelta | None) -> dict[str, Any]:
    headers = {} if ahead is None else {"date": format_datetime(NOW - ahead, usegmt=True)}
    return {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPHeaders": headers, "RequestId": "r"},
    }


EXPIRED = (
    "Signature expired: 20160609T184512Z is now earlier than 20160610T013008Z (20160610T014508Z - 15 min.)"
)
YOUNG = (
    "Signature not yet current: 20260101T002000Z is still later than 20260101T001500Z "
    "(20260101T000000Z + 15 min.)"
)
TABLE = [
    ("SignatureDoesNotMatch", EXPIRED, None, ClockSkew, "7h behind AWS"),
    ("SignatureDoesNotMatch", YOUNG, None, ClockSkew, "20 min ahead of AWS"),
    ("SignatureDoesNotMatch", EXPIRED, timedelta(minutes=-18), ClockSkew, "18 min behind AWS"),
    ("RequestExpired", "Request has expired", timedelta(minutes=6), ClockSkew, "6 min ahead of AWS"),
    ("InvalidSignatureException", "Signature expired", timedelta(days=-3), ClockSkew, "3d behind AWS"),
    ("SignatureDoesNotMatch", "The request signature we calculated", timedelta(0),
     AwsRefused, "if that is the vault, adopt it again"),
    ("SignatureDoesNotMatch", "The request signature we calculated", timedelta(minutes=3),
     AwsRefused, "does not belong"),
    ("ExpiredToken", "The token is expired", timedelta(minutes=-9), AwsRefused, "clock is 9 min behind AWS"),
    ("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.",
     timedelta(seconds=90), WrongMfaCode, "clock is 90 s ahead of AWS"),
    ("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.",
     timedelta(seconds=30), WrongMfaCode, "Wait for the next code"),
    ("RegionDisabledException",
     "STS is not activated in this region for account:1. Your account administrator can",
     timedelta(0), AwsRefused, "STS is not activated in this region. Activate"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "message", "ahead", "kind", "words"), TABLE)
def test_what_an_answer_means(
    code: str, message: str, ahead: timedelta | None, kind: type[KeyturnError], words: str
) -> None:
    error = error_from_response("sts:AssumeRole", answer(code, message, ahead), NOW)
    assert type(error) is kind
    assert words in error.line()
    assert "\n" not in error.line()


@pytest.mark.parametrize("date", ["", "tomorrow", "Mon, 99 Foo 2026 99:99:99 GMT", "\x1b[31m"])
def test_a_strange_date_is_no_skew(date: str) -> None:
    assert clock_skew("", {"date": date}, NOW) is None


def test_without_any_region_an_endpoint_of_the_persons_own_is_signed_for_as_the_global_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("personal")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    bench.config.write_text(
        "".join(
            line
            for line in bench.config.read_text().splitlines(keepends=True)
            if not line.startswith("region")
        )
    )
    bench.service.refresh("personal")
    assert bench.calls("GetSessionToken")
