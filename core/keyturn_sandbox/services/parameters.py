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
    minimum: int
    maximum: int
    required: bool = False

    def faults(self, value: str) -> list[str]:
        faults = []
        if not re.fullmatch(self.pattern, value, re.ASCII):
            faults.append(f"Member must satisfy regular expression pattern: {self.pattern}")
        if len(value) < self.minimum:
            faults.append(f"Member must have length greater than or equal to {self.minimum}")
        if len(value) > self.maximum:
            faults.append(f"Member must have length less than or equal to {self.maximum}")
        return faults


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer parameter."""

    name: str
    minimum: int
    maximum: int
    required: bool = False

    def faults(self, value: str) -> list[str]:
        if not re.fullmatch(r"-?\d{1,12}", value, re.ASCII):
            return ["Member must be a whole number"]
        if int(value) < self.minimum:
            return [f"Member must have value greater than or equal to {self.minimum}"]
        if int(value) > self.maximum:
            return [f"Member must have value less than or equal to {self.maximum}"]
        return []


@dataclass(frozen=True, slots=True)
class Choice:
    """An enumeration parameter."""

    name: str
    values: tuple[str, ...]
    required: bool = False

    def faults(self, value: str) -> list[str]:
        return (
            []
            if value in self.values
            else [f"Member must satisfy enum value set: [{', '.join(self.values)}]"]
        )


Rule = Text | Integer | Choice


def check(params: Mapping[str, str], rules: Sequence[Rule]) -> None:
    """Validate `params`.

    :raises Refusal: `ValidationError` that lists every fault as AWS does.
    """
    errors = []
    for rule in rules:
        value = params.get(rule.name)
        member = rule.name[0].lower() + rule.name[1:]
        if value is None:
            if rule.required:
                errors.append(
                    f"Value null at '{member}' failed to satisfy constraint: Member must not be null"
                )
            continue
        errors += [
            f"Value '{value}' at '{member}' failed to satisfy constraint: {fault}"
            for fault in rule.faults(value)
        ]
    if errors:
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''} detected"
        raise validation(f"{count}: {'; '.join(errors)}")


def structures(params: Mapping[str, str], name: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """Return the structures of a list parameter, `NAME.member.1.FIELD` and so on, in order."""
    members: list[dict[str, str]] = []
    while True:
        prefix = f"{name}.member.{len(members) + 1}."
        structure = {field: params[prefix + field] for field in fields if prefix + field in params}
        if not structure:
            return members
        members.append(structure)


def list_members(params: Mapping[str, str], name: str) -> list[str]:
    """Return the members of a list parameter, `NAME.member.1` and so on, in order."""
    members: list[str] = []
    while f"{name}.member.{len(members) + 1}" in params:
        members.append(params[f"{name}.member.{len(members) + 1}"])
    return members
