"""Variables of a caller: which of them travel, how they are bounded on arrival, and what they decide."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.request import getproxies_environment

import pytest

from keyturn.agent import wire
from keyturn.agent.protocol import parse_request, request_line
from keyturn.model.errors import ChangeRefused, KeyturnError, UsageError
from keyturn.system.caller_environment import (
    MAX_VALUE_LENGTH,
    CallerEnvironment,
    require_known_host,
    require_usable_proxies,
)
from keyturn.system.caller_variables import NAMES, caller_variables

HOSTILE = CallerEnvironment({"AWS_ENDPOINT_URL_STS": "https://evil.example"})
NOTHING = CallerEnvironment({})


def test_only_what_decides_how_aws_is_reached_travels() -> None:
    environ = {name: name for name in NAMES} | {
        "AWS_ACCESS_KEY_ID": "x", "AWS_PROFILE": "x", "AWS_CONFIG_FILE": "x", "PATH": "x", "LD_PRELOAD": "x",
        "AWS_ENDPOINT_URL_S3": "x", "KEYTURN_HOME": "x", "HOME": "x",
    }  # fmt: skip
    assert caller_variables(environ).keys() == set(NAMES)
    assert caller_variables({}) == {}


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("value", "sent"),
    [("/a/b.pem", "/a/b.pem"), ("b.pem", "FOLDER/b.pem"), ("~/b.pem", "HOME/b.pem"), ("", "")],
)
def test_a_path_is_sent_as_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sent: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/jo")
    expected = sent.replace("FOLDER", str(tmp_path)).replace("HOME", "/home/jo")
    assert caller_variables({name: value}) == {name: expected}


def test_a_relative_path_in_a_deleted_folder_is_sent_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert caller_variables({"AWS_CA_BUNDLE": "ca.pem"}) == {"AWS_CA_BUNDLE": "ca.pem"}


def test_a_cgi_script_sends_no_proxy_that_its_web_client_names() -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "HTTP_PROXY": "http://evil.example",
        "http_proxy": "http://own.example",
    }
    assert caller_variables(environ) == {"http_proxy": "http://own.example"}


@pytest.mark.parametrize("value", ["plain", 'a"b\\c', "é", "a\udce9", "a b", "{}", "[1]", "null", ""])
def test_each_value_arrives_as_it_was_sent(value: str) -> None:
    variables = {"NO_PROXY": value, "AWS_REGION": "eu-west-1"}
    fast = wire.document_request("prod", variables)
    slow = request_line("credential-process", profile="prod", env=variables)
    assert json.loads(fast) == json.loads(slow)
    assert parse_request(fast).caller == CallerEnvironment(variables)
    assert parse_request(request_line("run", act="refresh", args={}, env=variables)).caller == (
        CallerEnvironment(variables)
    )


def test_an_older_client_sends_none_and_a_new_one_without_variables_an_empty_object() -> None:
    assert parse_request(wire.document_request("prod")).caller is None
    assert parse_request(wire.document_request("prod", {})).caller == NOTHING


def test_another_machine_sends_none() -> None:
    line = wire.document_request("prod", HOSTILE.variables)
    assert parse_request(line, is_remote=True).caller is None


@pytest.mark.parametrize(
    "env",
    [None, [], "x", 1, {"AWS_REGION": 1}, {"AWS_REGION": None}, {"AWS_REGION": ["x"]}, {"AWS_REGION": "a\nb"},
        {"AWS_REGION": "\x1b[31m"}, {"AWS_REGION": "\x9b1m"}, {"AWS_REGION": "a\0"}, {"AWS_REGION": "\x7f"},
        {"AWS_REGION": "x" * (MAX_VALUE_LENGTH + 1)}],
)  # fmt: skip
def test_what_is_no_environment_is_refused_in_one_line(env: object) -> None:
    with pytest.raises(UsageError) as caught:
        parse_request(request_line("run", act="refresh", args={}, env=env))
    assert caught.value.line().isprintable()
    assert len(caught.value.line()) < 200


def test_an_unknown_name_is_left_out() -> None:
    assert CallerEnvironment.parse({"LD_PRELOAD": "x", "AWS_PROFILE": 1, "AWS_REGION": "r"}).variables == {
        "AWS_REGION": "r"
    }


def test_it_replaces_the_variables_of_the_list_and_no_other() -> None:
    own = {"AWS_DEFAULT_REGION": "own", "HTTPS_PROXY": "own", "PATH": "own", "AWS_MAX_ATTEMPTS": "3"}
    assert CallerEnvironment({"AWS_DEFAULT_REGION": "callers"}).over(own) == {
        "AWS_DEFAULT_REGION": "callers", "PATH": "own", "AWS_MAX_ATTEMPTS": "3",
    }  # fmt: skip


def test_no_value_is_in_its_repr() -> None:
    assert "hunter2" not in repr(CallerEnvironment({"HTTPS_PROXY": "http://jo:hunter2@proxy"}))


@pytest.mark.parametrize(
    ("caller", "start", "names"),
    [
        ({}, {}, ()),
        ({"AWS_ENDPOINT_URL": "a"}, {"AWS_ENDPOINT_URL": "a"}, ()),
        ({"AWS_ENDPOINT_URL": "a"}, {}, ("AWS_ENDPOINT_URL",)),
        ({}, {"AWS_ENDPOINT_URL_SSO_OIDC": "a"}, ("AWS_ENDPOINT_URL_SSO_OIDC",)),
        ({"AWS_CA_BUNDLE": "/a"}, {"AWS_CA_BUNDLE": "/b"}, ("AWS_CA_BUNDLE",)),
        ({"REQUESTS_CA_BUNDLE": "/a"}, {}, ("REQUESTS_CA_BUNDLE",)),
        ({"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, {}, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",)),
        ({"AWS_ENDPOINT_URL": "", "AWS_CA_BUNDLE": " "}, {}, ()),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "x", "ALL_PROXY": "y"}, {}, ()),
        ({"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b", "AWS_USE_FIPS_ENDPOINT": "true"}, {}, ()),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_STS_REGIONAL_ENDPOINTS": "legacy"}, {}, ()),
    ],
)
def test_endpoints_and_ca_bundles_make_a_caller_foreign(
    caller: Mapping[str, str], start: Mapping[str, str], names: tuple[str, ...]
) -> None:
    ours, theirs = CallerEnvironment(caller), CallerEnvironment(start)
    assert ours.foreign_names(theirs) == names
    assert (ours.host_fingerprint() == theirs.host_fingerprint()) == (not names)


def test_without_endpoint_and_ca_bundle_the_fingerprint_is_empty() -> None:
    assert CallerEnvironment({"AWS_REGION": "x", "HTTPS_PROXY": "http://p"}).host_fingerprint() == ""


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HTTPS_PROXY": "http://a", "HTTP_PROXY": "http://b"},
        {"HTTPS_PROXY": "http://a", "https_proxy": "http://b"},
        {"HTTPS_PROXY": "http://a", "https_proxy": ""},
        {"HTTPS_PROXY": "", "https_proxy": "http://b"},
        {"NO_PROXY": "a,b", "no_proxy": ""},
        {"NO_PROXY": "a,b", "HTTP_PROXY": "https://x"},
    ],
)
def test_proxies_are_chosen_as_python_chooses_them(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert CallerEnvironment(variables).proxies() == getproxies_environment()


@pytest.mark.parametrize("value", ["jo:pw@proxy:3128", "//jo:pw@proxy:3128", "http://jo:pw@proxy:3128"])
def test_a_proxy_always_has_a_scheme_so_that_its_login_is_recognized(value: str) -> None:
    assert CallerEnvironment({"HTTPS_PROXY": value}).proxies() == {"https": "http://jo:pw@proxy:3128"}


@pytest.mark.parametrize(
    ("url", "is_usable"),
    [
        ("http://proxy:3128", True),
        ("http://proxy/", True),
        ("https://jo:p%2Fw@[::1]:1", True),
        ("http://jo:p@w@proxy:1", True),
        ("http://jo:hunter2/x@proxy:1", False),
        ("http://jo:123/x@proxy:1", False),
        ("http://jo:1?hunter2@proxy", False),
        ("http://jo:1#hunter2@proxy", False),
        ("http://jo:hunter2@[::1", False),
        ("http://jo:hunter2@proxy:port", False),
        ("http://", False),
        ("http://jo:hunter2@proxy:0", False),
    ],
)
def test_an_unusable_proxy_is_named_by_its_variable_alone(url: str, *, is_usable: bool) -> None:
    if is_usable:
        require_usable_proxies({"https": url})
        return
    with pytest.raises(KeyturnError) as caught:
        require_usable_proxies({"https": url})
    assert "HTTPS_PROXY" in caught.value.line()
    assert "hunter2" not in caught.value.line()


def test_a_secret_without_a_signature_goes_to_no_endpoint_of_the_caller() -> None:
    require_known_host("Could not sign in", HOSTILE.foreign_names(HOSTILE), "its token would be sent there")
    with pytest.raises(ChangeRefused) as caught:
        require_known_host(
            "Could not sign in", HOSTILE.foreign_names(NOTHING), "its token would be sent there"
        )
    assert caught.value.exit_code == 5
    assert "AWS_ENDPOINT_URL_STS" in caught.value.line()
    assert "evil.example" not in caught.value.line()
