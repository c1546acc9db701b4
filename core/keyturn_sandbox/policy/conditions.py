"""Condition block of a policy: operators, condition keys of a request, and policy variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

Context = Mapping[str, str | tuple[str, ...]]
"""Condition keys of a request, in lower case; a key that is not in the request is absent. A tuple is a
multivalued key, such as `aws:TagKeys`."""

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
    """Return True if `text` matches an IAM pattern: case-sensitive, with the wildcards `*` and `?` only."""
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text, re.DOTALL) is not None


def filled(pattern: str, context: Context) -> str | None:
    """Return `pattern` with its policy variables (`${aws:username}`) replaced, or None if the request lacks
    one of them."""
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
    """Return seconds since 1970 of a Unix time or an ISO 8601 date."""
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
    """Check that a condition operator is implemented.

    :raises ValueError: if it is not, with its name.
    """
    _, name, _ = _parts(operator)
    if name != "Null" and name not in _TESTS and name not in _NEGATED:
        raise ValueError(f"condition operator not evaluated here: {operator}")


def condition_holds(operator: str, key: str, wanted: Sequence[str], context: Context) -> bool:
    """Return True if one line of a condition block matches a request, by the rules of the IAM reference: an
    absent key does not match, unless the operator is negated, ends in `IfExists` or is `ForAllValues`."""
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
    """Return the set operator (`ForAllValues`, `ForAnyValue` or empty), the operator's name, and True if it
    ends in `IfExists`."""
    every, _, name = operator.rpartition(":")
    if every not in ("", "ForAllValues", "ForAnyValue"):
        name = operator
    return every, name.removesuffix("IfExists"), name.endswith("IfExists")
