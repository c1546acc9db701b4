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
        constraints = (
            (self.matches(value), f"satisfy regular expression pattern: {self.pattern}"),
            (len(value) >= self.minimum, f"have length greater than or equal to {self.minimum}"),
            (len(value) <= self.maximum, f"have length less than or equal to {self.maximum}"),
        )
        return [f"Member must {constraint}" for is_met, constraint in constraints if not is_met]

    def matches(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value, re.ASCII) is not None


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
    refuse_faults(
        [
            fault
            for rule in rules
            for fault in faults_at(rule.name[0].lower() + rule.name[1:], rule, params.get(rule.name))
        ]
    )


def faults_at(member: str, rule: Rule, value: str | None) -> list[str]:
    """Return AWS's text for each fault of the value of `member`; None is an absent value."""
    if value is None:
        shown, faults = "null", ["Member must not be null"] if rule.required else []
    else:
        shown, faults = f"'{value}'", rule.faults(value)
    return [f"Value {shown} at '{member}' failed to satisfy constraint: {fault}" for fault in faults]


def refuse_too_long(member: str, length: int, maximum: int) -> None:
    """Check the length of a list, or of several values together.

    :raises Refusal: `ValidationError` if it is more than `maximum`.
    """
    constraint = f"failed to satisfy constraint: Member must have length less than or equal to {maximum}"
    refuse_faults([f"Value at '{member}' {constraint}"] if length > maximum else [])


def refuse_faults(faults: Sequence[str]) -> None:
    """Raise the refusal that lists `faults`, if there are any.

    :raises Refusal: `ValidationError`.
    """
    if faults:
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected"
        raise validation(f"{count}: {'; '.join(faults)}")


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
