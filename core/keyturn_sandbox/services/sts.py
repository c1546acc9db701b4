"""Security Token Service: sessions, roles, caller identity."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from keyturn_sandbox.aws_errors import access_denied, not_authorized, validation
from keyturn_sandbox.eventual_consistency import visible
from keyturn_sandbox.policy.conditions import Context
from keyturn_sandbox.policy.permissions import context_of, decide, require_permission
from keyturn_sandbox.policy.policy import Trust, Verdict, trust_for
from keyturn_sandbox.policy.principals import Origin, Role, Session, User
from keyturn_sandbox.regions import GLOBAL
from keyturn_sandbox.services.parameters import Integer, Text, check
from keyturn_sandbox.services.session_options import NO_TAGS, Tags, packed_size, read_policies, read_tags
from keyturn_sandbox.verified_call import VerifiedCall, session_arn
from keyturn_sandbox.xml_responses import Result, Value

VERSION = "2011-06-15"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"

HOUR = 3600
"""Maximum duration for root, and for a role session of a caller with temporary credentials. Seconds."""
ROLE_SECONDS = 3600
"""Default duration of a role session."""
USER_SECONDS = 43200
"""Default duration of a user's session."""
MAX_TOKEN_BYTES = 4096
"""Size of the largest session token in bytes."""
PLAIN_TOKEN_BYTES = 740
"""Larger than any token without policies and tags."""

_SERIAL = Text("SerialNumber", r"[\w+=/:,.@-]*", 9, 256)
_CODE = Text("TokenCode", r"[\d]*", 6, 6)
_TOKEN_SIZE = Integer("MinimumSessionTokenSize", 0, MAX_TOKEN_BYTES)
_POLICY = Text("Policy", r"[\t\n\r\u0020-\u00FF]+", 1, 2048)
_DURATION = Integer("DurationSeconds", 900, 129600)
_SESSION_TOKEN = (_DURATION, _SERIAL, _CODE, _TOKEN_SIZE)
_FEDERATION_TOKEN = (Text("Name", r"[\w+=,.@-]*", 2, 32, required=True), _POLICY, _DURATION, _TOKEN_SIZE)
_ASSUME_ROLE = (
    Text("RoleArn", r"[\t\n\r\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD]+", 20, 2048, required=True),
    Text("RoleSessionName", r"[\w+=,.@-]*", 2, 64, required=True),
    Integer("DurationSeconds", 900, 43200),
    Text("ExternalId", r"[\w+=,.@:\/-]*", 2, 1224),
    Text("SourceIdentity", r"[\w+=,.@-]*", 2, 64),
    _POLICY,
    _SERIAL,
    _CODE,
    _TOKEN_SIZE,
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
    session = call.state.add_session(
        user,
        _user_duration(call, user),
        mfa_at=call.mfa(),
        everywhere=call.caller.region not in GLOBAL,
        token_bytes=_token_bytes(call.params, None),
    )
    return _credentials(session, call.params)


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
        _user_duration(call, user),
        origin=Origin.FEDERATION_TOKEN,
        name=params["Name"],
        tags=tags,
        policies=policies,
        everywhere=call.caller.region not in GLOBAL,
        token_bytes=_token_bytes(params, packed),
    )
    return _credentials(session, params) | {
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
    """Return the account that a key ID encodes."""
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


def _user_duration(call: VerifiedCall, user: User) -> timedelta:
    """Return the duration: 15 minutes to 36 hours, 12 by default; at most an hour for root (service
    model)."""
    seconds = int(call.params.get("DurationSeconds", HOUR if user.is_root else USER_SECONDS))
    return timedelta(seconds=min(seconds, HOUR) if user.is_root else seconds)


def assume_role(call: VerifiedCall) -> Result:
    """Handle AssumeRole."""
    caller, params, session = call.caller, call.params, call.caller.session
    if caller.user is not None and caller.user.is_root:
        raise access_denied("Roles may not be assumed by root accounts.")
    if session is not None and session.origin is Origin.FEDERATION_TOKEN:
        raise access_denied("Cannot call AssumeRole with federation credentials")
    check(params, _ASSUME_ROLE)
    tags = read_tags(params, session.tags.inherited() if session else NO_TAGS)
    source_identity = _source_identity(call)
    arn = params["RoleArn"]
    if not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", arn, re.ASCII):
        raise validation("Request ARN is invalid")
    policies = read_policies(params, caller.principal.partition, call.state.managed_policies)
    packed = packed_size(params, tags)
    mfa_at = call.mfa()
    role = call.state.role(arn)
    context = _role_context(call, mfa_at, tags, source_identity)
    for action in _required_actions(tags, source_identity):
        if role is None or not _is_allowed(call, role, action, context):
            raise not_authorized(caller.arn, action, arn)
    # an unknown role was rejected above, with the message for a forbidden one
    assert role is not None  # noqa: S101
    new_session = call.state.add_session(
        role,
        _role_duration(call, role),
        name=params["RoleSessionName"],
        tags=tags,
        source_identity=source_identity,
        policies=policies,
        everywhere=caller.region not in GLOBAL,
        token_bytes=_token_bytes(params, packed),
    )
    return _credentials(new_session, params) | {
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.unique_id}:{new_session.name}",
            "Arn": session_arn(role, new_session.name),
        },
        "PackedPolicySize": packed,
        "SourceIdentity": source_identity or None,
    }


