"""Limits on what botocore reads: streams, bodies, processes and token files."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.aws import response_limit
from keyturn.aws.botocore_providers import resolved_providers
from keyturn.aws.client import _credentials_in
from keyturn.aws.errors import MalformedResponse, ResponseTooLong, UnacceptableResponse
from keyturn.aws.response_limit import (
    MAX_BYTES,
    MAX_SECONDS,
    MAX_TOKEN_BYTES,
    LimitedStream,
    LimitedTokenLoader,
    limit_responses,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Source(io.RawIOBase):
    """A stream without an end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_a_stream_is_read_up_to_its_limit() -> None:
    stream = io.BufferedReader(LimitedStream(Source()))
    assert len(stream.read(MAX_BYTES)) == MAX_BYTES
    with pytest.raises(ResponseTooLong):
        stream.readline()


def test_a_stream_that_drips_ends() -> None:
    times = iter((0.0, MAX_SECONDS, MAX_SECONDS + 1))
    stream = LimitedStream(Source(), lambda: next(times))
    assert stream.read(1) == b"\0"
    with pytest.raises(TimeoutError):
        stream.read(1)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", None),
        (b"x" * MAX_BYTES, None),
        (b"x" * (MAX_BYTES + 1), ResponseTooLong),
        (b'<?xml version="1.0" encoding="UTF-8"?><a/>', None),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", None),
        (b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', MalformedResponse),
        ("<a/>".encode("utf-16"), MalformedResponse),
        (b'<?xml version="1.0" encoding="cp037"?>\x4c\x81\x61\x6e', MalformedResponse),
        (b"<a>" + b"<b/>" * 19_000 + b"</a>", None),
        (b"<a>" + b"<b/>" * 20_000 + b"</a>", MalformedResponse),
        (b"[" + b"[]," * 20_001 + b"[]]", MalformedResponse),
    ],
)
def test_a_body_that_a_parser_would_expand_is_refused(body: bytes, error: type[Exception] | None) -> None:
    event = {"response_dict": {"body": body}}
    if error is None:
        response_limit._check_body(**event)
        return
    with pytest.raises(error):
        response_limit._check_body(**event)


def test_all_pools_of_botocore_are_limited_once() -> None:
    from botocore.awsrequest import AWSHTTPConnectionPool, AWSHTTPSConnectionPool

    limit_responses()
    before = AWSHTTPConnectionPool.ConnectionCls, AWSHTTPSConnectionPool.ConnectionCls
    limit_responses()
    assert before == (AWSHTTPConnectionPool.ConnectionCls, AWSHTTPSConnectionPool.ConnectionCls)
    classes: list[Any] = list(before)
    assert {each.response_class for each in classes} == {response_limit.LimitedResponse}


def test_a_token_file_has_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t" * MAX_TOKEN_BYTES)
    assert len(LimitedTokenLoader(str(file))()) == MAX_TOKEN_BYTES
    with pytest.raises(ValueError, match="longer than"):
        LimitedTokenLoader("/dev/zero")()


def test_the_sources_of_a_role_are_limited_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.credentials import create_credential_resolver
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    config = tmp_path / "config"
    config.write_text(
        "[profile top]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = tool\n"
        "region = eu-west-1\n[profile tool]\ncredential_process = head -c 2000000 /dev/zero\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    providers = create_credential_resolver(Session(profile="top")).providers
    role = next(provider for provider in providers if provider.METHOD == "assume-role")
    with pytest.raises((ValueError, BotoCoreError), match="more than 64 KiB"):
        response_limit.limit_provider(role).load()


def test_the_resolver_that_verifies_runs_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, config = tmp_path / "ran", tmp_path / "config"
    config.write_text(
        "[profile top]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = tool\n"
        f"[profile tool]\ncredential_process = touch {ran}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    assert next(iter(resolved_providers(["top"]))) == ("assume-role", "")
    assert next(iter(resolved_providers(["tool"]))) == ("custom-process", f"touch {ran}")
    assert not ran.exists()


def _response(key_id: str, expires: datetime) -> dict[str, Any]:
    fields = {"AccessKeyId": key_id, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": expires}
    return {"Credentials": fields}


@pytest.mark.parametrize(
    ("key_id", "seconds", "is_taken"),
    [
        ("ASIAQQQQQQQQQQQQQQQQ", 3600, True),
        ("ASIAQQQQQQQQQQQQQQQQ", 3600 + 900, True),
        ("ASIAQQQQQQQQQQQQQQQQ", 3600 + 901, False),
        ("AKIAQQQQQQQQQQQQQQQQ", 3600, False),
        ("AROAQQQQQQQQQQQQQQQQ", 3600, False),
    ],
)
def test_a_session_is_temporary_and_lasts_as_requested(key_id: str, seconds: int, is_taken: bool) -> None:
    response = _response(key_id, NOW + timedelta(seconds=seconds))
    if is_taken:
        assert _credentials_in(response, NOW, 3600).access_key_id == key_id
        return
    with pytest.raises(UnacceptableResponse):
        _credentials_in(response, NOW, 3600)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_an_empty_variable_for_the_ca_bundle_does_not_turn_verification_off(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyturn.aws.client import BotoClient, BotoClientFactory
    from keyturn.model.profile import Credentials
    from keyturn.model.secret import Secret

    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "")
    client = BotoClientFactory()(None, "eu-west-1")
    assert isinstance(client, BotoClient)
    endpoint = client.client("sts", Credentials("AKIA", Secret("s")))._endpoint
    assert endpoint.http_session._verify is True
