"""Delivery into an environment: the variables set and unset, and the lines for each shell. Tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keyturn.delivery.environment import (
    CONFLICTING,
    KEYS,
    REGIONS,
    Shell,
    apply,
    endpoint,
    regions,
    render,
    session,
    shell_from_path,
    without_bearer_tokens,
    without_proxy,
)
from keyturn.model.errors import UsageError
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret

ENDS = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
SHORT = Credentials("ASIA", Secret("s"), Secret("t"), ENDS)
LONG = Credentials("AKIA", Secret("s"))
GONE = dict.fromkeys(CONFLICTING)
HERE = dict.fromkeys(REGIONS, "eu-west-1")


def _pair(region: str, default_region: str) -> dict[str, str]:
    return {"AWS_REGION": region, "AWS_DEFAULT_REGION": default_region}


@pytest.mark.parametrize(
    ("environ", "own", "chosen", "expected"),
    [
        ({}, None, None, {}),
        ({}, "eu-west-1", None, _pair("eu-west-1", "eu-west-1")),
        ({"AWS_REGION": "ap-south-2"}, "eu-west-1", None, _pair("ap-south-2", "ap-south-2")),
        ({"AWS_DEFAULT_REGION": "ap-south-2"}, "eu-west-1", None, _pair("ap-south-2", "ap-south-2")),
        ({"AWS_DEFAULT_REGION": "ap-south-2"}, None, None, _pair("ap-south-2", "ap-south-2")),
        (_pair("ap-south-2", "sa-east-1"), "eu-west-1", None, _pair("ap-south-2", "sa-east-1")),
        (_pair("", "sa-east-1"), "eu-west-1", None, _pair("sa-east-1", "sa-east-1")),
        (_pair("sa-east-1", ""), None, None, _pair("sa-east-1", "sa-east-1")),
        (_pair("", ""), "eu-west-1", None, _pair("eu-west-1", "eu-west-1")),
        (_pair("", ""), None, None, {}),
        (_pair("ap-south-2", "sa-east-1"), "eu-west-1", "us-east-2", _pair("us-east-2", "us-east-2")),
        ({}, None, "us-east-2", _pair("us-east-2", "us-east-2")),
    ],
)
def test_the_region_is_the_chosen_one_else_the_callers_else_the_profiles(
    environ: dict[str, str], own: str | None, chosen: str | None, expected: dict[str, str]
) -> None:
    assert regions(environ, own, chosen) == expected


def test_a_session_brings_its_keys_its_region_its_end_and_its_account_and_takes_all_others_away() -> None:
    assert session(SHORT, HERE, "111122223333") == {
        **GONE, "AWS_ACCESS_KEY_ID": "ASIA", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t",
        "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CREDENTIAL_EXPIRATION": "2026-11-23T13:00:00Z", "AWS_ACCOUNT_ID": "111122223333",
    }  # fmt: skip


def test_a_key_without_an_end_takes_the_token_and_the_end_of_another_away() -> None:
    found = session(LONG, {}, None)
    assert found == {
        **GONE,
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": None,
    }
    assert set(REGIONS).isdisjoint(found), "a region that the profile does not name stays as it is"


@pytest.mark.parametrize(
    ("token", "token_file"),
    [(None, "/run/token"), (Secret("t"), None), (None, None)],
    ids=["file", "token", "none"],
)
def test_an_endpoint_brings_its_address_and_no_credential(
    token: Secret | None, token_file: str | None
) -> None:
    found = endpoint(Secret("http://127.0.0.1:1/x"), HERE, token=token, token_file=token_file)
    assert found == {
        **GONE, **dict.fromkeys(KEYS), **dict.fromkeys(REGIONS, "eu-west-1"),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/x",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t" if token else None,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token_file,
    }  # fmt: skip
    bare = endpoint(Secret("u"), {})
    assert set(REGIONS).isdisjoint(bare)
    assert bare["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] is None


#: Variables that no AWS client must find beside the keys.
@pytest.mark.parametrize(
    "name",
    [
        "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_CREDENTIAL_FILE",
        "AWS_SESSION_EXPIRATION", "AWS_ACCOUNT_ID",
    ],
)  # fmt: skip
def test_what_a_client_would_prefer_or_mix_up_goes(name: str) -> None:
    assert name not in apply(session(SHORT, {}, None), {name: "x"})


HOST = "127.0.0.1"
#: Environment, the change.
PROXIES: list[tuple[dict[str, str], dict[str, str]]] = [
    ({}, {}),
    ({"no_proxy": "a"}, {}),
    ({"http_proxy": ""}, {}),
    ({"https_proxy": "p"}, {}),
    *[({name: "p"}, {"no_proxy": HOST, "NO_PROXY": HOST}) for name in ("http_proxy", "HTTP_PROXY",
    "all_proxy", "ALL_PROXY")],
    ({"http_proxy": "p", "no_proxy": "a,b"}, {"no_proxy": f"a,b,{HOST}", "NO_PROXY": f"a,b,{HOST}"}),
    ({"http_proxy": "p", "NO_PROXY": "a"}, {"no_proxy": f"a,{HOST}", "NO_PROXY": f"a,{HOST}"}),
    ({"http_proxy": "p", "no_proxy": "a", "NO_PROXY": "b"}, {"no_proxy": f"a,{HOST}",
    "NO_PROXY": f"b,{HOST}"}),
    ({"http_proxy": "p", "no_proxy": "", "NO_PROXY": "b"}, {"no_proxy": f"b,{HOST}",
    "NO_PROXY": f"b,{HOST}"}),
    ({"http_proxy": "p", "no_proxy": f"a,{HOST}"}, {"no_proxy": f"a,{HOST}", "NO_PROXY": f"a,{HOST}"}),
    ({"http_proxy": "p", "no_proxy": "127.0.0.10"}, {"no_proxy": f"127.0.0.10,{HOST}",
    "NO_PROXY": f"127.0.0.10,{HOST}"}),
]  # fmt: skip


@pytest.mark.parametrize(("environ", "change"), PROXIES, ids=range(len(PROXIES)))
def test_a_token_for_this_machine_goes_past_every_proxy(
    environ: dict[str, str], change: dict[str, str]
) -> None:
    assert without_proxy(environ, HOST) == change


POSIX = "export A='it'\\''s';\nunset B;\n"
#: Shell, the lines for A, whose value holds a quote, and for B, which is unset.
LINES = [
    (Shell.SH, POSIX),
    (Shell.BASH, POSIX),
    (Shell.ZSH, POSIX),
    (Shell.POWERSHELL, "$Env:A = 'it''s';\nRemove-Item Env:B -ErrorAction SilentlyContinue;\n"),
    (Shell.CMD, "set \"A=it's\"\r\nset \"B=\"\r\n"),
    (Shell.JSON, '{\n  "A": "it\'s",\n  "B": null\n}\n'),
]  # fmt: skip


@pytest.mark.parametrize(("shell", "lines"), LINES)
def test_a_change_is_spoken_in_the_order_of_its_names(shell: Shell, lines: str) -> None:
    assert render({"B": None, "A": "it's"}, shell) == lines


def test_what_goes_does_not_end_what_comes() -> None:
    assert render({"A": None, "B": "x", "C": None}, Shell.SH) == "unset A;\nexport B='x';\nunset C;\n"


def test_the_bearer_tokens_of_all_services_go() -> None:
    names = ("AWS_BEARER_TOKEN_BEDROCK", "AWS_BEARER_TOKEN_X_1")
    other_names = ("AWS_BEARER_TOKEN_", "AWS_BEARER_TOKEN_x", "XAWS_BEARER_TOKEN_X", "AWS_PROFILE")
    assert without_bearer_tokens(dict.fromkeys((*names, *other_names), "x")) == dict.fromkeys(names)


def test_the_shells_are_those_that_are_documented() -> None:
    assert [str(shell) for shell in Shell] == ["sh", "bash", "zsh", "fish", "powershell", "cmd", "json"]


def test_fish_is_told_with_its_own_quotes() -> None:
    assert render({"A": "it's \\ x"}, Shell.FISH) == "set -gx A 'it\\'s \\\\ x';\n"
    assert render({"B": None}, Shell.FISH).startswith("set -eg B; ")


@pytest.mark.parametrize("shell", [shell for shell in Shell if shell is not Shell.JSON])
def test_what_no_value_has_is_refused(shell: Shell) -> None:
    for value in ("a\nb", "\x1b[0m", "\u202e"):
        with pytest.raises(UsageError):
            render({"A": value}, shell)


@pytest.mark.parametrize("mark", '%!"^&|<>')
def test_cmd_is_not_told_what_it_would_obey(mark: str) -> None:
    with pytest.raises(UsageError):
        render({"A": mark}, Shell.CMD)


def test_json_is_ascii_and_carries_anything() -> None:
    assert render({"A": "ü\n\x1b"}, Shell.JSON) == '{\n  "A": "\\u00fc\\n\\u001b"\n}\n'


@pytest.mark.parametrize(
    ("path", "shell"),
    [
        ("/bin/sh", Shell.SH), ("/bin/bash", Shell.BASH), ("zsh", Shell.ZSH), ("/usr/bin/fish", Shell.FISH),
        ("/opt/pwsh", Shell.POWERSHELL), ("powershell.exe", Shell.POWERSHELL), ("pwsh.exe", Shell.POWERSHELL),
        ("cmd.exe", Shell.CMD), ("-bash", Shell.BASH), ("/bin/ksh", Shell.SH), ("", Shell.SH),
        ("/bin/bash/", Shell.SH),
    ],
)  # fmt: skip
def test_a_shell_is_known_by_the_name_of_its_program(path: str, shell: Shell) -> None:
    assert shell_from_path(path) is shell
