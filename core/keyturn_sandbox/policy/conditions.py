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
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def expand_variables(pattern: str, context: Context) -> str | None:
    """Return `pattern` with its policy variables (`${aws:username}`) replaced, or None if the request lacks
    one of them."""
    names = set(_VARIABLE.findall(pattern))
    values = {name: name if name in ("*", "?", "$") else context.get(name.lower()) for name in names}
    if not all(isinstance(value, str) for value in values.values()):
        return None
    return _VARIABLE.sub(lambda match: str(values[match[1]]), pattern)


def _comparison(
    read: Callable[[str], float], compare: Callable[[float, float], bool]
) -> Callable[[str, str], bool]:
    def compare_texts(value: str, expected: str) -> bool:
        try:
            return compare(read(value), read(expected))
        except (ValueError, OverflowError):
            return False

    return compare_texts


def _timestamp(text: str) -> float:
    """Return seconds since 1970 of a Unix time or an ISO 8601 date."""
    if re.fullmatch(r"\d{1,12}", text, re.ASCII):
        return float(text)
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, one: value == one,
    "StringEqualsIgnoreCase": lambda value, one: value.lower() == one.lower(),
    "StringLike": glob,
    "ArnEquals": glob,
    "ArnLike": glob,
    "Bool": lambda value, one: value.lower() == one.lower(),
    "NumericEquals": _comparison(float, lambda value, one: value == one),
    "NumericLessThan": _comparison(float, lambda value, one: value < one),
    "NumericLessThanEquals": _comparison(float, lambda value, one: value <= one),
    "NumericGreaterThan": _comparison(float, lambda value, one: value > one),
    "NumericGreaterThanEquals": _comparison(float, lambda value, one: value >= one),
    "DateLessThan": _comparison(_timestamp, lambda value, one: value < one),
    "DateLessThanEquals": _comparison(_timestamp, lambda value, one: value <= one),
    "DateGreaterThan": _comparison(_timestamp, lambda value, one: value > one),
    "DateGreaterThanEquals": _comparison(_timestamp, lambda value, one: value >= one),
}


def check_operator(operator: str) -> None:
    """Check that a condition operator is implemented.

    :raises ValueError: if it is not, with its name.
    """
    _, name, _ = _parts(operator)
    if name != "Null" and name not in _TESTS and name not in _NEGATED:
        raise ValueError(f"condition operator not implemented: {operator}")


def condition_matches(operator: str, key: str, expected: Sequence[str], context: Context) -> bool:
    """Return True if one line of a condition block matches a request, by the rules of the IAM reference: an
    absent key does not match, unless the operator is negated, ends in `IfExists` or is `ForAllValues`."""
    set_operator, name, if_exists = _parts(operator)
    value_or_values = context.get(key.lower())
    if name == "Null":
        return (value_or_values is None) == any(one.lower() == "true" for one in expected)
    if value_or_values is None:
        return if_exists or set_operator == "ForAllValues" or (not set_operator and name in _NEGATED)
    values = (value_or_values,) if isinstance(value_or_values, str) else value_or_values
    test = _TESTS[_NEGATED.get(name, name)]
    patterns = [text for one in expected if (text := expand_variables(one, context)) is not None]
    matches = [any(test(value, one) for one in patterns) is not (name in _NEGATED) for value in values]
    return (
        all(matches)
        if set_operator == "ForAllValues" or (not set_operator and name in _NEGATED)
        else any(matches)
    )


def _parts(operator: str) -> tuple[str, str, bool]:
    """Return the set operator (`ForAllValues`, `ForAnyValue` or empty), the operator's name, and True if it
    ends in `IfExists`."""
    set_operator, _, name = operator.rpartition(":")
    if set_operator not in ("", "ForAllValues", "ForAnyValue"):
        name = operator
    return set_operator, name.removesuffix("IfExists"), name.endswith("IfExists")
