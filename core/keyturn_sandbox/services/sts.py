"""Security Token Service: sessions, roles, caller identity."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import timedelta

from keyturn_sandbox.aws_errors import access_denied, validation
from keyturn_sandbox.policy.permissions import require_permission
from keyturn_sandbox.policy.principals import Origin, User
from keyturn_sandbox.regions import GLOBAL
from keyturn_sandbox.services.parameters import Integer, Text, check
from keyturn_sandbox.services.roles import assume_role
from keyturn_sandbox.services.session_policies import packed_size, read_policies
from keyturn_sandbox.services.session_tags import NO_TAGS, read_tags
from keyturn_sandbox.temporary_credentials import (
    CODE,
    HOUR,
    SERIAL,
    TOKEN_SIZE,
    credentials_result,
    token_bytes,
)
from keyturn_sandbox.verified_call import VerifiedCall
from keyturn_sandbox.xml_responses import Result

VERSION = "2011-06-15"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"

DEFAULT_SECONDS = 43200
_DURATION = Integer("DurationSeconds", 900, 129600)
_SESSION_TOKEN = (_DURATION, SERIAL, CODE, TOKEN_SIZE)
_FEDERATION_TOKEN = (
    Text("Name", r"[\w+=,.@-]*", 2, 32, required=True),
    Text("Policy", r"[\t\n\r\u0020-\u00FF]+", 1, 2048),
    _DURATION,
    TOKEN_SIZE,
)
_KEY_INFO = (Text("AccessKeyId", r"[\w]*", 16, 128, required=True),)


def get_caller_identity(call: VerifiedCall) -> Result:
    """Handle GetCallerIdentity. It needs no permission and cannot be denied."""
    caller = call.caller
    return {"UserId": caller.user_id, "Account": caller.principal.account, "Arn": caller.arn}


def get_session_token(call: VerifiedCall) -> Result:
    """Handle GetSessionToken, a session of the calling user. It needs no permission and policies do not
    apply."""
    user = _long_term_caller(call, "GetSessionToken")
    check(call.params, _SESSION_TOKEN)
    mfa_at = call.mfa()
    session = call.state.add_session(
        user,
        _duration(call, user),
        mfa_at=mfa_at,
        everywhere=call.caller.region not in GLOBAL,
        token_bytes=token_bytes(call.params, None),
    )
    return credentials_result(session, call.params)


def get_federation_token(call: VerifiedCall) -> Result:
    """Handle GetFederationToken, a session with permissions that both the user's and the session's policies
    allow."""
    user, params = _long_term_caller(call, "GetFederationToken"), call.params
    check(params, _FEDERATION_TOKEN)
    tags = read_tags(params, NO_TAGS)
    policies = read_policies(params, user.partition, call.state.managed_policies)
    packed = packed_size(params, tags)
    arn = f"arn:{user.partition}:sts::{user.account}:federated-user/{params['Name']}"
    for action in ("sts:GetFederationToken", *(("sts:TagSession",) if tags.values else ())):
        require_permission(call, action, arn)
    session = call.state.add_session(
        user,
        _duration(call, user),
        origin=Origin.FEDERATION_TOKEN,
        name=params["Name"],
        tags=tags,
        policies=policies,
        everywhere=call.caller.region not in GLOBAL,
        token_bytes=token_bytes(params, packed),
    )
    return credentials_result(session, params) | {
        "FederatedUser": {"FederatedUserId": f"{user.account}:{params['Name']}", "Arn": arn},
        "PackedPolicySize": packed,
    }


def get_access_key_info(call: VerifiedCall) -> Result:
    """Handle GetAccessKeyInfo: return the account of a key ID, even if the key does not exist."""
    session = call.caller.session
    if session is not None and session.origin is not Origin.ROLE:
        # AWS's documentation has both "No STS except AssumeRole and GetCallerIdentity" and "any"; this is the
        # stricter one.
        raise access_denied("Cannot call GetAccessKeyInfo with session credentials")
    check(call.params, _KEY_INFO)
    require_permission(call, "sts:GetAccessKeyInfo", "*")
    return {"Account": _account_in(call.params["AccessKeyId"])}


def _account_in(key_id: str) -> str:
    """Return the account that a key ID encodes (aws-facts 6)."""
    try:
        number = int.from_bytes(base64.b32decode(key_id[4:20])[:6], "big")
    except binascii.Error:
        raise validation("Invalid access key id") from None
    return format((number & 0x7FFFFFFFFF80) >> 7, "012d")


def _long_term_caller(call: VerifiedCall, action: str) -> User:
    """Return the user or root user whose long-term key signed the call.

    :raises Refusal: `AccessDenied` for temporary credentials.
    """
    user = call.caller.user
    if call.caller.session is not None or user is None:
        raise access_denied(f"Cannot call {action} with session credentials")
    return user


def _duration(call: VerifiedCall, user: User) -> timedelta:
    """Return the duration: 15 minutes to 36 hours, 12 by default; at most an hour for root (service
    model)."""
    seconds = int(call.params.get("DurationSeconds", HOUR if user.is_root else DEFAULT_SECONDS))
    return timedelta(seconds=min(seconds, HOUR) if user.is_root else seconds)


ACTIONS: Mapping[str, Callable[[VerifiedCall], Result | None]] = {
    "GetCallerIdentity": get_caller_identity,
    "GetSessionToken": get_session_token,
    "GetFederationToken": get_federation_token,
    "GetAccessKeyInfo": get_access_key_info,
    "AssumeRole": assume_role,
}
