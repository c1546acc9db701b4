"""The condition block of a policy: operators, condition keys of a request, and policy variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

Context = Mapping[str, str | tuple[str, ...]]
"""The condition keys of a request, lower case; a key that the request lacks is absent here. A tuple is a key of many
values, such as `aws:TagKeys`."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnLike",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


def glob(text: str, pattern: str) -> bool:
    """Whether `text` fits an IAM pattern, in which `*` and `?` are the only wildcards and case counts."""
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text, re.DOTALL) is not None


def filled(pattern: str, context: Context) -> str | None:
    """`pattern` with its policy variables (`${aws:username}`) replaced; None if the request lacks one of them."""
    lacking = False

    def value(match: re.Match[str]) -> str:
        nonlocal lacking
        found = match[1] if match[1] in ("*", "?", "$") else context.get(match[1].lower())
        lacking = lacking or not isinstance(found, str)
        return found if isinstance(found, str) else ""

    text = _VARIABLE.sub(value, pattern)
    return None if lacking else text


def _compared(
    read: Callable[[str], float], compare: Callable[[float, float], bool]
) -> Callable[[str, str], bool]:
    def holds(value: str, one: str) -> bool:
        try:
            return compare(read(value), read(one))
        except (ValueError, OverflowError):
            return False

    return holds


def _moment(text: str) -> float:
    """Seconds since 1970, from those or from ISO 8601."""
    if re.fullmatch(r"\d{1,12}", text, re.ASCII):
        return float(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, one: value == one,
    "StringEqualsIgnoreCase": lambda value, one: value.lower() == one.lower(),
    "StringLike": glob,
    "ArnEquals": glob,
    "ArnLike": glob,
    "Bool": lambda value, one: value.lower() == one.lower(),
    "NumericEquals": _compared(float, lambda value, one: value == one),
    "NumericLessThan": _compared(float, lambda value, one: value < one),
    "NumericLessThanEquals": _compared(float, lambda value, one: value <= one),
    "NumericGreaterThan": _compared(float, lambda value, one: value > one),
    "NumericGreaterThanEquals": _compared(float, lambda value, one: value >= one),
    "DateLessThan": _compared(_moment, lambda value, one: value < one),
    "DateLessThanEquals": _compared(_moment, lambda value, one: value <= one),
    "DateGreaterThan": _compared(_moment, lambda value, one: value > one),
    "DateGreaterThanEquals": _compared(_moment, lambda value, one: value >= one),
}


def check_operator(operator: str) -> None:
    """Make sure that a condition operator is evaluated here.

    :raises ValueError: naming it, if it is not.
    """
    _, name, _ = _parts(operator)
    if name != "Null" and name not in _TESTS and name not in _NEGATED:
        raise ValueError(f"condition operator not evaluated here: {operator}")


def condition_holds(operator: str, key: str, wanted: Sequence[str], context: Context) -> bool:
    """Whether one line of a condition block holds for a request, as the IAM reference has it: an absent key fails the
    line, unless the operator is negated, ends in `IfExists` or asks for all values."""
    every, name, if_exists = _parts(operator)
    found = context.get(key.lower())
    if name == "Null":
        return (found is None) == any(one.lower() == "true" for one in wanted)
    if found is None:
        return if_exists or every == "ForAllValues" or (not every and name in _NEGATED)
    values = (found,) if isinstance(found, str) else found
    test = _TESTS[_NEGATED.get(name, name)]
    ready = [text for one in wanted if (text := filled(one, context)) is not None]
    hits = [any(test(value, one) for one in ready) is not (name in _NEGATED) for value in values]
    return all(hits) if every == "ForAllValues" or (not every and name in _NEGATED) else any(hits)


def _parts(operator: str) -> tuple[str, str, bool]:
    """`ForAllValues` or `ForAnyValue` or nothing, the operator's own name, and whether it ends in `IfExists`."""
    every, _, name = operator.rpartition(":")
    if every not in ("", "ForAllValues", "ForAnyValue"):
        name = operator
    return every, name.removesuffix("IfExists"), name.endswith("IfExists")
