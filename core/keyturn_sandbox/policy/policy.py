"""Evaluation of policies: trust policies of roles, identity policies and session policies.

Elements that are not implemented are rejected when a policy is defined, so that no rule is silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from keyturn_sandbox.policy.conditions import (
    Context,
    check_operator,
    condition_matches,
    expand_variables,
    glob,
)

Statement = Mapping[str, object]

_COMMON = {"Sid", "Effect", "Action", "NotAction", "Condition"}
_TRUST = _COMMON | {"Principal"}
_IDENTITY = _COMMON | {"Resource", "NotResource"}


class Trust(Enum):
    """Result of evaluating a trust policy for a caller."""

    NONE = "none"
    ACCOUNT = "account"
    """The caller's account is trusted; the caller also needs an identity policy that allows it."""
    DIRECT = "direct"
    """The caller is named, which is sufficient within one account."""


class Verdict(Enum):
    """Result of evaluating policies for an action."""

    ALLOWED = "allowed"
    SILENT = "silent"
    """No statement allows it (implicit deny)."""
    DENIED = "denied"
    """A statement denies it (explicit deny), which overrides every allow."""


def check_trust(statements: Sequence[Statement]) -> None:
    """Check that every part of a trust policy is implemented.

    :raises ValueError: if an element or operator is not, with its name.
    """
    for statement in statements:
        _check(statement, _TRUST, "trust")


def check_permissions(statements: Sequence[Statement]) -> None:
    """Check that every part of an identity or session policy is implemented.

    :raises ValueError: if an element or operator is not, with its name.
    """
    for statement in statements:
        _check(statement, _IDENTITY, "permissions")
        if ("Action" in statement) == ("NotAction" in statement):
            raise ValueError("a permissions policy statement needs Action or NotAction")
        if ("Resource" in statement) == ("NotResource" in statement):
            raise ValueError("a permissions policy statement needs Resource or NotResource")


def _check(statement: Statement, elements: set[str], kind: str) -> None:
    unknown = set(statement) - elements
    if unknown:
        raise ValueError(f"{kind} policy elements not implemented: {', '.join(sorted(unknown))}")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise ValueError(f"a {kind} policy statement needs Effect Allow or Deny")
    blocks = statement.get("Condition", {})
    if not isinstance(blocks, Mapping) or not all(isinstance(keys, Mapping) for keys in blocks.values()):
        raise ValueError("a Condition maps operators to keys, and keys to values")
    for operator, _key, _expected in _conditions(statement):
        check_operator(operator)


def trust_for(
    statements: Sequence[Statement],
    *,
    action: str,
    identities: Sequence[str],
    account: str,
    partition: str,
    context: Context,
) -> Trust:
    """Evaluate a trust policy for a caller.

    :param action: for example `sts:AssumeRole`.
    :param identities: the ARNs that name the caller: the user's, or the role's and the role session's.
    :param account: the caller's account.
    :param context: condition keys of the request; absent keys are not included.
    """
    result = Trust.NONE
    for statement in statements:
        if not _matches_action(statement, action):
            continue
        trust = _principal(statement.get("Principal"), identities, account, partition)
        if trust is Trust.NONE or not _conditions_match(statement, context):
            continue
        if statement["Effect"] == "Deny":
            return Trust.NONE
        if result is not Trust.DIRECT:
            result = trust
    return result


def verdict_for(statements: Sequence[Statement], *, action: str, resource: str, context: Context) -> Verdict:
    """Evaluate identity or session policies for `action` on the ARN `resource`."""
    effects = {
        statement["Effect"]
        for statement in statements
        if _matches_action(statement, action)
        and _matches_resource(statement, resource, context)
        and _conditions_match(statement, context)
    }
    if "Deny" in effects:
        return Verdict.DENIED
    return Verdict.ALLOWED if effects else Verdict.SILENT


def _matches_action(statement: Statement, action: str) -> bool:
    def matches(element: str) -> bool:
        return any(glob(action.lower(), one.lower()) for one in texts(statement.get(element)))

    return matches("Action") if "NotAction" not in statement else not matches("NotAction")


def _matches_resource(statement: Statement, resource: str, context: Context) -> bool:
    def matches(element: str) -> bool:
        patterns = (expand_variables(one, context) for one in texts(statement.get(element)))
        return any(pattern is not None and glob(resource, pattern) for pattern in patterns)

    return matches("Resource") if "NotResource" not in statement else not matches("NotResource")


def _principal(principal: object, identities: Sequence[str], account: str, partition: str) -> Trust:
    names = texts(principal.get("AWS")) if isinstance(principal, Mapping) else texts(principal)
    if "*" in names or any(one in identities for one in names):
        return Trust.DIRECT
    if account in names or f"arn:{partition}:iam::{account}:root" in names:
        return Trust.ACCOUNT
    return Trust.NONE


def _conditions_match(statement: Statement, context: Context) -> bool:
    return all(
        condition_matches(operator, key, expected, context)
        for operator, key, expected in _conditions(statement)
    )


def _conditions(statement: Statement) -> list[tuple[str, str, list[str]]]:
    blocks = statement.get("Condition")
    return [
        (operator, key, texts(expected))
        for operator, keys in (blocks.items() if isinstance(blocks, Mapping) else ())
        if isinstance(keys, Mapping)
        for key, expected in keys.items()
    ]


def texts(value: object) -> list[str]:
    """Return a JSON value, which may be a scalar or a list, as the list of texts that IAM compares."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [text for one in value for text in texts(one)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(value)]
