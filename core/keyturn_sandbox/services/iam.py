"""Identity and Access Management: access keys and MFA devices of users."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence

from keyturn_sandbox.aws_errors import invalid_token, limit_exceeded, no_such_entity, validation
from keyturn_sandbox.policy.permissions import require_permission
from keyturn_sandbox.policy.principals import ABSENT, AccessKey, Origin, User
from keyturn_sandbox.services.parameters import Choice, Integer, Text, check
from keyturn_sandbox.state import KEY_QUOTA
from keyturn_sandbox.verified_call import VerifiedCall
from keyturn_sandbox.xml_responses import Result

VERSION = "2010-05-08"
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"

_USER = Text("UserName", r"[\w+=,.@-]+", 1, 128)
_KEY = Text("AccessKeyId", r"[\w]+", 16, 128, required=True)
_STATUS = Choice("Status", ("Active", "Inactive"), required=True)
_MARKER = Text("Marker", r"[\u0020-\u00FF]+", 1, 320)
_MAX_ITEMS = Integer("MaxItems", 1, 1000)
#: "If a temporary access key is used, then UserName is required" (service model).
_NAME_FOR_SESSIONS = {"ListAccessKeys", "CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey"}


def get_user(call: VerifiedCall) -> Result:
    check(call.params, (_USER,))
    user = _subject(call, "GetUser")
    return {
        "User": {
            "Path": user.path,
            "UserName": user.name or None,
            "UserId": user.unique_id,
            "Arn": user.arn,
            "CreateDate": user.created,
        }
    }


def list_access_keys(call: VerifiedCall) -> Result:
    check(call.params, (_USER, _MARKER, _MAX_ITEMS))
    user = _subject(call, "ListAccessKeys")
    metadata = [
        {
            "UserName": user.name or None,
            "AccessKeyId": key.key_id,
            "Status": status,
            "CreateDate": key.created,
        }
        for key, status in user.listed_keys(call.now)
    ]
    return _page(call, "AccessKeyMetadata", metadata)


def create_access_key(call: VerifiedCall) -> Result:
    check(call.params, (_USER,))
    user = _subject(call, "CreateAccessKey")
    if len(user.keys) >= KEY_QUOTA:
        raise limit_exceeded(f"Cannot exceed quota for AccessKeysPerUser: {KEY_QUOTA}")
    key = call.state.add_key(user)
    return {
        "AccessKey": {
            "UserName": user.name or None,
            "AccessKeyId": key.key_id,
            "Status": key.status,
            "SecretAccessKey": key.secret,
            "CreateDate": key.created,
        }
    }


def update_access_key(call: VerifiedCall) -> None:
    check(call.params, (_USER, _KEY, _STATUS))
    key = _key_of(_subject(call, "UpdateAccessKey"), call)
    if key.status not in _STATUS.values:
        # It is unknown if AWS lets an expired key be reactivated; this is the stricter choice.
        raise validation(f"The status of access key {key.key_id} cannot be changed.")
    call.state.set_status(key, call.params["Status"])


def delete_access_key(call: VerifiedCall) -> None:
    check(call.params, (_USER, _KEY))
    user = _subject(call, "DeleteAccessKey")
    call.state.delete_key(user, _key_of(user, call))


def get_access_key_last_used(call: VerifiedCall) -> Result:
    check(call.params, (_KEY,))
    _refuse_session_without_mfa(call)
    key_id = call.params["AccessKeyId"]
    user, key = call.state.key(key_id) or (None, None)
    if user is None or user.account != call.caller.principal.account or key is None or key.status == ABSENT:
        # The permission is checked first. For an unknown key it is checked on the caller.
        _authorize(call, call.caller.user, "GetAccessKeyLastUsed")
        raise no_such_entity(f"The Access Key with id {key_id} cannot be found.")
    _authorize(call, user, "GetAccessKeyLastUsed")
    use = key.reported_use(call.now, call.state.use_lag)
    return {
        "UserName": user.name or None,
        "AccessKeyLastUsed": {
            "LastUsedDate": use.at if use else None,
            "ServiceName": use.service if use else "N/A",
            "Region": use.region if use else "N/A",
        },
    }


def list_mfa_devices(call: VerifiedCall) -> Result:
    check(call.params, (_USER, _MARKER, _MAX_ITEMS))
    user = _subject(call, "ListMFADevices")
    devices = [
        {"UserName": user.name or None, "SerialNumber": device.serial, "EnableDate": device.enabled}
        for device in user.devices
    ]
    return _page(call, "MFADevices", devices)


def _page(call: VerifiedCall, name: str, members: Sequence[Result]) -> Result:
    """Return one page of a list: at most `MaxItems` members from `Marker` on."""
    marker = call.params.get("Marker", "")
    offsets = {"": 0} | {_marker(call, name, number): number for number in range(1, len(members))}
    if marker not in offsets:
        raise validation("Invalid Marker.")
    start = offsets[marker]
    end = start + int(call.params.get("MaxItems", 100))
    is_truncated = end < len(members)
    return {
        name: members[start:end],
        "IsTruncated": is_truncated,
        "Marker": _marker(call, name, end) if is_truncated else None,
    }


def _marker(call: VerifiedCall, name: str, start: int) -> str:
    """Return the marker of the next page: opaque as AWS's, and valid only for the same list and user."""
    identity = f"{name} {call.params.get('UserName', '')} {start}"
    return base64.b64encode(hashlib.sha256(identity.encode()).digest()).decode("ascii")


