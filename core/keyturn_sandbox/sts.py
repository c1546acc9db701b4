"""The Security Token Service: GetCallerIdentity, GetSessionToken, AssumeRole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from keyturn_sandbox.answers import Result
from keyturn_sandbox.asked import Asked, session_arn
from keyturn_sandbox.parameters import Text, Whole, check, structures
from keyturn_sandbox.policy import Trust, glob, trust_for
from keyturn_sandbox.refusals import access_denied, not_authorized, validation
from keyturn_sandbox.world import Role, Session

VERSION = "2011-06-15"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"

DEFAULT_USER_SECONDS = 43200
DEFAULT_ROLE_SECONDS = 3600
HOUR = 3600
"""All that root may have, and all that a role session may have if the caller's credentials are temporary."""

_SERIAL = Text("SerialNumber", r"[\w+=/:,.@-]*", 9, 256)
_CODE = Text("TokenCode", r"[\d]*", 6, 6)
_SESSION_TOKEN = (Whole("DurationSeconds", 900, 129600), _SERIAL, _CODE)
_ASSUME_ROLE = (
    Text("RoleArn", r"[\t\n\r\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD]+", 20, 2048, required=True),
    Text("RoleSessionName", r"[\w+=,.@-]*", 2, 64, required=True),
    Whole("DurationSeconds", 900, 43200),
    Text("ExternalId", r"[\w+=,.@:\/-]*", 2, 1224),
    Text("SourceIdentity", r"[\w+=,.@-]*", 2, 64),
    Text("Policy", r"[\t\n\r\u0020-\u00FF]+", 1, 2048),
    _SERIAL,
    _CODE,
)
_TAG_KEY = Text("Key", r"[\w\s.:/=+\-@]+", 1, 128, required=True)
_TAG_VALUE = Text("Value", r"[\w\s.:/=+\-@]*", 0, 256, required=True)


def get_caller_identity(asked: Asked) -> Result:
    """Who signed. Nobody needs a permission for it."""
    caller = asked.caller
    return {"UserId": caller.user_id, "Account": caller.principal.account, "Arn": caller.arn}


def get_session_token(asked: Asked) -> Result:
    """A session of the calling user, 15 minutes to 36 hours; root's is cut to an hour (service model)."""
    user = asked.caller.user
    if asked.caller.session is not None or user is None:
        raise access_denied("Cannot call GetSessionToken with session credentials")
    check(asked.params, _SESSION_TOKEN)
    proven = asked.mfa()
    seconds = int(asked.params.get("DurationSeconds", HOUR if user.is_root else DEFAULT_USER_SECONDS))
    if user.is_root:
        seconds = min(seconds, HOUR)
    session = asked.world.add_session(user, timedelta(seconds=seconds), mfa_at=proven)
    return {"Credentials": _credentials(session)}


def assume_role(asked: Asked) -> Result:
    """A session of a role."""
    caller, params = asked.caller, asked.params
    if caller.user is not None and caller.user.is_root:
        raise access_denied("Roles may not be assumed by root accounts.")
    check(params, _ASSUME_ROLE)
    for tag in structures(params, "Tags", ("Key", "Value")):
        check(tag, (_TAG_KEY, _TAG_VALUE))
    if params.get("SourceIdentity", "").startswith("aws:"):
        raise validation("SourceIdentity must not start with 'aws:'")
    arn = params["RoleArn"]
    if not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", arn, re.ASCII):
        raise validation("Request ARN is invalid")
    proven = asked.mfa()
    role = asked.world.role(arn)
    for action in _actions(params):
        if role is None or not _may(asked, role, action, proven):
            raise not_authorized(caller.arn, action, arn)
    assert role is not None  # noqa: S101  # an unknown role was refused above, in the words for a forbidden one
    session = asked.world.add_session(role, _role_life(asked, role), name=params["RoleSessionName"])
    return {
        "Credentials": _credentials(session),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.role_id}:{session.name}",
            "Arn": session_arn(role, session.name),
        },
        "SourceIdentity": params.get("SourceIdentity"),
    }


def _actions(params: Mapping[str, str]) -> list[str]:
    """What the call needs to be allowed: session tags and a source identity are permissions of their own."""
    actions = ["sts:AssumeRole"]
    if any(name.startswith("Tags.") for name in params):
        actions.append("sts:TagSession")
    if "SourceIdentity" in params:
        actions.append("sts:SetSourceIdentity")
    return actions


def _may(asked: Asked, role: Role, action: str, proven: datetime | None) -> bool:
    """Whether the role's trust policy and, where that only trusts the account or the account is another one, the
    caller's own permissions allow `action`."""
    who = asked.caller.principal
    if who.partition != role.partition:
        return False
    trust = trust_for(
        role.trust,
        action=action,
        identities=asked.caller.identities,
        account=who.account,
        partition=who.partition,
        context=_context(asked, proven),
    )
    if trust is Trust.NONE:
        return False
    if trust is Trust.DIRECT and who.account == role.account:
        return True
    return any(glob(role.arn, pattern) for pattern in who.may_assume)


def _context(asked: Asked, proven: datetime | None) -> dict[str, str]:
    """The condition keys of the call. `aws:MultiFactorAuthPresent` is absent for a long-term key without MFA, false
    for temporary credentials without it, and role credentials never carry it on."""
    context = {}
    external_id = asked.params.get("ExternalId")
    if external_id is not None:
        context["sts:externalid"] = external_id
    context["sts:rolesessionname"] = asked.params["RoleSessionName"]
    since = proven or asked.caller.mfa_at
    if since is not None:
        context["aws:multifactorauthpresent"] = "true"
        context["aws:multifactorauthage"] = str(int((asked.now - since).total_seconds()))
    elif asked.caller.session is not None:
        context["aws:multifactorauthpresent"] = "false"
    return context


def _role_life(asked: Asked, role: Role) -> timedelta:
    """How long the session lives: an hour at most for a caller with temporary credentials (chaining, and by aws-facts
    4 GetSessionToken too), else the role's maximum."""
    seconds = int(asked.params.get("DurationSeconds", DEFAULT_ROLE_SECONDS))
    if seconds > role.max_session:
        raise validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
    if asked.caller.session is not None and seconds > HOUR:
        raise validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
        )
    return timedelta(seconds=seconds)


def _credentials(session: Session) -> Result:
    return {
        "AccessKeyId": session.key_id,
        "SecretAccessKey": session.secret,
        "SessionToken": session.token,
        "Expiration": session.expires,
    }


ACTIONS: Mapping[str, Callable[[Asked], Result | None]] = {
    "GetCallerIdentity": get_caller_identity,
    "GetSessionToken": get_session_token,
    "AssumeRole": assume_role,
}
