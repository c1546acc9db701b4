"""Regions that need activation, partitions, several MFA devices, and call permissions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from keyturn_sandbox import Sandbox, User

ACCOUNT = "320000000001"
INVALID = "The security token included in the request is invalid."
OFF = (
    f"STS is not activated in this region for account:{ACCOUNT}. Your account administrator can activate "
    f"STS in this "
    "region using the IAM Console."
)
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@pytest.fixture(scope="module")
def user(sandbox: Sandbox) -> User:
    user = sandbox.state.add_user(ACCOUNT, "rita", policies=[ALL])
    sandbox.state.add_key(user)
    return user


@pytest.fixture(autouse=True)
def _restored_regions(sandbox: Sandbox) -> Iterator[None]:
    yield
    sandbox.state.activated.clear()
    sandbox.state.deactivated.clear()


def test_a_region_to_be_activated_gives_nothing_until_it_is(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sts = client("sts", user.keys[0], region="eu-south-2")
    assert refused("RegionDisabledException", 403, sts.get_session_token) == OFF
    assert refused("InvalidClientTokenId", 403, sts.get_caller_identity) == INVALID
    sandbox.state.activated.add((ACCOUNT, "eu-south-2"))
    assert sts.get_session_token()
    assert sts.get_caller_identity()
    assert refused(
        "RegionDisabledException", 403, client("sts", user.keys[0], region="af-south-1").get_session_token
    )


def test_the_global_endpoints_tokens_do_not_count_there(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sandbox.state.activated.add((ACCOUNT, "eu-south-2"))
    for made_in, counts in (("us-east-1", False), ("eu-west-1", True), ("eu-south-2", True)):
        session = client("sts", user.keys[0], region=made_in).get_session_token()["Credentials"]
        assert client("sts", session, region="eu-central-1").get_caller_identity()
        there = client("sts", session, region="eu-south-2")
        if counts:
            assert there.get_caller_identity()
        else:
            assert refused("InvalidClientTokenId", 403, there.get_caller_identity) == INVALID


def test_sts_can_be_switched_off_in_a_region_but_not_in_us_east_1(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sandbox.state.deactivated |= {(ACCOUNT, "eu-west-2"), (ACCOUNT, "us-east-1")}
    sts = client("sts", user.keys[0], region="eu-west-2")
    assert refused("RegionDisabledException", 403, sts.get_session_token) == OFF
    assert sts.get_caller_identity()
    assert client("sts", user.keys[0], region="us-east-1").get_session_token()


@pytest.mark.parametrize(
    "place",
    [
        ("aws", "eu-west-1", "cn-north-1"),
        ("aws-cn", "cn-northwest-1", "us-gov-west-1"),
        ("aws-us-gov", "us-gov-east-1", "us-east-1"),
        ("aws-eusc", "eusc-de-east-1", "eu-central-1"),
    ],
)
def test_a_partition_has_its_own_arns_and_knows_no_foreign_key(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str], place: tuple[str, str, str]
) -> None:
    partition, region, foreign = place
    account = "320000000009"
    user = sandbox.state.add_user(account, "kim", partition=partition, policies=[ALL])
    key = sandbox.state.add_key(user)
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": "sts:AssumeRole",
    }
    role = sandbox.state.add_role(account, "Kim", [trust], partition=partition)
    sts = client("sts", key, region=region)
    role_session = sts.assume_role(RoleArn=role.arn, RoleSessionName="kim")
    assert role_session["AssumedRoleUser"]["Arn"] == f"arn:{partition}:sts::{account}:assumed-role/Kim/kim"
    federated = sts.get_federation_token(Name="guest")
    assert federated["FederatedUser"]["Arn"] == f"arn:{partition}:sts::{account}:federated-user/guest"
    for signer in (key, role_session["Credentials"], sts.get_session_token()["Credentials"]):
        assert client("sts", signer, region=region).get_caller_identity()["Account"] == account
        elsewhere = client("sts", signer, region=foreign)
        assert refused("InvalidClientTokenId", 403, elsewhere.get_caller_identity) == INVALID


def test_a_user_may_have_eight_devices_of_three_kinds(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    user = sandbox.state.add_user(ACCOUNT, "many")
    key = sandbox.state.add_key(user)
    phone = sandbox.add_device(user, "many-phone")
    token = sandbox.add_hardware_device(user, "GAHT12345678")
    passkey = sandbox.state.add_security_key(user, "yubi")
    others = [sandbox.add_device(user, f"many-{number}") for number in range(5)]
    with pytest.raises(ValueError, match="8 MFA devices"):
        sandbox.add_device(user, "one-too-many")
    listed = client("iam", key).list_mfa_devices()["MFADevices"]
    assert [device["SerialNumber"] for device in listed] == [
        device.serial for device in (phone, token, passkey, *others)
    ]
    assert passkey.serial.startswith(f"arn:aws:iam::{ACCOUNT}:u2f/user/many/yubi-")
    sts = client("sts", key)
    for device in (phone, token, others[4]):
        assert sts.get_session_token(SerialNumber=device.serial, TokenCode=sandbox.totp(device.serial))
    text = refused(
        "AccessDenied", 403, sts.get_session_token, SerialNumber=passkey.serial, TokenCode="123456"
    )
    assert text.startswith("MultiFactorAuthentication failed")


def test_a_code_of_one_device_is_none_of_anothers(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    user = sandbox.state.add_user(ACCOUNT, "two-devices")
    first, second = (sandbox.add_device(user, f"two-{number}") for number in (1, 2))
    sts = client("sts", sandbox.state.add_key(user))
    code = sandbox.totp(first.serial)
    refused("AccessDenied", 403, sts.get_session_token, SerialNumber=second.serial, TokenCode=code)
    assert sts.get_session_token(SerialNumber=first.serial, TokenCode=code)


def lifetime(sandbox: Sandbox, answer: Any) -> int:
    expires: datetime = answer["Credentials"]["Expiration"]
    return round((expires - sandbox.now()).total_seconds() / 10) * 10


def test_a_federated_user_has_what_both_policies_allow(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sts = client("sts", user.keys[0])
    policy = json.dumps({"Version": "2012-10-17", "Statement": [ALL]})
    answer = sts.get_federation_token(Name="guest", Policy=policy, Tags=[{"Key": "team", "Value": "x"}])
    assert lifetime(sandbox, answer) == 43200
    assert answer["FederatedUser"]["FederatedUserId"] == f"{ACCOUNT}:guest"
    assert 0 < answer["PackedPolicySize"] <= 100
    guest = client("sts", answer["Credentials"])
    identity = guest.get_caller_identity()
    assert identity["Arn"] == answer["FederatedUser"]["Arn"]
    assert identity["UserId"] == f"{ACCOUNT}:guest"
    assert refused("InvalidClientTokenId", 403, client("iam", answer["Credentials"]).get_user) == INVALID
    trust = {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}
    open_role = sandbox.state.add_role(ACCOUNT, "Open", [trust])
    refused("AccessDenied", 403, guest.assume_role, RoleArn=open_role.arn, RoleSessionName="s1")
    for call in (guest.get_session_token, guest.get_federation_token, guest.get_access_key_info):
        more = {"Name": "x1"} if call == guest.get_federation_token else {}
        key = {"AccessKeyId": "ASIAY34FZKBOKMUTVV7A"} if call == guest.get_access_key_info else {}
        refused("AccessDenied", 403, call, **more, **key)


def test_federation_asks_for_a_permission_and_roots_lasts_an_hour(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    plain = sandbox.state.add_user(ACCOUNT, "plain")
    text = refused(
        "AccessDenied", 403, client("sts", sandbox.state.add_key(plain)).get_federation_token, Name="guest"
    )
    assert "sts:GetFederationToken on resource: arn:aws:sts::320000000001:federated-user/guest" in text
    root = sandbox.state.add_user("320000000002", "")
    sts = client("sts", sandbox.state.add_key(root))
    assert lifetime(sandbox, sts.get_federation_token(Name="guest")) == 3600
    assert lifetime(sandbox, sts.get_federation_token(Name="guest", DurationSeconds=43200)) == 3600


def test_a_keys_account_is_told_whatever_becomes_of_the_key(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sts = client("sts", user.keys[0])
    other = sandbox.state.add_user("320000000003", "gone")
    key = sandbox.state.add_key(other, status="Inactive")
    assert sts.get_access_key_info(AccessKeyId=key.key_id)["Account"] == "320000000003"
    sandbox.state.remove_user(other)
    assert sts.get_access_key_info(AccessKeyId=key.key_id)["Account"] == "320000000003"
    refused("ValidationError", 400, sts.get_access_key_info, AccessKeyId="AKIA0000000000000000")
    refused("ValidationError", 400, sts.get_access_key_info, AccessKeyId="short")
    plain = sandbox.state.add_user(ACCOUNT, "no-info")
    refused(
        "AccessDenied",
        403,
        client("sts", sandbox.state.add_key(plain)).get_access_key_info,
        AccessKeyId=key.key_id,
    )
