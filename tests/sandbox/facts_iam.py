"""Facts about access keys and their rotation, one row each."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any

from keyturn_sandbox import User
from tests.sandbox.iam_bench import (
    ALL,
    Bench,
    ErrorReply,
    Facts,
    denied_message,
    error_of,
    is_invalid_token,
    missing_key_error,
    slow_propagation,
    validation_message,
)

facts = Facts("5")

QUOTA = ErrorReply("LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2")
NEEDS_NAME = "Must specify userName when calling with non-User credentials"


@facts('Max 2 access keys per user (LimitExceeded 409 "Cannot exceed quota for AccessKeysPerUser: 2")')
def _(b: Bench) -> None:
    iam = b.iam(b.user())
    assert iam.create_access_key()
    assert error_of(iam.create_access_key) == QUOTA


@facts("inactive keys count")
def _(b: Bench) -> None:
    user = b.user()
    iam = b.iam(user)
    new = iam.create_access_key()["AccessKey"]["AccessKeyId"]
    iam.update_access_key(AccessKeyId=new, Status="Inactive")
    assert error_of(iam.create_access_key) == QUOTA
    iam.delete_access_key(AccessKeyId=new)
    assert iam.create_access_key()


@facts("Create/Update/List/DeleteAccessKey infer UserName from the signing key")
def _(b: Bench) -> None:
    user = b.user()
    iam = b.iam(user)
    new_key = iam.create_access_key()["AccessKey"]
    assert new_key["UserName"] == user.name
    assert len(iam.list_access_keys()["AccessKeyMetadata"]) == 2
    assert iam.update_access_key(AccessKeyId=new_key["AccessKeyId"], Status="Inactive")
    assert iam.delete_access_key(AccessKeyId=new_key["AccessKeyId"])
    assert len(user.keys) == 1


@facts('"If a temporary access key is used, then UserName is required"')
def _(b: Bench) -> None:
    user = b.user(iam_admin=True)
    key = user.keys[0].key_id
    role = b.role(user, iam_admin=True)
    for signer in (b.session(user, **b.mfa(user)), b.assume_role(user, role)):
        iam = b.iam(signer)
        calls: tuple[tuple[Any, dict[str, str]], ...] = (
            (iam.create_access_key, {}),
            (iam.list_access_keys, {}),
            (iam.update_access_key, {"AccessKeyId": key, "Status": "Active"}),
            (iam.delete_access_key, {"AccessKeyId": key}),
        )
        for call, more in calls:
            assert validation_message(call, **more) == NEEDS_NAME
        assert iam.list_access_keys(UserName=user.name)["AccessKeyMetadata"]
        assert iam.update_access_key(AccessKeyId=key, Status="Active", UserName=user.name)


@facts("always pass UserName (from GetCallerIdentity Arn `...:user/path/NAME`, last path segment)")
def _(b: Bench) -> None:
    user = b.user(path="/division/team/")
    arn = b.sts(user).get_caller_identity()["Arn"]
    assert arn.endswith(f":user/division/team/{user.name}")
    assert b.iam(user).list_access_keys(UserName=arn.rsplit("/", 1)[-1])["AccessKeyMetadata"]


@facts("Secret is returned once. CreateDate in ListAccessKeys is the only age source")
def _(b: Bench) -> None:
    user = b.user()
    iam = b.iam(user)
    new_key = iam.create_access_key()["AccessKey"]
    assert len(new_key["SecretAccessKey"]) == 40
    listed = iam.list_access_keys()["AccessKeyMetadata"]
    assert all(set(item) == {"UserName", "AccessKeyId", "Status", "CreateDate"} for item in listed)
    assert listed[1]["CreateDate"] == new_key["CreateDate"]
    assert new_key["SecretAccessKey"] not in repr(listed)


@facts("Status enum now Active/Inactive/Expired (handle a third value)")
def _(b: Bench) -> None:
    user = b.user()
    other = b.sandbox.state.add_key(user, status="Expired")
    iam = b.iam(user)
    assert [item["Status"] for item in iam.list_access_keys()["AccessKeyMetadata"]] == ["Active", "Expired"]
    assert is_invalid_token(b.sts(other).get_caller_identity)
    assert "enum value set" in validation_message(
        iam.update_access_key, AccessKeyId=user.keys[0].key_id, Status="Expired"
    )
    assert validation_message(iam.update_access_key, AccessKeyId=other.key_id, Status="Active")
    assert iam.delete_access_key(AccessKeyId=other.key_id)


@facts("GetAccessKeyLastUsed: no LastUsedDate when never used; ServiceName/Region = N/A")
def _(b: Bench) -> None:
    user = b.user()
    iam = b.iam(user)
    new_key = iam.create_access_key()["AccessKey"]["AccessKeyId"]
    assert iam.get_access_key_last_used(AccessKeyId=new_key)["AccessKeyLastUsed"] == {
        "ServiceName": "N/A",
        "Region": "N/A",
    }
    b.sts(user, "eu-north-1").get_caller_identity()
    last_used = iam.get_access_key_last_used(AccessKeyId=user.keys[0].key_id)
    assert last_used["UserName"] == user.name
    assert "LastUsedDate" in last_used["AccessKeyLastUsed"]


@facts("GetAccessKeyLastUsed: reporting lags (up to hours; treat as hint)")
def _(b: Bench) -> None:
    user = b.user()
    key = b.iam(user).create_access_key()["AccessKey"]
    b.sandbox.state.use_lag = timedelta(hours=2)
    try:
        b.sts(key, "eu-north-1").get_caller_identity()

        def last_used() -> str:
            found = b.iam(user).get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
            return str(found["AccessKeyLastUsed"]["Region"])

        assert last_used() == "N/A"
        b.sandbox.move_clock(7000)
        b.sts(key, "eu-west-3").get_caller_identity()
        assert last_used() == "N/A"
        b.sandbox.move_clock(300)
        assert last_used() == "eu-north-1"
        b.sandbox.move_clock(7000)
        assert last_used() == "eu-west-3"
    finally:
        b.sandbox.state.use_lag = timedelta(0)


@facts("IAM calls with GetSessionToken creds need MFA in that session, otherwise IAM refuses")
def _(b: Bench) -> None:
    user = b.user(iam_admin=True)
    plain, proven = b.iam(b.session(user)), b.iam(b.session(user, **b.mfa(user)))
    key = user.keys[0].key_id
    for name, more in (
        ("get_user", {}),
        ("list_mfa_devices", {}),
        ("list_access_keys", {"UserName": user.name}),
        ("get_access_key_last_used", {"AccessKeyId": key}),
        ("update_access_key", {"UserName": user.name, "AccessKeyId": key, "Status": "Active"}),
    ):
        assert is_invalid_token(getattr(plain, name), **more)
        assert getattr(proven, name)(**more)


@facts("GetFederationToken creds can never call IAM")
def _(b: Bench) -> None:
    assert is_invalid_token(b.iam(b.federated(b.user(ALL), PolicyArns=[ADMIN])).get_user)


ADMIN = {"arn": "arn:aws:iam::aws:policy/AdministratorAccess"}


@facts("During propagation answers may flap between success and InvalidClientTokenId, then settle")
def _(b: Bench) -> None:
    user = b.user()
    with slow_propagation(b, propagation=10, flapping=15):
        new_key = b.iam(user).create_access_key()["AccessKey"]
    sts = b.sts(new_key)

    def known() -> bool:
        try:
            return bool(sts.get_caller_identity())
        except sts.exceptions.ClientError:
            return False

    assert [known() for _ in range(4)] == [False] * 4
    b.sandbox.move_clock(12)
    statuses = [known() for _ in range(16)]
    assert 3 <= sum(statuses) <= 13
    assert statuses[:2] == [False, True]
    b.sandbox.move_clock(15)
    assert all(known() for _ in range(8))


@facts("eventually consistent: a key that was switched off or deleted may work a little longer")
def _(b: Bench) -> None:
    user = b.user()
    second = b.sandbox.state.add_key(user)
    for change in ("Inactive", "deleted"):
        with slow_propagation(b, propagation=10, flapping=10):
            if change == "Inactive":
                b.iam(user).update_access_key(AccessKeyId=second.key_id, Status="Inactive")
            else:
                b.sandbox.state.set_status(second, "Active")
                second.change = None
                b.iam(user).delete_access_key(AccessKeyId=second.key_id)
        assert b.sts(second).get_caller_identity()
        b.sandbox.move_clock(21)
        assert is_invalid_token(b.sts(second).get_caller_identity)


@facts("eventually consistent: a listing may miss a new key and show a deleted one")
def _(b: Bench) -> None:
    user = b.user()
    iam = b.iam(user)

    def listed() -> int:
        return len(iam.list_access_keys()["AccessKeyMetadata"])

    with slow_propagation(b, flapping=20):
        new_key = iam.create_access_key()["AccessKey"]["AccessKeyId"]
    assert {listed() for _ in range(12)} == {1, 2}
    assert error_of(iam.create_access_key) == QUOTA
    b.sandbox.move_clock(21)
    assert listed() == 2
    with slow_propagation(b, flapping=20):
        iam.delete_access_key(AccessKeyId=new_key)
    assert {listed() for _ in range(12)} == {1, 2}
    assert error_of(iam.delete_access_key, AccessKeyId=new_key) == missing_key_error(new_key)
    b.sandbox.move_clock(21)
    assert listed() == 1


@facts("eventually consistent: policies too")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user)
    trust = role.trust
    with slow_propagation(b, propagation=10, flapping=10):
        b.sandbox.state.set_policies(user, [])
        b.sandbox.state.set_trust(role, [])
    call = {"RoleArn": role.arn, "RoleSessionName": "fact"}
    assert b.iam(user).get_user()
    assert b.assume(user, role)
    b.sandbox.move_clock(21)
    assert denied_message(b.iam(user).get_user)
    assert denied_message(b.sts(user).assume_role, **call)
    b.sandbox.state.set_trust(role, trust)
    assert b.assume(user, role)


@facts("FIDO/passkey/U2F devices cannot be used for API MFA; ListMFADevices returns them too")
def _(b: Bench) -> None:
    user = b.user()
    key = b.sandbox.state.add_security_key(user, "yubi")
    token = b.sandbox.add_hardware_device(user, f"GAHT{user.account[-8:]}")
    listed = [item["SerialNumber"] for item in b.iam(user).list_mfa_devices()["MFADevices"]]
    assert listed == [key.serial, token.serial]
    assert re.match(r"arn:aws:iam::\d{12}:u2f/", key.serial)
    assert re.fullmatch(r"GAHT\d{8}", token.serial)
    sts = b.sts(user)
    assert denied_message(sts.get_session_token, SerialNumber=key.serial, TokenCode="000000")
    assert sts.get_session_token(SerialNumber=token.serial, TokenCode=b.sandbox.totp(token.serial))


@facts("Up to 8 MFA devices per user")
def _(b: Bench) -> None:
    user = b.user()
    for number in range(8):
        b.sandbox.add_device(user, f"{user.name}-{number}")
    with suppress(ValueError):
        b.sandbox.add_device(user, "ninth")
    assert len(b.iam(user).list_mfa_devices()["MFADevices"]) == 8


@facts("lists come in pages: MaxItems, IsTruncated, Marker")
def _(b: Bench) -> None:
    user = b.user()
    second = b.sandbox.state.add_key(user)
    iam = b.iam(user)
    first = iam.list_access_keys(MaxItems=1)
    assert first["IsTruncated"] is True
    rest = iam.list_access_keys(MaxItems=1, Marker=first["Marker"])
    assert (rest["IsTruncated"], "Marker" in rest) == (False, False)
    assert rest["AccessKeyMetadata"][0]["AccessKeyId"] == second.key_id
    pages = iam.get_paginator("list_access_keys").paginate(PaginationConfig={"PageSize": 1})
    assert len(list(pages)) == 2
    assert validation_message(iam.list_access_keys, Marker="bm9uc2Vuc2U=")
    assert validation_message(iam.list_mfa_devices, Marker=first["Marker"])


@facts("preflight: root and roles are told from users by GetCallerIdentity")
def _(b: Bench) -> None:
    user: User = b.user()
    root = b.root()
    assert ":user/" in b.sts(user).get_caller_identity()["Arn"]
    assert b.sts(root).get_caller_identity()["Arn"] == f"arn:aws:iam::{root.account}:root"
    role = b.role(user, path="/deep/path/")
    assert b.sts(b.assume_role(user, role)).get_caller_identity()["Arn"] == (
        f"arn:aws:sts::{user.account}:assumed-role/{role.name}/fact"
    )


@facts("6: AKIA/ASIA + 16 of the base32 alphabet; the account can be computed; unique ids have 21 characters")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user)
    new_key = b.iam(user).create_access_key()["AccessKey"]["AccessKeyId"]
    for prefix, key_id in (("AKIA", new_key), ("ASIA", b.session(user)["AccessKeyId"])):
        assert re.fullmatch(prefix + "[A-Z2-7]{16}", key_id)
        head = int.from_bytes(base64.b32decode(key_id[4:20])[:6], "big")
        assert format((head & 0x7FFFFFFFFF80) >> 7, "012d") == user.account
    assert re.fullmatch(r"AIDA[A-Z2-7]{17}", b.iam(user).get_user()["User"]["UserId"])
    assert re.fullmatch(r"AROA[A-Z2-7]{17}:fact", b.assume(user, role)["AssumedRoleUser"]["AssumedRoleId"])
