"""AssumeRole: authorization, session options, duration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from keyturn_sandbox.aws_errors import access_denied, not_authorized, validation
from keyturn_sandbox.eventual_consistency import visible
from keyturn_sandbox.policy.conditions import Context
from keyturn_sandbox.policy.permissions import context_of, decide
from keyturn_sandbox.policy.policy import Trust, Verdict, trust_for
from keyturn_sandbox.policy.principals import Origin, Role
from keyturn_sandbox.regions import GLOBAL
from keyturn_sandbox.services.parameters import Integer, Text, check
from keyturn_sandbox.services.session_policies import packed_size, read_policies
from keyturn_sandbox.services.session_tags import NO_TAGS, Tags, read_tags
from keyturn_sandbox.temporary_credentials import (
    CODE,
    HOUR,
    SERIAL,
    TOKEN_SIZE,
    credentials_result,
    token_bytes,
)
from keyturn_sandbox.verified_call import VerifiedCall, session_arn
from keyturn_sandbox.xml_responses import Result

DEFAULT_SECONDS = 3600
_SHAPE = (
    Text("RoleArn", r"[\t\n\r\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD]+", 20, 2048, required=True),
    Text("RoleSessionName", r"[\w+=,.@-]*", 2, 64, required=True),
    Integer("DurationSeconds", 900, 43200),
    Text("ExternalId", r"[\w+=,.@:\/-]*", 2, 1224),
    Text("SourceIdentity", r"[\w+=,.@-]*", 2, 64),
    Text("Policy", r"[\t\n\r\u0020-\u00FF]+", 1, 2048),
    SERIAL,
    CODE,
    TOKEN_SIZE,
)


def assume_role(call: VerifiedCall) -> Result:
    """Handle AssumeRole."""
    caller, params, session = call.caller, call.params, call.caller.session
    if caller.user is not None and caller.user.is_root:
        raise access_denied("Roles may not be assumed by root accounts.")
    if session is not None and session.origin is Origin.FEDERATION_TOKEN:
        raise access_denied("Cannot call AssumeRole with federation credentials")
    check(params, _SHAPE)
    tags = read_tags(params, session.tags.inherited() if session else NO_TAGS)
    source_identity = _source_identity(call)
    arn = params["RoleArn"]
    if not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", arn, re.ASCII):
        raise validation("Request ARN is invalid")
    policies = read_policies(params, caller.principal.partition, call.state.managed_policies)
    packed = packed_size(params, tags)
    mfa_at = call.mfa()
    role = call.state.role(arn)
    context = _context(call, mfa_at, tags, source_identity)
    for action in _required_actions(tags, source_identity):
        if role is None or not _is_allowed(call, role, action, context):
            raise not_authorized(caller.arn, action, arn)
    # an unknown role was rejected above, with the message for a forbidden one
    assert role is not None  # noqa: S101
    new_session = call.state.add_session(
        role,
        _duration(call, role),
        name=params["RoleSessionName"],
        tags=tags,
        source_identity=source_identity,
        policies=policies,
        everywhere=caller.region not in GLOBAL,
        token_bytes=token_bytes(params, packed),
    )
    return credentials_result(new_session, params) | {
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


def _context(call: VerifiedCall, mfa_at: datetime | None, tags: Tags, source_identity: str) -> Context:
    """Return the condition keys of the call."""
    context = context_of(call, mfa_at)
    params: Mapping[str, str] = call.params
    if "ExternalId" in params:
        context["sts:externalid"] = params["ExternalId"]
    context["sts:rolesessionname"] = params["RoleSessionName"]
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


def _duration(call: VerifiedCall, role: Role) -> timedelta:
    """Return the session's duration: at most one hour for a caller with temporary credentials (role chaining,
    and GetSessionToken by aws-facts 4), otherwise at most the role's maximum."""
    seconds = int(call.params.get("DurationSeconds", DEFAULT_SECONDS))
    if seconds > role.max_session:
        raise validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if call.caller.session is not None and seconds > HOUR:
        raise validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role "
            "chaining."
        )
    return timedelta(seconds=seconds)
