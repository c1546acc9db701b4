"""The IAM policy for the rotation of a user's own key."""

from __future__ import annotations

import json

import pytest

from keyturn.operations.rotation.iam_policy import self_rotation, user_arn_parts

KEY_ACTIONS = [
    "iam:CreateAccessKey",
    "iam:DeleteAccessKey",
    "iam:UpdateAccessKey",
    "iam:ListAccessKeys",
    "iam:GetAccessKeyLastUsed",
]


def test_the_policy_allows_the_five_key_calls_for_the_own_user_and_nothing_else() -> None:
    assert json.loads(self_rotation()) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "RotateOwnKeys",
                "Effect": "Allow",
                "Action": KEY_ACTIONS,
                "Resource": "arn:aws:iam::*:user/${aws:username}",
            }
        ],
    }


def test_with_mfa_the_key_calls_need_a_code_and_the_devices_are_listed_without_one() -> None:
    keys, devices = json.loads(self_rotation(with_mfa=True))["Statement"]
    assert keys["Action"] == KEY_ACTIONS
    assert keys["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
    assert devices == {
        "Sid": "SeeOwnMfaDevices",
        "Effect": "Allow",
        "Action": ["iam:ListMFADevices"],
        "Resource": "arn:aws:iam::*:user/${aws:username}",
    }


@pytest.mark.parametrize("with_mfa", [False, True])
@pytest.mark.parametrize(
    ("partition", "path", "resource"),
    [
        ("aws", "/", "arn:aws:iam::*:user/${aws:username}"),
        ("aws-cn", "/", "arn:aws-cn:iam::*:user/${aws:username}"),
        ("aws-us-gov", "/team/build/", "arn:aws-us-gov:iam::*:user/team/build/${aws:username}"),
    ],
)
def test_the_policy_names_the_partition_and_the_path_of_the_user(
    partition: str, path: str, resource: str, with_mfa: bool
) -> None:
    statements = json.loads(self_rotation(partition, path, with_mfa=with_mfa))["Statement"]
    assert {statement["Resource"] for statement in statements} == {resource}


def test_the_policy_is_indented_for_a_person() -> None:
    assert self_rotation().splitlines()[:2] == ["{", '  "Version": "2012-10-17",']


@pytest.mark.parametrize(
    ("arn", "parts"),
    [
        ("arn:aws:iam::123456789012:user/jo", ("aws", "/")),
        ("arn:aws:iam::123456789012:user/team/jo", ("aws", "/team/")),
        ("arn:aws:iam::123456789012:user/team/build/jo", ("aws", "/team/build/")),
        ("arn:aws:iam::123456789012:user/user/jo", ("aws", "/user/")),
        ("arn:aws-cn:iam::123456789012:user/jo", ("aws-cn", "/")),
        ("arn:aws-us-gov:iam::123456789012:user/team/jo", ("aws-us-gov", "/team/")),
        ("arn:aws-cn:iam::123456789012:user/a:b/jo", ("aws-cn", "/a:b/")),
        ("arn:aws:iam::123456789012:root", ("aws", "/")),
        ("arn::iam::123456789012:user/jo", ("aws", "/")),
        ("arn:aws-cn:iam", ("aws", "/")),
        ("", ("aws", "/")),
    ],
)
def test_the_partition_and_the_path_of_an_arn(arn: str, parts: tuple[str, str]) -> None:
    assert user_arn_parts(arn) == parts
