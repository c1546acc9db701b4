"""Session tags: their limits, and transitive tags in role chaining."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyturn_sandbox.aws_errors import Refusal, invalid_input, validation
from keyturn_sandbox.services.parameters import list_members, structures

MAX_TAGS = 50
MAX_KEY, MAX_VALUE = 128, 256


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of a session. Keys keep their case."""

    values: Mapping[str, str]
    transitive: frozenset[str] = frozenset()
    """Lower-case keys of the tags that the next role session in a chain inherits."""

    def inherited(self) -> Tags:
        """Return the tags that the next session in a chain inherits."""
        values = {key: value for key, value in self.values.items() if key.lower() in self.transitive}
        return Tags(values, self.transitive)


NO_TAGS = Tags({})


def read_tags(params: Mapping[str, str], inherited: Tags) -> Tags:
    """Return the tags of the session that a call requests.

    :param before: transitive tags of the calling session.
    :raises Refusal: for tags that are too many, too long or duplicate, or that change an inherited tag.
    """
    passed = structures(params, "Tags", ("Key", "Value"))
    transitive = list_members(params, "TransitiveTagKeys")
    for member, number in (("tags", len(passed)), ("transitiveTagKeys", len(transitive))):
        if number > MAX_TAGS:
            raise validation(
                f"1 validation error detected: Value at '{member}' failed to satisfy constraint: "
                f"Member must have length less than or equal to {MAX_TAGS}"
            )
    faults = [fault for number, tag in enumerate(passed, 1) for fault in _faults(number, tag)]
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected"
        raise validation(f"{count}: {'; '.join(faults)}")
    keys = [tag["Key"].lower() for tag in passed]
    if len(set(keys)) != len(keys):
        raise _tag_error("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in keys):
        raise _tag_error("Tag keys beginning with aws: are reserved for AWS")
    if not {key.lower() for key in transitive} <= set(keys):
        raise _tag_error("The specified transitive tag key must be included in the requested tags.")
    if inherited.transitive & set(keys):
        raise _tag_error(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key "
            "from the calling session."
        )
    return Tags(
        {**inherited.values, **{tag["Key"]: tag["Value"] for tag in passed}},
        inherited.transitive | {key.lower() for key in transitive},
    )


def _tag_error(message: str) -> Refusal:
    """Return the error. STS's code for these cases is unknown; clients only display the message."""
    return invalid_input(message)


def _faults(number: int, tag: Mapping[str, str]) -> Sequence[str]:
    errors = []
    limits = (("Key", 1, MAX_KEY), ("Value", 0, MAX_VALUE))
    for name, minimum, maximum in limits:
        value = tag.get(name)
        constraint = f"at 'tags.{number}.member.{name.lower()}' failed to satisfy constraint: Member must"
        if value is None:
            errors.append(f"Value null {constraint} not be null")
            continue
        if not all(_is_tag_character(character) for character in value):
            errors.append(
                f"Value '{value}' {constraint} satisfy regular expression pattern: [\\p{{L}}\\p{{Z}}\\p{{N}}_.:/=+\\-@]*"
            )
        if len(value) < minimum:
            errors.append(f"Value '{value}' {constraint} have length greater than or equal to {minimum}")
        if len(value) > maximum:
            errors.append(f"Value '{value}' {constraint} have length less than or equal to {maximum}")
    return errors


def _is_tag_character(character: str) -> bool:
    """Return True for letters, separators and numbers of every script, and a few signs (service model)."""
    return character in "_.:/=+-@" or unicodedata.category(character)[0] in "LZN"
