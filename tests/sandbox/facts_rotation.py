"""Facts about rotating a key, one row each: the procedure, its traps, and its policy."""

from __future__ import annotations

from contextlib import suppress

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from tests.sandbox.iam_bench import (
    Bench,
    Facts,
    Statement,
    denied_message,
    error_of,
    is_invalid_token,
    missing_key_error,
    slow_propagation,
)

facts = Facts("5, rotation")

NO_MFA = "with an explicit deny in an identity-based policy"


def self_rotation(path: str = "") -> tuple[Statement, ...]:
    """Return the minimal policy, verbatim."""
    return (
        {
            "Sid": "AllowManageOwnAccessKeys",
            "Effect": "Allow",
            "Action": [
                "iam:CreateAccessKey",
                "iam:DeleteAccessKey",
                "iam:UpdateAccessKey",
                "iam:ListAccessKeys",
                "iam:GetAccessKeyLastUsed",
                "iam:GetUser",
            ],
            "Resource": f"arn:aws:iam::*:user/{path}${{aws:username}}",
        },
        {
            "Sid": "AllowListOwnMFA",
            "Effect": "Allow",
            "Action": ["iam:ListMFADevices"],
            "Resource": f"arn:aws:iam::*:user/{path}${{aws:username}}",
        },
        {
            "Sid": "DenyAllExceptListedIfNoMFA",
            "Effect": "Deny",
            "NotAction": ["iam:ListMFADevices", "iam:GetUser", "sts:GetSessionToken"],
            "Resource": "*",
            "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
        },
    )


@facts("procedure: create, verify, UpdateAccessKey old -> Inactive using the new key, reactivate, delete")
def _(b: Bench) -> None:
    user = b.user()
    old = user.keys[0].key_id
    new_key = b.iam(user).create_access_key()["AccessKey"]
    assert b.sts(new_key).get_caller_identity()["Arn"] == user.arn
    iam = b.iam(new_key)
    iam.update_access_key(AccessKeyId=old, Status="Inactive", UserName=user.name)
    assert is_invalid_token(
        b.sts({"AccessKeyId": old, "SecretAccessKey": user.keys[0].secret.reveal()}).get_caller_identity
    )
    for _ in range(2):
        iam.update_access_key(AccessKeyId=old, Status="Active")
    assert b.sts(user).get_caller_identity()
    iam.update_access_key(AccessKeyId=old, Status="Inactive")
    iam.delete_access_key(AccessKeyId=old)
    for call, more in ((iam.delete_access_key, {}), (iam.update_access_key, {"Status": "Active"})):
        assert error_of(call, AccessKeyId=old, **more) == missing_key_error(old)
    assert error_of(iam.get_access_key_last_used, AccessKeyId=old) == missing_key_error(old)


@facts("UpdateAccessKey to the status that a key has changes nothing, and spreads nothing")
def _(b: Bench) -> None:
    user = b.user()
    key = user.keys[0].key_id
    with slow_propagation(b, propagation=10, flapping=10):
        for _ in range(3):
            assert b.iam(user).update_access_key(AccessKeyId=key, Status="Active")
    assert b.sts(user).get_caller_identity()


@facts(
    "botocore retries by itself: a lost reply to CreateAccessKey asks again; total_max_attempts 1 does not"
)
def _(b: Bench) -> None:
    for config, requested in ((Config(), 2), (Config(retries={"total_max_attempts": 1}), 1)):
        user = b.user()
        key = user.keys[0]
        iam = boto3.client(
            "iam",
            region_name="us-east-1",
            endpoint_url=b.sandbox.url,
            aws_access_key_id=key.key_id,
            aws_secret_access_key=key.secret.reveal(),
            config=config.merge(Config(proxies={})),
        )
        b.sandbox.faults.order("CreateAccessKey", "answer-lost")
        b.sandbox.calls.clear()
        with suppress(BotoCoreError, iam.exceptions.ClientError):
            iam.create_access_key()
        assert [call.action for call in b.sandbox.calls] == ["CreateAccessKey"] * requested
        assert len(user.keys) == 2
        assert len(b.iam(user).list_access_keys()["AccessKeyMetadata"]) == 2


@facts("never delete with the old key signing its own deletion: after deletion the signer is gone")
def _(b: Bench) -> None:
    user = b.user()
    iam = b.iam(user)
    iam.delete_access_key(AccessKeyId=user.keys[0].key_id)
    assert user.keys == []
    assert is_invalid_token(iam.list_access_keys)


@facts("minimal self-rotation policy: with this Deny, steps 2, 5, 7 need GetSessionToken+MFA creds")
def _(b: Bench) -> None:
    user = b.user(*self_rotation())
    key = user.keys[0].key_id
    pair = b.mfa(user)
    bare = b.iam(user)
    assert bare.list_mfa_devices()["MFADevices"][0]["SerialNumber"] == pair["SerialNumber"]
    assert bare.get_user()
    assert b.sts(user).get_caller_identity()
    for call, more in (
        (bare.create_access_key, {}),
        (bare.list_access_keys, {}),
        (bare.update_access_key, {"AccessKeyId": key, "Status": "Inactive"}),
        (bare.delete_access_key, {"AccessKeyId": key}),
    ):
        assert denied_message(call, **more).endswith(NO_MFA)
    iam = b.iam(b.session(user, **pair))
    new_key = iam.create_access_key(UserName=user.name)["AccessKey"]["AccessKeyId"]
    assert iam.update_access_key(UserName=user.name, AccessKeyId=key, Status="Inactive")
    assert iam.delete_access_key(UserName=user.name, AccessKeyId=key)
    assert [one.key_id for one in user.keys] == [new_key]


@facts("minimal self-rotation policy: the Deny holds for roles too, until MFA is given with the call")
def _(b: Bench) -> None:
    user = b.user(*self_rotation(), {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    role = b.role(user)
    call = {"RoleArn": role.arn, "RoleSessionName": "fact"}
    assert denied_message(b.sts(user).assume_role, **call)
    assert denied_message(b.sts(b.session(user)).assume_role, **call)
    assert b.assume(user, role, **b.mfa(user))


@facts("minimal self-rotation policy: `${aws:username}` is nobody else")
def _(b: Bench) -> None:
    user = b.user(*self_rotation())
    other = b.user(account=user.account)
    iam = b.iam(b.session(user, **b.mfa(user)))
    for name in (other.name, "nobody", f"{user.name}x"):
        words = denied_message(iam.create_access_key, UserName=name)
        assert words.endswith("because no identity-based policy allows the iam:CreateAccessKey action")


@facts("minimal self-rotation policy: users under a path need `user/*/${aws:username}`")
def _(b: Bench) -> None:
    for path, works in (("", False), ("*/", True)):
        user = b.user(*self_rotation(path), path="/team/")
        iam = b.iam(b.session(user, **b.mfa(user)))
        if works:
            assert iam.create_access_key(UserName=user.name)
        else:
            assert denied_message(iam.create_access_key, UserName=user.name)


@facts("a permission may ask how long ago MFA was given: aws:MultiFactorAuthAge in an identity policy")
def _(b: Bench) -> None:
    young: Statement = {
        "Effect": "Allow",
        "Action": "iam:*",
        "Resource": "*",
        "Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "300"}},
    }
    user = b.user(young)
    assert denied_message(b.iam(user).get_user)
    iam = b.iam(b.session(user, **b.mfa(user)))
    assert iam.get_user()
    b.sandbox.move_clock(301)
    assert denied_message(iam.get_user)
