"""Parameters of a call: types and limits of the service models, and AWS's message for invalid values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyturn_sandbox.aws_errors import validation


@dataclass(frozen=True, slots=True)
class Text:
    """A text parameter: its wire name, pattern (ASCII classes, full match) and length."""

    name: str
    pattern: str
    least: int
    most: int
    required: bool = False

    def faults(self, value: str) -> list[str]:
        found = []
        if not re.fullmatch(self.pattern, value, re.ASCII):
            found.append(f"Member must satisfy regular expression pattern: {self.pattern}")
        if len(value) < self.least:
            found.append(f"Member must have length greater than or equal to {self.least}")
        if len(value) > self.most:
            found.append(f"Member must have length less than or equal to {self.most}")
        return found


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer parameter."""

    name: str
    least: int
    most: int
    required: bool = False

    def faults(self, value: str) -> list[str]:
        if not re.fullmatch(r"-?\d{1,12}", value, re.ASCII):
            return ["Member must be a whole number"]
        if int(value) < self.least:
            return [f"Member must have value greater than or equal to {self.least}"]
        if int(value) > self.most:
            return [f"Member must have value less than or equal to {self.most}"]
        return []


@dataclass(frozen=True, slots=True)
class Choice:
    """An enumeration parameter."""

    name: str
    words: tuple[str, ...]
    required: bool = False

    def faults(self, value: str) -> list[str]:
        return (
            [] if value in self.words else [f"Member must satisfy enum value set: [{', '.join(self.words)}]"]
        )


Rule = Text | Whole | Choice


def check(params: Mapping[str, str], rules: Sequence[Rule]) -> None:
    """Validate `params`.

    :raises Refusal: `ValidationError` that lists every fault as AWS does.
    """
    faults = []
    for rule in rules:
        value = params.get(rule.name)
        member = rule.name[0].lower() + rule.name[1:]
        if value is None:
            if rule.required:
                faults.append(
                    f"Value null at '{member}' failed to satisfy constraint: Member must not be null"
                )
            continue
        faults += [
            f"Value '{value}' at '{member}' failed to satisfy constraint: {fault}"
            for fault in rule.faults(value)
        ]
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected"
        raise validation(f"{count}: {'; '.join(faults)}")


def structures(params: Mapping[str, str], name: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """Return the structures of a list parameter, `NAME.member.1.FIELD` and so on, in order."""
    found: list[dict[str, str]] = []
    while True:
        prefix = f"{name}.member.{len(found) + 1}."
        one = {field: params[prefix + field] for field in fields if prefix + field in params}
        if not one:
            return found
        found.append(one)


def listed(params: Mapping[str, str], name: str) -> list[str]:
    """Return the members of a list parameter, `NAME.member.1` and so on, in order."""
    found: list[str] = []
    while f"{name}.member.{len(found) + 1}" in params:
        found.append(params[f"{name}.member.{len(found) + 1}"])
    return found
