"""The pure parts: IDs, codes, regions, trust policies, XML."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from keyturn.model.secret import Secret
from keyturn_sandbox.aws_errors import Refusal
from keyturn_sandbox.id_generator import IdGenerator
from keyturn_sandbox.policy.conditions import glob
from keyturn_sandbox.policy.policy import Trust, check_trust, trust_for
from keyturn_sandbox.policy.principals import AccessKey, MfaDevice, Session
from keyturn_sandbox.regions import partition_of
from keyturn_sandbox.state import SandboxState
from keyturn_sandbox.totp import code_for, step_at
from keyturn_sandbox.xml_responses import failure, success

RFC_SEED = base64.b32encode(b"12345678901234567890").decode()
START = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def account_from(key_id: str) -> str:
    """Return the account in a key ID, by the published computation."""
    head = int.from_bytes(base64.b32decode(key_id[4:20])[:6], "big")
    return format((head & 0x7FFFFFFFFF80) >> 7, "012d")


@pytest.mark.parametrize("account", ["000000000000", "029608264753", "444455556666", "999999999999"])
def test_key_ids_carry_their_account(account: str) -> None:
    forge = IdGenerator()
    for prefix in ("AKIA", "ASIA"):
        key_id = forge.key_id(prefix, account)
        assert len(key_id) == 20
        assert key_id.startswith(prefix)
        assert key_id[4] not in "IJ"
        assert account_from(key_id) == account


def test_the_published_vectors_hold_for_the_computation_used_here() -> None:
    assert account_from("ASIAY34FZKBOKMUTVV7A") == "609629065308"


def test_secrets_differ_from_run_to_run_unless_fixed() -> None:
    assert IdGenerator().secret() != IdGenerator().secret()
    assert IdGenerator(fixed=True).secret() == IdGenerator(fixed=True).secret()
    assert len(IdGenerator().secret()) == 40


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    assert code_for(RFC_SEED, step_at(datetime.fromtimestamp(seconds, UTC))) == code


def test_a_code_works_once_and_one_window_early_or_late() -> None:
    device = MfaDevice("serial-number", Secret(RFC_SEED), START)
    here = step_at(START)
    assert not device.accept(code_for(RFC_SEED, here - 2), START)
    assert not device.accept(code_for(RFC_SEED, here + 2), START)
    assert device.accept(code_for(RFC_SEED, here - 1), START)
    assert not device.accept(code_for(RFC_SEED, here - 1), START)
    assert device.accept(code_for(RFC_SEED, here + 1), START)
    assert not device.accept(code_for(RFC_SEED, here), START), "older than one that was used"


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("eu-west-1", "aws"),
        ("il-central-1", "aws"),
        ("mx-central-1", "aws"),
        ("us-gov-east-1", "aws-us-gov"),
        ("cn-northwest-1", "aws-cn"),
        ("eusc-de-east-1", "aws-eusc"),
        ("moon-base-1", None),
        ("", None),
    ],
)
def test_a_region_tells_its_partition(region: str, partition: str | None) -> None:
    assert partition_of(region) == partition


ME = "arn:aws:iam::111122223333:user/me"
ROOT = "arn:aws:iam::111122223333:root"


def ask(*statements: Mapping[str, object], **context: str) -> Trust:
    keys = {name.replace("__", ":").lower(): value for name, value in context.items()}
    return trust_for(
        statements,
        action="sts:AssumeRole",
        identities=(ME,),
        account="111122223333",
        partition="aws",
        context=keys,
    )


def allow(principal: object, **conditions: object) -> dict[str, object]:
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": conditions}


@pytest.mark.parametrize(
    ("principal", "trust"),
    [
        ({"AWS": ME}, Trust.DIRECT),
        ({"AWS": [ME.replace("me", "you"), ME]}, Trust.DIRECT),
        ({"AWS": ROOT}, Trust.ACCOUNT),
        ({"AWS": "111122223333"}, Trust.ACCOUNT),
        ("*", Trust.DIRECT),
        ({"AWS": "*"}, Trust.DIRECT),
        ({"AWS": ME.upper()}, Trust.NONE),
        ({"AWS": ROOT.replace("arn:aws:", "arn:aws-cn:")}, Trust.NONE),
        ({"Service": "ec2.amazonaws.com"}, Trust.NONE),
        ({}, Trust.NONE),
    ],
)
def test_a_principal_is_named_or_its_account_is_trusted(principal: object, trust: Trust) -> None:
    assert ask(allow(principal)) is trust


MFA = "aws:MultiFactorAuthPresent"


@pytest.mark.parametrize(
    ("conditions", "context", "lets_in"),
    [
        ({"Bool": {MFA: True}}, {}, False),
        ({"Bool": {MFA: "true"}}, {"aws__MultiFactorAuthPresent": "false"}, False),
        ({"Bool": {MFA: "true"}}, {"aws__MultiFactorAuthPresent": "true"}, True),
        ({"BoolIfExists": {MFA: "true"}}, {}, True),
        ({"BoolIfExists": {MFA: "true"}}, {"aws__MultiFactorAuthPresent": "false"}, False),
        ({"NumericLessThan": {"aws:MultiFactorAuthAge": "300"}}, {"aws__MultiFactorAuthAge": "299"}, True),
        ({"NumericLessThan": {"aws:MultiFactorAuthAge": "300"}}, {"aws__MultiFactorAuthAge": "300"}, False),
        ({"NumericLessThan": {"aws:MultiFactorAuthAge": "300"}}, {}, False),
        ({"StringEquals": {"sts:ExternalId": ["a1", "b2"]}}, {"sts__ExternalId": "b2"}, True),
        ({"StringEquals": {"sts:ExternalId": "b2"}}, {"sts__ExternalId": "B2"}, False),
        ({"StringLike": {"sts:ExternalId": "b*"}}, {"sts__ExternalId": "b2"}, True),
    ],
)
def test_conditions_are_evaluated(
    conditions: Mapping[str, object], context: Mapping[str, str], lets_in: bool
) -> None:
    assert (ask(allow({"AWS": ME}, **conditions), **context) is Trust.DIRECT) is lets_in


def test_a_deny_wins() -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}
    assert ask(allow({"AWS": ME}), deny) is Trust.NONE


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Maybe"},
        {"Effect": "Allow", "NotPrincipal": "*"},
        {"Effect": "Allow", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Effect": "Allow", "Condition": ["Bool"]},
    ],
)
def test_what_is_not_evaluated_cannot_be_defined(statement: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=r"implemented|Effect|Condition"):
        check_trust([statement])


def test_only_stars_and_question_marks_are_wild() -> None:
    assert glob("arn:aws:iam::1:role/a/b", "arn:aws:iam::1:role/*")
    assert glob("ab", "a?")
    assert not glob("ab", "a[b]")
    assert not glob("role/Admin", "role/admin")


def test_answers_are_xml_whatever_they_say() -> None:
    hostile = 'x\x00\x1b]0;<script>&"\ud800'
    text = ET.fromstring(failure(Refusal("Code", 400, hostile), "urn:x", "id")).findtext(".//{urn:x}Message")  # noqa: S314  # our own document
    assert text == 'x��]0;<script>&"�'


def test_lists_flags_times_and_secrets_are_written_as_the_models_say() -> None:
    xml = success(
        "Do", "urn:x", {"Keys": [{"At": START, "Secret": Secret("s<")}, "b"], "More": False, "No": None}, "id"
    ).decode()
    assert "<DoResult><Keys><member><At>2026-05-01T12:00:00Z</At><Secret>s&lt;</Secret></member>" in xml
    assert "<member>b</member></Keys><More>false</More></DoResult>" in xml


def test_no_repr_shows_a_secret() -> None:
    world = SandboxState(lambda: START, IdGenerator())
    user = world.add_user("111122223333", "me")
    key = world.add_key(user)
    session = world.add_session(user, timedelta(hours=1))
    device = world.add_device(user, "me", RFC_SEED)
    shown = repr((user, key, session, device))
    for secret in (key.secret, session.secret, session.token, device.seed):
        assert secret is not None
        assert secret.reveal() not in shown
    assert isinstance(key, AccessKey)
    assert isinstance(session, Session)
