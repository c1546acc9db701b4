"""Credentials that another program garbled are not repeated in the error that refuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keyturn.aws.client import BotoClientFactory
from keyturn.aws.errors import native_error, network_error_text, translate_errors
from keyturn.model.errors import KeyturnError
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from tests.adversarial.secret_leaks.secret_search import Search

TOKEN = "IQoJb3JpZ2luX2VjGarbledCanary0123456789abcdefghij/kl+mn"
KEY = "GarbledCanary+Garbled/Canary0123456789ab"
NOWHERE = "http://127.0.0.1:9"


def nothing_found_in(text: str) -> None:
    search = Search()
    search.add("token", TOKEN)
    search.add("key", KEY)
    assert [str(hit) for hit in search.search("words", text.encode())] == []


@pytest.mark.parametrize("end", ["\nand more", "\r\nX-Other: 1", "\0", "ü", " "])
@pytest.mark.parametrize("part", ["key", "token"])
def test_a_garbled_credential_is_refused_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, part: str, end: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", NOWHERE)
    key, token = (KEY + end, TOKEN) if part == "key" else (KEY, TOKEN + end)
    signer = Credentials("ASIAEXAMPLE", Secret(key), Secret(token))
    with pytest.raises(KeyturnError, match="contains invalid characters") as error_info:
        BotoClientFactory()(None, "us-east-1").get_caller_identity(signer)
    nothing_found_in(error_info.value.line())


def test_a_complaint_that_repeats_a_header_shows_no_token() -> None:
    """The error is worded as by Python's HTTP client, inside a botocore error and by itself."""
    from botocore.exceptions import HTTPClientError

    complaint = ValueError(f"Invalid header value {TOKEN.encode() + bytes([10])!r}")
    nothing_found_in(network_error_text(HTTPClientError(error=complaint)))
    nothing_found_in(native_error("x", complaint, "x").line())

    with pytest.raises(KeyturnError) as error_info, translate_errors("x"):
        raise ValueError(f"bad {KEY}", {"SecretAccessKey": KEY})
    nothing_found_in(error_info.value.line())


def test_a_process_that_prints_a_secret_as_its_complaint_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = tmp_path / "answer"
    answer.write_text(json.dumps({"SecretAccessKey": KEY, "SessionToken": TOKEN}))
    config = tmp_path / "config"
    config.write_text(f'[profile x]\ncredential_process = sh -c "cat {answer} >&2; exit 1"\n')
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(KeyturnError) as error_info:
        BotoClientFactory()("x", "us-east-1").native_credentials("x")
    nothing_found_in(error_info.value.line())
