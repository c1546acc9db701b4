"""Requests that AWS would certainly refuse fail before the call, on one line that names the setting and the
limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyturn.model.errors import UsageError
from keyturn.providers import sts_limits
from keyturn.providers.role_params import AssumeRoleParams, check

POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)
ROLE = "arn:aws:iam::111122223333:role/Hub"
ARN = "arn:aws:iam::111122223333:policy/readers/ReadOnly"

GOOD: list[tuple[Callable[[str], object], str]] = [
    (sts_limits.session_name, "jo@example.com"),
    (sts_limits.session_name, "a" * 64),
    (sts_limits.source_identity, "jo"),
    (sts_limits.source_identity, "Jo+Smith=x,y.z@a-b_c"),
    (sts_limits.external_id, "acme:audit-2026/7f3"),
    (sts_limits.external_id, "x" * 1224),
    (sts_limits.serial, "arn:aws:iam::111122223333:mfa/alice"),
    (sts_limits.serial, "GAHT12345678"),
    (sts_limits.role_arn, ROLE),
    (sts_limits.role_arn, "arn:aws-us-gov:iam::555566667777:role/path/to/Ops"),
    (sts_limits.policy, POLICY),
    (sts_limits.policy, '{"Statement": "ÿ"}'),
]


@pytest.mark.parametrize(("rule", "value"), GOOD)
def test_what_aws_takes_passes(rule: Callable[[str], object], value: str) -> None:
    assert rule(value) == value


BAD: list[tuple[Callable[[str], object], str, str]] = [
    (sts_limits.session_name, "j", "1 characters long, AWS allows 2 to 64"),
    (sts_limits.session_name, "a" * 65, "65 characters long, AWS allows 2 to 64"),
    (sts_limits.session_name, "jo smith", "AWS does not allow ' '"),
    (sts_limits.session_name, "jo:x", "AWS does not allow ':'"),
    (sts_limits.session_name, "joé", "AWS does not allow 'é'"),
    (sts_limits.source_identity, "aws:jo", "begins with aws:"),
    (sts_limits.source_identity, "", "it is empty, AWS allows 2 to 64"),
    (sts_limits.external_id, "x", "1 characters long, AWS allows 2 to 1224"),
    (sts_limits.external_id, "x" * 1225, "1225 characters long"),
    (sts_limits.external_id, "a b", "AWS does not allow ' '"),
    (sts_limits.serial, "12345678", "8 characters long, AWS allows 9 to 256"),
    (
        sts_limits.serial,
        "arn:aws:iam::111122223333:u2f/user/alice/key",
        "a security key or passkey shows no code",
    ),
    (sts_limits.serial, "GAHT 2345678", "AWS does not allow ' '"),
    (sts_limits.role_arn, "arn:aws:iam::1111:role/Hub/x", "AWS does not allow arn:aws:iam::1111:role/Hub/x"),
    (
        sts_limits.role_arn,
        "arn:aws:iam::111122223333:user/jo",
        "AWS does not allow arn:aws:iam::111122223333:user/jo",
    ),
    (sts_limits.policy, "{", "it is not JSON (line 1"),
    (sts_limits.policy, "[]", "it has no Statement"),
    (sts_limits.policy, '{"Version": "2012-10-17"}', "it has no Statement"),
    (sts_limits.policy, '{"Statement": "€"}', "it contains U+20AC"),
    (sts_limits.policy, '{"Statement": "' + "x" * 2048 + '"}', "2065 characters, AWS allows 2048"),
    (sts_limits.policy, "[" * 2000, "it is not JSON"),
]


@pytest.mark.parametrize(("rule", "value", "reason"), BAD)
def test_what_aws_refuses_is_refused_on_one_line(
    rule: Callable[[str], object], value: str, reason: str
) -> None:
    with pytest.raises(UsageError) as excinfo:
        rule(value)
    assert reason in excinfo.value.line()
    assert "\n" not in excinfo.value.line()
    assert excinfo.value.hint


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({f"k{n}": "v" for n in range(51)}, "there are 51, AWS allows 50"),
        ({"Team": "a", "team": "b"}, "Team and team are the same key"),
        ({"aws:x": "a"}, "aws:x begins with aws:"),
        ({"AWS:x": "a"}, "AWS:x begins with aws:"),
        ({"": "a"}, "Invalid tag key: it is empty"),
        ({"k" * 129: "a"}, "129 characters long, AWS allows 1 to 128"),
        ({"k": "v" * 257}, "257 characters long, AWS allows 0 to 256"),
        ({"k": "a\tb"}, "AWS does not allow '\\t'"),
        ({"k,": "a"}, "AWS does not allow ','"),
        ({"k": "a;b"}, "AWS does not allow ';'"),
    ],
)
def test_session_tags_have_awss_limits(tags: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError) as excinfo:
        sts_limits.tags(tags)
    assert reason in f"{excinfo.value.what}: {excinfo.value.why}"


def test_tags_of_any_script_spaces_and_empty_values_pass() -> None:
    found = {f"k{n}": "" for n in range(47)} | {
        "команда": "оператори 7",
        "cost center": "a_b.c:/=+-@",
        "k" * 128: "v" * 256,
    }
    assert sts_limits.tags(found) == found


def test_a_transitive_tag_must_be_set() -> None:
    assert sts_limits.transitive_tags(("team",), {"team": "ops"}) == ("team",)
    with pytest.raises(UsageError, match="stage is not one of the tags"):
        sts_limits.transitive_tags(("stage",), {"team": "ops"})


@pytest.mark.parametrize(
    ("arns", "reason"),
    [
        ([f"{ARN}{n}" for n in range(11)], "there are 11, AWS allows 10"),
        ([ARN, ARN], "repeated"),
        (["arn:aws:iam::111122223333:role/x"], "AWS does not allow arn:aws:iam::111122223333:role/x"),
    ],
)
def test_managed_session_policies_have_awss_limits(arns: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        sts_limits.policy_arns(arns)


def test_both_kinds_of_session_policy_share_one_limit() -> None:
    inline = '{"Statement": "' + "x" * 2000 + '"}'
    sts_limits.policy(inline)
    with pytest.raises(UsageError, match="AWS allows 2048"):
        sts_limits.check_policy_size(inline, [ARN])


def test_a_definition_is_checked_as_a_whole() -> None:
    check(
        AssumeRoleParams(
            "hub", ROLE, duration_seconds=43200, policy=POLICY, policy_arns=(ARN,), tags={"a": "b"}
        )
    )
    with pytest.raises(UsageError, match="duration_seconds"):
        check(AssumeRoleParams("hub", ROLE, duration_seconds=43201))


@pytest.mark.parametrize(
    "change",
    [
        {"role_arn": ROLE + "2"}, {"external_id": "x1"}, {"mfa_serial": "GAHT12345678"},
        {"session_name": "jo"},
        {"credential_source": "Environment"}, {"tags": {"a": "b"}}, {"transitive_tags": ("a",)},
        {"source_identity": "jo"}, {"policy": POLICY}, {"policy_arns": (ARN,)},
    ],
)  # fmt: skip
def test_whatever_a_role_is_asked_with_makes_another_session(change: dict[str, Any]) -> None:
    params = AssumeRoleParams("hub", ROLE)
    assert (
        params.fingerprint_parts()
        == AssumeRoleParams("other", ROLE, duration_seconds=900).fingerprint_parts()
    )
    assert replace(params, **change).fingerprint_parts() != params.fingerprint_parts()


@pytest.mark.parametrize(
    ("serial", "shows"),
    [
        ("arn:aws:iam::111122223333:mfa/alice", True),
        ("arn:aws-cn:iam::111122223333:mfa/alice", True),
        ("GAHT12345678", True),
        ("arn:aws:iam::111122223333:u2f/user/alice/key-7", False),
        ("arn:aws:iam::111122223333:sms-mfa/alice", False),
    ],
)
def test_devices_that_show_codes(serial: str, shows: bool) -> None:
    assert sts_limits.shows_codes(serial) is shows