def _subject(call: VerifiedCall, action: str) -> User:
    """Return the user that the call is about, after authorizing `action`.

    :raises Refusal: `InvalidClientTokenId`, `ValidationError`, `AccessDenied` or `NoSuchEntity`.
    """
    _refuse_session_without_mfa(call)
    caller, name = call.caller, call.params.get("UserName")
    if name is None:
        if caller.user is None or (caller.session is not None and action in _NAME_FOR_SESSIONS):
            raise validation("Must specify userName when calling with non-User credentials")
        user: User | None = caller.user
    else:
        user = call.state.user(caller.principal.partition, caller.principal.account, name) if name else None
    _authorize(call, user, action)
    if user is None:
        raise no_such_entity(f"The user with name {name} cannot be found.")
    return user


def _refuse_session_without_mfa(call: VerifiedCall) -> None:
    """Reject sessions that IAM does not accept: of GetSessionToken without MFA, and of GetFederationToken.

    :raises Refusal: `InvalidClientTokenId`.
    """
    session = call.caller.session
    if session is not None and session.origin is not Origin.ROLE and session.mfa_at is None:
        raise invalid_token()


def _authorize(call: VerifiedCall, user: User | None, action: str) -> None:
    """Evaluate the caller's policies for the call. For a user that does not exist, the ARN is built from the
    name.

    :raises Refusal: `AccessDenied`.
    """
    principal = call.caller.principal
    name = user.name if user else call.params.get("UserName", "")
    arn = user.arn if user else f"arn:{principal.partition}:iam::{principal.account}:user/{name}"
    require_permission(call, f"iam:{action}", arn, f"user {name}")


def _key_of(user: User, call: VerifiedCall) -> AccessKey:
    """Return the key that the call is about.

    :raises Refusal: `NoSuchEntity`, also for a new key that has not propagated yet.
    """
    key_id = call.params["AccessKeyId"]
    for key in user.keys:
        if key.key_id == key_id and key.visible_status(call.now) != ABSENT:
            return key
    raise no_such_entity(f"The Access Key with id {key_id} cannot be found.")


ACTIONS: Mapping[str, Callable[[VerifiedCall], Result | None]] = {
    "GetUser": get_user,
    "ListAccessKeys": list_access_keys,
    "CreateAccessKey": create_access_key,
    "UpdateAccessKey": update_access_key,
    "DeleteAccessKey": delete_access_key,
    "GetAccessKeyLastUsed": get_access_key_last_used,
    "ListMFADevices": list_mfa_devices,
}