def _source_identity(call: VerifiedCall) -> str:
    """Return the source identity of the new session. Once set, it persists through role chaining and cannot
    be changed. AWS's message for such a change is unknown."""
    requested = call.params.get("SourceIdentity", "")
    if requested.lower().startswith("aws:"):
        raise validation("SourceIdentity must not start with 'aws:'")
    inherited = call.caller.session.source_identity if call.caller.session else ""
    if inherited and requested and requested != inherited:
        raise access_denied("The source identity of a role session cannot be changed.")
    return inherited or requested


def _required_actions(tags: Tags, source_identity: str) -> list[str]:
    """Return the actions that the call must be allowed. Session tags and a source identity need permissions
    of their own, also if they are inherited (IAM User Guide, chaining roles with session tags and with
    source identity)."""
    is_needed = {
        "sts:AssumeRole": True,
        "sts:TagSession": bool(tags.values),
        "sts:SetSourceIdentity": bool(source_identity),
    }
    return [action for action in is_needed if is_needed[action]]


def _is_allowed(call: VerifiedCall, role: Role, action: str, context: Context) -> bool:
    """Return True if the trust policy allows `action` and, if it trusts only the account or the account is
    another one, the caller's permissions allow it as well. Session policies limit even a caller that is
    named; an explicit deny always applies."""
    principal = call.caller.principal
    if principal.partition != role.partition:
        return False
    statements = visible(role.change, role.trust, call.now)
    trust = trust_for(
        statements,
        action=action,
        identities=call.caller.identities,
        account=principal.account,
        partition=principal.partition,
        context=context,
    )
    if trust is Trust.NONE:
        return False
    decision = decide(call, action, role.arn, context)
    has_session_policies = call.caller.session is not None and call.caller.session.policies is not None
    if trust is Trust.DIRECT and principal.account == role.account and not has_session_policies:
        return decision.verdict is not Verdict.DENIED
    return decision.allows


def _role_context(call: VerifiedCall, mfa_at: datetime | None, tags: Tags, source_identity: str) -> Context:
    """Return the condition keys of the call."""
    context = context_of(call, mfa_at)
    if "ExternalId" in call.params:
        context["sts:externalid"] = call.params["ExternalId"]
    context["sts:rolesessionname"] = call.params["RoleSessionName"]
    if source_identity:
        context["sts:sourceidentity"] = source_identity
    inherited = call.caller.session.tags.inherited().values if call.caller.session else {}
    passed = {key: value for key, value in tags.values.items() if key not in inherited}
    for key, value in passed.items():
        context[f"aws:requesttag/{key}".lower()] = value
    if passed:
        context["aws:tagkeys"] = tuple(passed)
    if tags.transitive:
        context["sts:transitivetagkeys"] = tuple(key for key in tags.values if key.lower() in tags.transitive)
    return context


def _role_duration(call: VerifiedCall, role: Role) -> timedelta:
    """Return the session's duration: at most one hour for a caller with temporary credentials (role chaining,
    and credentials of GetSessionToken), otherwise at most the role's maximum."""
    seconds = int(call.params.get("DurationSeconds", ROLE_SECONDS))
    if seconds > role.max_session:
        raise validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if call.caller.session is not None and seconds > HOUR:
        raise validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role "
            "chaining."
        )
    return timedelta(seconds=seconds)


def _credentials(session: Session, params: Mapping[str, str]) -> dict[str, Value]:
    """Return the part of a response with the credentials of `session`."""
    return {
        "Credentials": {
            "AccessKeyId": session.key_id,
            "SecretAccessKey": session.secret,
            "SessionToken": session.token,
            "Expiration": session.expires,
        },
        "SessionTokenSize": len(session.token.reveal()) if "MinimumSessionTokenSize" in params else None,
    }


def _token_bytes(params: Mapping[str, str], packed: int | None) -> int:
    """Return the minimum length of a token: as requested, and longer with policies or tags."""
    minimum = PLAIN_TOKEN_BYTES + packed * 24 if packed else 0
    return max(int(params.get("MinimumSessionTokenSize", 0)), minimum)


ACTIONS: Mapping[str, Callable[[VerifiedCall], Result | None]] = {
    "GetCallerIdentity": get_caller_identity,
    "GetSessionToken": get_session_token,
    "GetFederationToken": get_federation_token,
    "GetAccessKeyInfo": get_access_key_info,
    "AssumeRole": assume_role,
}
