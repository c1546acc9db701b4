"""Lines of the shared files that mean something else to AWS tools than they seem to, as a table."""

from __future__ import annotations

import pytest

from keyturn.awsconfig import misreadings
from keyturn.awsconfig.loader import combine
from keyturn.awsconfig.parser import FileKind, parse

CONFIG = [
    ("[profile a]\nregion = eu-west-1\n", []),
    ('[profile "a b"]\nregion = eu-west-1\n', []),
    ("[profile a b]\nx = 1\n", [(1, None, "is ignored")]),
    ("[profile it's]\n", [(1, None, "is ignored")]),
    ("[sso-session]\n", [(1, None, "is ignored")]),
    ("[ profile c ]\n", [(1, None, "is not a profile")]),
    ("[Profile d]\n", [(1, None, "is not a profile")]),
    ("[e]\nrole_arn = r\n", [(1, None, "is not a profile")]),
    ("[plugins]\ncli = x\n", []),
    ("[profile-x f]\n", [(1, "f", "to the AWS CLI and boto3 alone")]),
    ("[profile DOM\\user]\n", [(1, "DOMuser", "without its backslash")]),
    ("[profile a#b]\n", [(1, "a#b", "cut at the #")]),
    ("[profile a] # [b]\n", [(1, None, "is ignored")]),
    ('[profile f]\n[profile "f"]\n', [(2, "f", "replaces [profile f] on line 1")]),
    ("[default]\n[profile default]\n", [(2, "default", "replaces [default] on line 1")]),
    ("[DEFAULT]\nregion = x\n[profile a]\n", [(1, None, "apply to every section")]),
    ("[profile a]\nregion = x # Ireland\n", [(2, "a", "region has a comment")]),
    ('[profile a]\nregion = "x"\n', [(2, "a", "region has quotes")]),
    ('[profile a]\ncredential_process = "/opt/x" "y"\n', []),
    ("[profile a]\ncredential_process = /opt/x # mine\n", [(2, "a", "credential_process has a comment")]),
    ("[profile a]\nregion: x\n", [(2, "a", "set with a colon")]),
    ("[profile a]\nRegion = x\n", [(2, "a", "Region is not read")]),
    ("[profile a]\nregion = x\n  output = json\n", [(2, "a", "the indented lines after region")]),
    ("[profile a]\ns3 =\n  max_queue_size = 1\n", []),
    (
        "[profile a]\r\nregion: x\r\n\r\n[profile b]\r\nRegion = y\r\n",
        [(2, "a", "colon"), (5, "b", "Region")],
    ),
    ("[profile a]\nsso_start_url = https://acme.awsapps.com/start#/\n", []),
    ('[profile a]\naws_access_key_id = "AKIA"\naws_secret_access_key = s\n', []),
]
CREDENTIALS = [
    ("[a]\nregion = x\n", []),
    ("[profile a]\n", [(1, "profile a", "none to other SDKs")]),
    ('["a"]\n', [(1, '"a"', "part of the profile's name")]),
    ("[ a ]\n", [(1, " a ", "part of the profile's name")]),
    ("[DEFAULT]\nregion = x\n[a]\n", [(1, None, "apply to every section")]),
]


def _found(text: str, kind: FileKind) -> list[tuple[int, str | None, str]]:
    document = parse(text.encode(), f"/{kind}", kind)
    config, credentials = (document, None) if kind is FileKind.CONFIG else (None, document)
    return [
        (warning.line, warning.profile, warning.reason)
        for warning in misreadings.find(combine(config, credentials, "/config", "/credentials"))
    ]


@pytest.mark.parametrize(("text", "expected"), CONFIG, ids=[repr(text) for text, _ in CONFIG])
def test_misread_lines_of_the_config_file(text: str, expected: list[tuple[int, str | None, str]]) -> None:
    _compare(_found(text, FileKind.CONFIG), expected)


@pytest.mark.parametrize(("text", "expected"), CREDENTIALS, ids=[repr(text) for text, _ in CREDENTIALS])
def test_misread_lines_of_the_credentials_file(
    text: str, expected: list[tuple[int, str | None, str]]
) -> None:
    _compare(_found(text, FileKind.CREDENTIALS), expected)


def _compare(found: list[tuple[int, str | None, str]], expected: list[tuple[int, str | None, str]]) -> None:
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    for (_, _, reason), (_, _, words) in zip(found, expected, strict=True):
        assert words in reason
