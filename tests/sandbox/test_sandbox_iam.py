"""IAM: a user's own keys and devices."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keyturn_sandbox import Sandbox, User

ACCOUNT = "400000000001"


@pytest.fixture
def user(sandbox: Sandbox, request: pytest.FixtureRequest) -> User:
    """A user with one key, new for each test."""
    user = sandbox.state.add_user(ACCOUNT, request.node.name[:60], path="/dev/", age=timedelta(days=200))
    sandbox.state.add_key(user, age=timedelta(days=100))
    return user


@pytest.fixture
def iam(user: User, client: Callable[..., Any]) -> Any:
    return client("iam", user.keys[0])


def test_get_user_tells_who_one_is(sandbox: Sandbox, user: User, iam: Any) -> None:
    for answer in (
        iam.get_user(),
        iam.get_user(UserName=user.name),
        iam.get_user(UserName=user.name.upper()),
    ):
        found = answer["User"]
        assert (found["UserName"], found["Arn"], found["UserId"]) == (user.name, user.arn, user.unique_id)
        assert found["Path"] == "/dev/"
        assert (sandbox.now() - found["CreateDate"]).days == 200


def test_a_key_is_made_listed_switched_off_and_deleted(
    sandbox: Sandbox, user: User, iam: Any, client: Callable[..., Any]
) -> None:
    new_key = iam.create_access_key()["AccessKey"]
    assert (new_key["UserName"], new_key["Status"]) == (user.name, "Active")
    assert client("sts", new_key).get_caller_identity()["Arn"] == user.arn
    listed = iam.list_access_keys()["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in listed] == [user.keys[0].key_id, new_key["AccessKeyId"]]
    assert [(sandbox.now() - key["CreateDate"]).days for key in listed] == [100, 0]
    assert not any("SecretAccessKey" in key for key in listed)
    iam.update_access_key(AccessKeyId=new_key["AccessKeyId"], Status="Inactive", UserName=user.name)
    assert iam.list_access_keys()["AccessKeyMetadata"][1]["Status"] == "Inactive"
    iam.delete_access_key(AccessKeyId=new_key["AccessKeyId"])
    assert len(iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]) == 1


def test_a_key_may_switch_off_or_delete_the_one_before_it(
    user: User, client: Callable[..., Any], iam: Any, refused: Callable[..., str]
) -> None:
    old = user.keys[0]
    new = client("iam", iam.create_access_key()["AccessKey"])
    new.update_access_key(AccessKeyId=old.key_id, Status="Inactive")
    refused("InvalidClientTokenId", 403, iam.get_user)
    new.delete_access_key(AccessKeyId=old.key_id)
    assert [key.key_id for key in user.keys] != [old.key_id]


def test_there_is_no_third_key_even_beside_an_inactive_one(
    user: User, iam: Any, refused: Callable[..., str]
) -> None:
    iam.create_access_key()
    iam.update_access_key(AccessKeyId=user.keys[1].key_id, Status="Inactive")
    assert refused("LimitExceeded", 409, iam.create_access_key) == (
        "Cannot exceed quota for AccessKeysPerUser: 2"
    )


def test_an_unknown_key_or_user_is_no_such_entity(
    sandbox: Sandbox, user: User, iam: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    unknown = "AKIAIOSFODNN7EXAMPLE"
    text = f"The Access Key with id {unknown} cannot be found."
    assert refused("NoSuchEntity", 404, iam.delete_access_key, AccessKeyId=unknown) == text
    assert refused("NoSuchEntity", 404, iam.update_access_key, AccessKeyId=unknown, Status="Active") == text
    assert refused("NoSuchEntity", 404, iam.get_access_key_last_used, AccessKeyId=unknown) == text
    admin = sandbox.state.add_user(ACCOUNT, "admin", iam_admin=True)
    boss = client("iam", sandbox.state.add_key(admin))
    assert boss.list_access_keys(UserName=user.name)["AccessKeyMetadata"]
    assert refused("NoSuchEntity", 404, boss.list_access_keys, UserName="nobody") == (
        "The user with name nobody cannot be found."
    )
    sandbox.state.remove_user(admin)


def test_others_keys_are_not_ones_business(
    sandbox: Sandbox, user: User, iam: Any, refused: Callable[..., str]
) -> None:
    other = sandbox.state.add_user(ACCOUNT, "other")
    for name in ("other", "nobody"):
        assert refused("AccessDenied", 403, iam.create_access_key, UserName=name) == (
            f"User: {user.arn} is not authorized to perform: iam:CreateAccessKey on resource: user {name} "
            f"because no "
            "identity-based policy allows the iam:CreateAccessKey action"
        )
    sandbox.state.remove_user(other)


def test_a_role_must_name_the_user(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(ACCOUNT, f"Admin-{user.name[-8:]}", [], iam_admin=True)
    iam = client("iam", sandbox.state.add_session(role, timedelta(hours=1), name="s1"))
    for call in (iam.get_user, iam.list_access_keys, iam.list_mfa_devices, iam.create_access_key):
        assert refused("ValidationError", 400, call) == (
            "Must specify userName when calling with non-User credentials"
        )
    assert iam.get_user(UserName=user.name)["User"]["Arn"] == user.arn


def test_last_use_is_told_per_key(sandbox: Sandbox, user: User, iam: Any, client: Callable[..., Any]) -> None:
    new_key = iam.create_access_key()["AccessKey"]
    never = iam.get_access_key_last_used(AccessKeyId=new_key["AccessKeyId"])
    assert never["UserName"] == user.name
    assert never["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}
    client("sts", new_key, region="ap-south-1").get_caller_identity()
    used = iam.get_access_key_last_used(AccessKeyId=new_key["AccessKeyId"])["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("sts", "ap-south-1")
    assert (sandbox.now() - used["LastUsedDate"]).total_seconds() < 60


def test_devices_are_listed(sandbox: Sandbox, user: User, iam: Any) -> None:
    assert iam.list_mfa_devices()["MFADevices"] == []
    serial = sandbox.add_device(user, "a-phone").serial
    (device,) = iam.list_mfa_devices(UserName=user.name)["MFADevices"]
    assert (device["UserName"], device["SerialNumber"]) == (user.name, serial)


def test_a_user_may_be_bound_to_mfa_by_policy(
    sandbox: Sandbox, user: User, iam: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    user.iam_needs_mfa = True
    device = sandbox.add_device(user, "bound")
    assert iam.get_user()
    assert iam.list_mfa_devices()["MFADevices"]
    assert refused("AccessDenied", 403, iam.create_access_key) == (
        f"User: {user.arn} is not authorized to perform: iam:CreateAccessKey on resource: user {user.name} "
        "with an explicit deny in an identity-based policy"
    )
    session = client("sts", user.keys[0]).get_session_token(
        SerialNumber=device.serial, TokenCode=sandbox.totp("bound")
    )
    assert client("iam", session["Credentials"]).create_access_key(UserName=user.name)


def test_root_manages_its_own_keys(sandbox: Sandbox, client: Callable[..., Any]) -> None:
    root = sandbox.state.add_user("400000000002", "")
    iam = client("iam", sandbox.state.add_key(root))
    assert iam.get_user()["User"]["Arn"] == "arn:aws:iam::400000000002:root"
    assert len(iam.list_access_keys()["AccessKeyMetadata"]) == 1


@pytest.mark.parametrize(
    ("call", "parameters", "words"),
    [
        (
            "update_access_key",
            {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "Status": "Asleep"},
            "Member must satisfy enum value set: [Active, Inactive]",
        ),
        ("get_user", {"UserName": "a b"}, "Member must satisfy regular expression pattern: [\\w+=,.@-]+"),
        ("list_access_keys", {"MaxItems": 0}, "Member must have value greater than or equal to 1"),
    ],
)
def test_parameters_that_do_not_fit_are_named(
    iam: Any, refused: Callable[..., str], call: str, parameters: dict[str, Any], words: str
) -> None:
    text = refused("ValidationError", 400, getattr(iam, call), **parameters)
    assert text.startswith("1 validation error detected: Value '")
    assert text.endswith(f"failed to satisfy constraint: {words}")


def test_what_is_not_played_is_no_operation(
    iam: Any, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    assert refused("InvalidAction", 400, iam.list_users) == (
        "Could not find operation ListUsers for version 2010-05-08"
    )
    sts = client("sts", user.keys[0])
    assert refused("InvalidAction", 400, sts.decode_authorization_message, EncodedMessage="x") == (
        "Could not find operation DecodeAuthorizationMessage for version 2011-06-15"
    )
