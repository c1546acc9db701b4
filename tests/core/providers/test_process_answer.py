"""Answers of a `credential_process`: what botocore takes is taken, and what it refuses is told in words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import MappingProxyType

import pytest
from botocore.credentials import ProcessProvider

from keyturn.aws.process_answer import AnswerRefused, is_whole, read_answer, secrets_in
from keyturn.model.errors import UsageError
from keyturn.model.profile import Kind, Profile
from keyturn.providers import process
from keyturn.storage.managed_profiles import ManagedProfile

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYzEXAMPLEKEYq"
TOKEN = "IQoJb3JpZ2luX2VjEFAaCXVzLWVhc3QtMSJGMEQCIAXh7b4q"
LATER = "2099-01-01T00:00:00Z"
COMPLETE = {
    "Version": 1, "AccessKeyId": "ASIAQQQQQQQQQQQQQQQQ", "SecretAccessKey": SECRET, "SessionToken": TOKEN,
    "Expiration": LATER,
}  # fmt: skip


def _answer(**changes: object) -> bytes:
    answer = {key: value for key, value in (COMPLETE | changes).items() if value is not ...}
    return json.dumps(answer).encode()


def _botocores(stdout: bytes) -> tuple[str, str, str | None, datetime | None]:
    """Return what botocore makes of an answer."""

    class Printed:
        returncode = 0

        def __init__(self, *_arguments: object, **_options: object) -> None:
            """Start nothing."""

        def communicate(self) -> tuple[bytes, bytes]:
            return stdout, b""

    config = {"profiles": {"p": {"credential_process": "tool"}}}
    found = ProcessProvider("p", lambda: config, popen=Printed).load()
    assert found is not None
    frozen = found.get_frozen_credentials()
    assert frozen.access_key is not None
    assert frozen.secret_key is not None
    expires = getattr(found, "_expiry_time", None)
    return frozen.access_key, frozen.secret_key, frozen.token, expires.astimezone(UTC) if expires else None


@pytest.mark.parametrize(
    "stdout",
    [
        _answer(),
        b" \r\n\t" + _answer() + b"\n\n",
        _answer(Version=1.0),
        _answer(Version=True),
        _answer(Expiration=...),
        _answer(Expiration=None),
        _answer(SessionToken=...),
        _answer(SessionToken=None),
        _answer(SessionToken=..., Expiration=..., AccessKeyId="AKIAQQQQQQQQQQQQQQQQ"),
        _answer(Extra={"a": [1]}, AccountId="111122223333"),
        _answer(Expiration="2099-01-01T01:30:00+01:30"),
        _answer(Expiration="2099-01-01 00:00:00 UTC"),
        _answer(Expiration="20990101T000000Z"),
        _answer(Expiration="Thu, 01 Jan 2099 00:00:00 GMT"),
        _answer(Expiration="2099-01-01T00:00:00.123456789Z"),
        b'{"Version": 2, ' + _answer()[1:],
    ],
)
def test_what_botocore_takes_is_taken_with_the_same_result(stdout: bytes) -> None:
    ours = read_answer(stdout)
    token = ours.session_token.reveal() if ours.session_token else None
    key_id, secret, their_token, expires = _botocores(stdout)
    assert (ours.access_key_id, ours.secret_access_key.reveal(), ours.expires) == (key_id, secret, expires)
    assert token == their_token


@pytest.mark.parametrize(
    ("stdout", "fault"),
    [
        (b"", "printed nothing"),
        (b" \n\t ", "printed nothing"),
        (b"\xff\xfe{}", "printed text that is not UTF-8"),
        (b"\xef\xbb\xbf" + _answer(), "printed a byte order mark before the JSON"),
        (b"Welcome\n" + _answer(), "printed text before the JSON"),
        (b"{oops} [1] " + _answer(), "printed JSON with an error in line 1, column 2"),
        (b"[info] {x} done " + _answer(), "printed text before the JSON"),
        (_answer() + b"\ndone", "printed text after the JSON"),
        (_answer() + _answer(), "printed text after the JSON"),
        (b"Welcome", "printed text that is not JSON"),
        (b"<html>{}</html>", "printed text that is not JSON"),
        (b"1 2", "printed text that is not JSON"),
        (_answer()[:-2], "printed JSON with an error in line 1, column "),
        (b"{'Version': 1}", "printed JSON with an error in line 1, column 2"),
        (b"[" * 100_000, "printed JSON that is nested too deeply"),
        (b'{"a":' + b"9" * 5000 + b"}", "printed JSON with a number that is too long"),
        (b"null", "printed JSON that is not an object"),
        (b'"text"', "printed JSON that is not an object"),
        (_answer(Version=...), "printed no Version"),
        (_answer(Version=..., version=1), "printed version in place of Version"),
        (_answer(Version=None), "printed a Version other than 1"),
        (_answer(Version="1"), "printed Version as a text"),
        (_answer(Version=2), "printed Version 2, which AWS has not defined"),
        (_answer(Version=SECRET), "printed a Version other than 1"),
        (_answer(AccessKeyId=...), "printed no AccessKeyId"),
        (_answer(AccessKeyId=..., access_key_id="A"), "printed access_key_id in place of AccessKeyId"),
        (_answer(SecretAccessKey=...), "printed no SecretAccessKey"),
        (_answer(SecretAccessKey=None), "printed null for SecretAccessKey"),
        (_answer(AccessKeyId=5), "printed something other than a text for AccessKeyId"),
        (_answer(SessionToken=[TOKEN]), "printed something other than a text for SessionToken"),
        (_answer(AccessKeyId=""), "printed an empty AccessKeyId"),
        (_answer(SecretAccessKey=""), "printed an empty SecretAccessKey"),
        (
            _answer(SessionToken=TOKEN + "\n"),
            "printed a blank, line break or other invalid character in SessionToken",
        ),
        (
            _answer(Expiration="2099-01-01T00:00:00"),
            "printed an Expiration without a time zone (2099-01-01T00:00:00)",
        ),
        (_answer(Expiration="2099-01-01 00:00 XYZ"), "printed an Expiration without a time zone"),
        (_answer(Expiration=""), "printed an Expiration that is not a time"),
        (_answer(Expiration=SECRET), "printed an Expiration that is not a time"),
        (_answer(Expiration=4070908800), "printed an Expiration that is not a text"),
        (_answer(Expiration="0001-01-01T00:00:00+23:00"), "printed an Expiration out of range"),
    ],
)
def test_a_wrong_answer_is_told_in_words_without_its_values(stdout: bytes, fault: str) -> None:
    with pytest.raises(AnswerRefused) as refused:  # and no warning, which would be an error here
        read_answer(stdout)
    assert refused.value.fault.startswith(fault)
    assert SECRET not in refused.value.fault + refused.value.hint
    assert TOKEN not in refused.value.fault + refused.value.hint


@pytest.mark.parametrize(
    ("stdout", "is_it"),
    [(_answer(), True), (_answer()[:-1], False), (b"", False), (b"\xff", False), (b"{}\n", True)],
)
def test_an_answer_is_whole_once_it_is_json(stdout: bytes, is_it: bool) -> None:
    assert is_whole(stdout) is is_it


@pytest.mark.parametrize(
    "stdout",
    [
        _answer(),
        _answer()[:-1],
        b"banner " + _answer(),
        f"export AWS_SECRET_ACCESS_KEY={SECRET}\nexport AWS_SESSION_TOKEN={TOKEN}".encode(),
        _answer(Nested={"deep": [SECRET, TOKEN]}),
    ],
)
def test_the_secrets_of_an_answer_are_known(stdout: bytes) -> None:
    known = secrets_in(stdout)
    assert any(SECRET in word for word in known)
    assert any(TOKEN in word for word in known)
    assert not {"SecretAccessKey", "ASIAQQQQQQQQQQQQQQQQ"} & known or stdout[:1] != b"{"


def _role(name: str, source: str, timeout: int | None = None) -> ManagedProfile:
    return ManagedProfile(name, Kind.ROLE, role_arn="arn", source_profile=source, timeout=timeout)


TOOL = MappingProxyType({"tool": Profile("tool", kind=Kind.PROCESS)})


@pytest.mark.parametrize(
    ("definitions", "path", "seconds", "owner"),
    [
        ((), ("tool",), 60, None),
        ((_role("a", "tool"),), ("a", "tool"), 60, "a"),
        ((_role("a", "tool", 5),), ("a", "tool"), 5, "a"),
        ((_role("a", "b", 5), _role("b", "tool")), ("a", "b", "tool"), 5, "a"),
        ((_role("a", "b", 5), _role("b", "tool", 300)), ("a", "b", "tool"), 300, "b"),
        ((_role("a", "b"), _role("b", "tool")), ("a", "b", "tool"), 60, "b"),
    ],
)
def test_the_nearest_managed_profile_limits_the_program(
    definitions: tuple[ManagedProfile, ...], path: tuple[str, ...], seconds: int, owner: str | None
) -> None:
    by_name = {definition.name: definition for definition in definitions}
    assert process.path_to_program(by_name, TOOL, path[0]) == path
    assert process.seconds_for(by_name, path) == seconds
    assert process.owner(by_name, path) == owner


def test_a_chain_without_a_program_has_no_path() -> None:
    loop = {"a": _role("a", "b"), "b": _role("b", "a")}
    assert process.path_to_program(loop, TOOL, "a") == ()
    assert process.path_to_program({}, {}, "nobody") == ()


@pytest.mark.parametrize("seconds", [0, 601, -5])
def test_a_timeout_out_of_range_in_the_file_is_named(seconds: int) -> None:
    with pytest.raises(UsageError, match=f"Invalid timeout of a: {seconds}"):
        process.seconds_for({"a": _role("a", "tool", seconds)}, ("a", "tool"))
