"""Permissions of a caller: its identity policies, limited by its session policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyturn_sandbox.aws_errors import not_authorized
from keyturn_sandbox.eventual_consistency import visible
from keyturn_sandbox.policy.conditions import Context
from keyturn_sandbox.policy.policy import Statement, Verdict, verdict_for
from keyturn_sandbox.policy.principals import Origin, Role, User
from keyturn_sandbox.verified_call import Caller, VerifiedCall

_OWN_USER = ["arn:*:iam::*:user/${aws:username}", "arn:*:iam::*:user/*/${aws:username}"]
_OWN_KEYS: Statement = {
    "Effect": "Allow",
    "Action": [
        "iam:CreateAccessKey",
        "iam:DeleteAccessKey",
        "iam:UpdateAccessKey",
        "iam:ListAccessKeys",
        "iam:GetAccessKeyLastUsed",
        "iam:GetUser",
        "iam:ListMFADevices",
    ],
    "Resource": _OWN_USER,
}
_ALL_IAM: Statement = {"Effect": "Allow", "Action": "iam:*", "Resource": "*"}
_NEEDS_MFA: Statement = {
    "Effect": "Deny",
    "NotAction": ["iam:ListMFADevices", "iam:GetUser", "sts:GetSessionToken"],
    "Resource": "*",
    "Condition": {"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}},
}
"""The policy of the IAM User Guide for users who manage their own credentials. `BoolIfExists` counts an
absent key as a match, so a long-term key is denied just like a session without MFA."""


def _revocation(before: datetime) -> Statement:
    """Return the statement of the policy `AWSRevokeOlderSessions`, which the console attaches to end the
    sessions of a role (IAM User Guide, "Revoke IAM role temporary security credentials"). A long-term key has
    no `aws:TokenIssueTime`, so it is not denied.
    """
    condition = {"DateLessThan": {"aws:TokenIssueTime": before.isoformat()}}
    return {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}


@dataclass(frozen=True, slots=True)
class Decision:
    """Result of policy evaluation, with AWS's explanation of a denial."""

    verdict: Verdict
    reason: str
    """Clause at the end of AWS's message."""

    @property
    def allows(self) -> bool:
        return self.verdict is Verdict.ALLOWED


def decide(call: VerifiedCall, action: str, resource: str, context: Context) -> Decision:
    """Evaluate `action` on the ARN `resource` for the caller. An explicit deny wins; otherwise the identity
    policies and, if the session has any, the session policies must both allow it."""
    caller, session = call.caller, call.caller.session
    layers: dict[str, Sequence[Statement]] = {}
    if caller.user is None or not caller.user.is_root:
        layers["identity-based"] = _statements(caller.principal, call.now)
    if session is not None and (session.policies is not None or session.origin is Origin.FEDERATION_TOKEN):
        # GetFederationToken without a session policy gives no permission at all (STS API reference).
        layers["session"] = session.policies or ()
    verdicts = {
        verdict_for(statements, action=action, resource=resource, context=context): kind
        for kind, statements in reversed(layers.items())
    }
    if kind := verdicts.get(Verdict.DENIED):
        article = "an" if kind == "identity-based" else "a"
        return Decision(Verdict.DENIED, f"with an explicit deny in {article} {kind} policy")
    if kind := verdicts.get(Verdict.SILENT):
        return Decision(Verdict.SILENT, f"because no {kind} policy allows the {action} action")
    return Decision(Verdict.ALLOWED, "")


def require_permission(call: VerifiedCall, action: str, resource: str, shown: str = "") -> None:
    """Check that the caller may call `action` on the ARN `resource`.

    :param shown: the resource in AWS's message, if it is not the ARN.
    :raises Refusal: `AccessDenied`.
    """
    decision = decide(call, action, resource, context_of(call))
    if not decision.allows:
        raise not_authorized(call.caller.arn, action, shown or resource, decision.reason)


def context_of(call: VerifiedCall, mfa_at: datetime | None = None) -> dict[str, str | tuple[str, ...]]:
    """Return the condition keys that every call has.

    `aws:MultiFactorAuthPresent` is absent for a long-term key without MFA and false for temporary credentials
    without it; role credentials never inherit it.

    :param mfa_at: time of MFA, if this call provided it.
    """
    caller = call.caller
    keys: dict[str, str | tuple[str, ...]] = {
        "aws:principalarn": caller.principal.arn,
        "aws:principalaccount": caller.principal.account,
        "aws:userid": caller.user_id,
        "aws:currenttime": call.now.isoformat(),
        "aws:epochtime": str(int(call.now.timestamp())),
        "aws:requestedregion": caller.region,
        "aws:securetransport": "true",
    }
    if caller.user_name:
        keys["aws:username"] = caller.user_name
    session = caller.session
    if session is not None:
        keys["aws:tokenissuetime"] = session.issued.isoformat()
        if session.source_identity:
            keys["aws:sourceidentity"] = session.source_identity
    for key, value in _principal_tags(caller).items():
        keys[f"aws:principaltag/{key}".lower()] = value
    mfa_time = mfa_at or (session.mfa_at if session else None)
    if mfa_time is not None:
        keys["aws:multifactorauthpresent"] = "true"
        keys["aws:multifactorauthage"] = str(int((call.now - mfa_time).total_seconds()))
    elif session is not None:
        keys["aws:multifactorauthpresent"] = "false"
    return keys


def _principal_tags(caller: Caller) -> Mapping[str, str]:
    """Return the tags of the user or role, overridden by session tags regardless of case."""
    tags = {key.lower(): value for key, value in caller.principal.tags.items()}
    if caller.session is not None:
        tags |= {key.lower(): value for key, value in caller.session.tags.values.items()}
    return tags


def _statements(principal: User | Role, now: datetime) -> list[Statement]:
    """Return the identity policies of a user or role, as propagated by `now`."""
    statements: list[Statement] = []
    if isinstance(principal, User):
        attached = visible(principal.change, principal.policies, now)
        statements += (_OWN_KEYS,) if attached is None else attached
        if principal.iam_needs_mfa:
            statements.append(_NEEDS_MFA)
    else:
        statements += principal.policies
    revoked_before = visible(principal.revocation_change, principal.revoked_before, now)
    if revoked_before is not None:
        statements.append(_revocation(revoked_before))
    if principal.iam_admin:
        statements.append(_ALL_IAM)
    if principal.may_assume:
        actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        statements.append({"Effect": "Allow", "Action": actions, "Resource": principal.may_assume})
    return statements
