"""Whether a role's trust policy lets a caller in.

Evaluated: Effect, Principal (AWS), Action, and the condition operators that trust policies of people's profiles use.
Anything else is refused when the role is defined, so that no rule is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "Condition"}


class Trust(Enum):
    """What a trust policy says of a caller."""

    NONE = "none"
    ACCOUNT = "account"
    """The caller's account is trusted: the caller needs a permission of its own besides."""
    DIRECT = "direct"
    """The caller is named: inside one account that is enough."""


def glob(text: str, pattern: str) -> bool:
    """Whether `text` fits an IAM pattern, in which `*` and `?` are the only wildcards and case counts."""
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text, re.DOTALL) is not None


def _matches_any(pattern: Callable[[str, str], bool]) -> Callable[[str, Sequence[str]], bool]:
    return lambda value, wanted: any(pattern(value, one) for one in wanted)


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, Sequence[str]], bool]:
    return _matches_any(lambda value, one: compare(float(value), float(one)))


_OPERATORS: Mapping[str, Callable[[str, Sequence[str]], bool]] = {
    "StringEquals": _matches_any(lambda value, one: value == one),
    "StringLike": _matches_any(glob),
    "Bool": _matches_any(lambda value, one: value.lower() == one.lower()),
    "NumericLessThan": _number(lambda value, one: value < one),
    "NumericLessThanEquals": _number(lambda value, one: value <= one),
}


def check_trust(statements: Sequence[Mapping[str, object]]) -> None:
    """Make sure that every part of a trust policy is evaluated here.

    :raises ValueError: naming the element or operator that is not.
    """
    for statement in statements:
        unknown = set(statement) - _ELEMENTS
        if unknown:
            raise ValueError(f"trust policy elements not evaluated here: {', '.join(sorted(unknown))}")
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise ValueError("a trust policy statement needs Effect Allow or Deny")
        blocks = statement.get("Condition", {})
        if not isinstance(blocks, Mapping) or not all(isinstance(keys, Mapping) for keys in blocks.values()):
            raise ValueError("a Condition maps operators to keys, and keys to values")
        for operator, _key, _wanted in _conditions(statement):
            if operator.removesuffix("IfExists") not in _OPERATORS:
                raise ValueError(f"condition operator not evaluated here: {operator}")


def trust_for(
    statements: Sequence[Mapping[str, object]],
    *,
    action: str,
    identities: Sequence[str],
    account: str,
    partition: str,
    context: Mapping[str, str],
) -> Trust:
    """What a trust policy says of a caller.

    :param action: for example `sts:AssumeRole`.
    :param identities: the ARNs that name the caller: the user's, or the role's and the role session's.
    :param account: the caller's account.
    :param context: condition keys present in the request; an absent key is absent here.
    """
    found = Trust.NONE
    for statement in statements:
        if not any(glob(action.lower(), one.lower()) for one in _texts(statement.get("Action"))):
            continue
        reach = _principal(statement.get("Principal"), identities, account, partition)
        if reach is Trust.NONE or not _holds(statement, context):
            continue
        if statement["Effect"] == "Deny":
            return Trust.NONE
        if found is not Trust.DIRECT:
            found = reach
    return found


def _principal(principal: object, identities: Sequence[str], account: str, partition: str) -> Trust:
    named = _texts(principal.get("AWS")) if isinstance(principal, Mapping) else _texts(principal)
    if "*" in named or any(one in identities for one in named):
        return Trust.DIRECT
    if account in named or f"arn:{partition}:iam::{account}:root" in named:
        return Trust.ACCOUNT
    return Trust.NONE


def _holds(statement: Mapping[str, object], context: Mapping[str, str]) -> bool:
    for operator, key, wanted in _conditions(statement):
        value = context.get(key.lower())
        if value is None:
            if operator.endswith("IfExists"):
                continue
            return False
        if not _OPERATORS[operator.removesuffix("IfExists")](value, wanted):
            return False
    return True


def _conditions(statement: Mapping[str, object]) -> list[tuple[str, str, list[str]]]:
    blocks = statement.get("Condition")
    return [
        (operator, key, _texts(wanted))
        for operator, keys in (blocks.items() if isinstance(blocks, Mapping) else ())
        if isinstance(keys, Mapping)
        for key, wanted in keys.items()
    ]


def _texts(value: object) -> list[str]:
    """A JSON value that may be one or a list, as the texts that IAM compares."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    return [str(value)]
