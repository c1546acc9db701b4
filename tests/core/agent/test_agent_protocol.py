"""Messages on the socket arrive unchanged, and a secret is never sent."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keyturn.agent import protocol, wire
from keyturn.agent.protocol import Request
from keyturn.model import errors
from keyturn.model.errors import AgentUnavailable, KeyturnError, Remedy, UsageError
from keyturn.model.secret import Secret
from keyturn.providers.mfa_command import CommandFailed

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, KeyturnError)]
#: The wire names that agents and clients of every version use. A class may be renamed; its line here keeps
#: the string.
WIRE_NAMES: dict[type[KeyturnError], str] = {
    errors.KeyturnError: "KeyturnError",
    errors.UsageError: "UsageError",
    errors.NotFound: "NotFound",
    errors.NeedsInteraction: "NeedsPerson",
    errors.NeedsVault: "NeedsVault",
    errors.NeedsUnlock: "NeedsUnlock",
    errors.NeedsMfa: "NeedsMfa",
    errors.NeedsLogin: "NeedsLogin",
    errors.NeedsConfirmation: "NeedsConfirmation",
    errors.ChangeRefused: "Protected",
    errors.UnparsableFile: "UnparsableFile",
    errors.FileChanged: "FileChanged",
    errors.UnsafeFile: "UnsafeFile",
    errors.FileBusy: "FileBusy",
    errors.RotationHalted: "RotationHalted",
    errors.VaultError: "VaultError",
    errors.VaultCorrupt: "VaultCorrupt",
    errors.VaultNewer: "VaultNewer",
    errors.VaultReadOnly: "VaultReadOnly",
    errors.NotWritable: "NotWritable",
    errors.Stopped: "Stopped",
    errors.VaultExists: "VaultExists",
    errors.WrongPassphrase: "WrongPassphrase",
    errors.KeyringAbsent: "KeyringAbsent",
    errors.KeyringLocked: "KeyringLocked",
    errors.KeyringDenied: "KeyringDenied",
    errors.WriteNotConfirmed: "Unconfirmed",
    errors.ProfileBroken: "ProfileBroken",
    errors.AgentUnavailable: "AgentUnavailable",
    errors.AgentHangs: "AgentHangs",
    errors.AwsError: "AwsError",
    errors.AwsRefused: "AwsRefused",
    errors.WrongMfaCode: "WrongMfaCode",
    errors.ClockSkew: "ClockSkew",
    errors.Unreachable: "Unreachable",
    errors.NoResponse: "Unanswered",
    CommandFailed: "CommandFailed",
}

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\x00\x1b\n"\\[/]\u202e'))
names = texts.filter(bool)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


@given(st.sampled_from(["status", "lock"]))
def test_a_bare_request_arrives(op: str) -> None:
    assert protocol.parse_request(protocol.request_line(op)) == Request(op)


@given(names)
def test_a_document_request_arrives_by_both_ways_of_writing_it(name: str) -> None:
    expected = Request("credential-process", profile=name)
    assert protocol.parse_request(protocol.request_line("credential-process", profile=name)) == expected
    assert protocol.parse_request(wire.document_request(name)) == expected


def test_a_name_that_is_no_unicode_is_one_line_of_ascii() -> None:
    line = wire.document_request("caf\udce9")
    assert line.isascii()
    assert protocol.parse_request(line).profile == "caf\udce9"


@given(names, st.dictionaries(texts, values, max_size=4))
def test_an_operation_arrives_with_its_arguments(act: str, args: dict[str, Any]) -> None:
    line = protocol.request_line("run", act=act, args=args)
    assert line.count(b"\n") == 1
    assert protocol.parse_request(line) == Request("run", act=act, args=args)


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused_as_usage_or_as_another_version(line: bytes) -> None:
    with pytest.raises((UsageError, AgentUnavailable)):
        protocol.parse_request(line)


@pytest.mark.parametrize(
    "record",
    [
        {"op": "nothing"},
        {"op": "credential-process"},
        {"op": "credential-process", "profile": ""},
        {"op": "credential-process", "profile": ["prod"]},
        {"op": "run", "act": "x"},
        {"op": "run", "act": "x", "args": [1]},
        {"op": ["status"]},
    ],
)
def test_a_request_with_a_wrong_part_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        protocol.parse_request(json.dumps({"v": 1, **record}).encode())


def test_another_version_sends_the_client_its_way_without_an_agent() -> None:
    with pytest.raises(AgentUnavailable):
        protocol.parse_request(b'{"v": 2, "op": "status"}')


def test_a_request_past_the_limit_is_not_written() -> None:
    with pytest.raises(UsageError):
        protocol.request_line("run", act="x", args={"a": "x" * wire.REQUEST_LIMIT})


@given(values)
def test_a_result_arrives(value: object) -> None:
    assume("AGE-SECRET-KEY-" not in json.dumps(value))
    line = protocol.result_line(value)
    assert line.count(b"\n") == 1
    assert protocol.parse_answer(line) == value


@given(st.dictionaries(texts, values))
def test_a_document_arrives_byte_for_byte(document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False)
    assume("AGE-SECRET-KEY-" not in text)  # refused on purpose, see below
    line = protocol.document_line(text)
    assert wire.document_in(line) == text.encode()
    assert protocol.parse_answer(line) == document


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a":\n1}', "{} {}"])
def test_what_is_no_document_is_not_sent(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        protocol.document_line(text)


@given(st.sampled_from(KINDS), texts, texts, texts)
def test_an_error_arrives_as_what_it_was(kind: type[KeyturnError], what: str, why: str, hint: str) -> None:
    error = kind(what or "x", why, hint)
    for name, value in vars(error).items():
        if name not in ("what", "why", "hint") and isinstance(
            value, str | int
        ):  # bytes may hold secrets, so they are not sent
            setattr(error, name, 7 if isinstance(value, int) else "arn:aws:iam::1:mfa/a")
    line = protocol.error_line(error)
    assert wire.document_in(line) is None
    with pytest.raises(KeyturnError) as excinfo:
        protocol.parse_answer(line)
    assert type(excinfo.value) is kind
    assert vars(excinfo.value) == vars(error)
    assert excinfo.value.exit_code == error.exit_code
    assert json.loads(line)["error"]["line"] == error.line()


def test_every_error_class_has_a_fixed_name_on_the_wire() -> None:
    assert {kind: protocol.error_to_json(kind("x"))["type"] for kind in (*KINDS, CommandFailed)} == WIRE_NAMES


@pytest.mark.parametrize(("kind", "name"), WIRE_NAMES.items())
def test_a_name_on_the_wire_is_read_as_its_class(kind: type[KeyturnError], name: str) -> None:
    assert type(protocol.error_from_json({"type": name, "what": "x"})) is kind


def test_an_error_of_a_later_version_keeps_its_words_and_its_exit_code() -> None:
    record = protocol.error_to_json(errors.NeedsMfa("a", "b", "c")) | {"type": "NeedsSomethingNew"}
    error = protocol.error_from_json(record)
    assert type(error) is KeyturnError
    assert (error.what, error.why, error.hint, error.exit_code) == ("a", "b", "c", 4)


UNDO = {"operation": "rotate", "profile": "ci", "flag": "--undo"}
HALTED = errors.RotationHalted("a", "b", ("To undo: ", Remedy("rotate", "ci", "--undo"), ". Or wait"))


def test_an_error_on_the_wire_has_its_hint_in_words_and_in_parts() -> None:
    record = protocol.error_to_json(HALTED)
    assert record["hint"] == "To undo: keyturn rotate ci --undo. Or wait"
    assert record["remedy"] == ["To undo: ", UNDO, ". Or wait"]
    assert protocol.error_to_json(KeyturnError("a", "b", "Wait"))["remedy"] == []
    error = protocol.error_from_json(json.loads(json.dumps(record)))
    assert (type(error), vars(error)) == (errors.RotationHalted, vars(HALTED))


def test_an_error_of_a_version_without_remedy_keeps_its_hint() -> None:
    record = protocol.error_to_json(HALTED)
    del record["remedy"]
    error = protocol.error_from_json(record)
    assert (error.line(), error.remedies) == (HALTED.line(), ())


def test_a_version_without_remedy_reads_the_hint_as_before() -> None:
    fields = ("type", "exit", "line", "what", "why", "hint", "extra")
    record = protocol.error_to_json(HALTED)
    assert tuple(name for name in record if name != "remedy") == fields
    assert record["line"] == "a: b. To undo: keyturn rotate ci --undo. Or wait"
    assert record["extra"] == {}


@pytest.mark.parametrize(
    "remedy",
    [
        None, 7, "x", {}, [], [None], [7], [[UNDO]], [{}], ["To undo: ", {**UNDO, "profile": 7}],
        ["To undo: ", {**UNDO, "flag": None}, ". Or wait"], ["To undo: ", UNDO], [UNDO, "", UNDO],
        ["To undo: ", {**UNDO, "flag": "--finish"}, ". Or wait"],
    ],
)  # fmt: skip
def test_a_remedy_that_is_not_the_hint_in_parts_is_ignored(remedy: object) -> None:
    error = protocol.error_from_json(protocol.error_to_json(HALTED) | {"remedy": remedy})
    assert (error.hint, error.remedies) == (HALTED.hint, ())


def test_a_remedy_of_a_later_version_may_have_more_fields() -> None:
    remedy = ["To undo: ", UNDO | {"new": 1}, ". Or wait"]
    assert protocol.error_from_json(protocol.error_to_json(HALTED) | {"remedy": remedy}).remedies


@given(values)
def test_an_answer_of_any_shape_is_a_known_error(value: object) -> None:
    with pytest.raises(KeyturnError):
        protocol.parse_answer(json.dumps({"ok": False, "error": value}).encode())


def test_a_secret_does_not_go_as_a_result() -> None:
    with pytest.raises(TypeError, match="a secret cannot be sent over the socket"):
        protocol.result_line({"key": Secret("canary")})


def test_a_secret_in_an_error_stays_behind() -> None:
    error = KeyturnError("x")
    error.__dict__["held"] = Secret("canary")
    assert b"canary" not in protocol.error_line(error)


@pytest.mark.parametrize("identity", ["AGE-SECRET-KEY-1QQQ", "age-secret-key-1qqq"])
def test_the_identity_leaves_in_no_answer(identity: str) -> None:
    with pytest.raises(ValueError, match="identity"):
        protocol.result_line({"recovery": identity})
    with pytest.raises(ValueError, match="identity"):
        protocol.document_line(json.dumps({"a": identity}))
    line = protocol.error_line(KeyturnError("x", identity))
    assert identity.upper().encode() not in line.upper()
    assert b"what looks like the vault's identity" in line
