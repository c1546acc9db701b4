"""Session tags: their limits, and transitive tags in role chaining."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from keyturn_sandbox.aws_errors import invalid_input
from keyturn_sandbox.services.parameters import (
    Text,
    faults_at,
    list_members,
    refuse_faults,
    refuse_too_long,
    structures,
)

MAX_TAGS = 50


@dataclass(frozen=True, slots=True)
class _TagText(Text):
    """A part of a tag: letters, separators and numbers of every script, and a few signs (service model)."""

    def matches(self, value: str) -> bool:
        return all(
            character in "_.:/=+-@" or unicodedata.category(character)[0] in "LZN" for character in value
        )


_PATTERN = r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*"
_TAG = (_TagText("Key", _PATTERN, 1, 128, required=True), _TagText("Value", _PATTERN, 0, 256, required=True))


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
    refuse_too_long("tags", len(passed), MAX_TAGS)
    refuse_too_long("transitiveTagKeys", len(transitive), MAX_TAGS)
    refuse_faults(
        [
            fault
            for number, tag in enumerate(passed, 1)
            for rule in _TAG
            for fault in faults_at(f"tags.{number}.member.{rule.name.lower()}", rule, tag.get(rule.name))
        ]
    )
    # STS's code for the following cases is unknown; clients only display the message.
    keys = [tag["Key"].lower() for tag in passed]
    if len(set(keys)) != len(keys):
        raise invalid_input("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in keys):
        raise invalid_input("Tag keys beginning with aws: are reserved for AWS")
    if not {key.lower() for key in transitive} <= set(keys):
        raise invalid_input("The specified transitive tag key must be included in the requested tags.")
    if inherited.transitive & set(keys):
        raise invalid_input(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive "
            "tag key "
            "from the calling session."
        )
    return Tags(
        {**inherited.values, **{tag["Key"]: tag["Value"] for tag in passed}},
        inherited.transitive | {key.lower() for key in transitive},
    )
