"""Options of the session that a call requests: policies that limit it, and tags."""

from __future__ import annotations

import json
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyturn_sandbox.aws_errors import invalid_input, malformed_policy, packed_too_large, validation
from keyturn_sandbox.policy.policy import Statement, check_permissions
from keyturn_sandbox.services.parameters import (
    Text,
    faults_at,
    list_members,
    refuse_faults,
    refuse_too_long,
    structures,
)

MAX_ARNS = 10
MAX_CHARACTERS = 2048
"""Of the policy and the ARNs together."""
PACKED_BYTES = 1024
"""AWS's packed format of policies and tags is not public. Here they are deflated and must fit this size, so
that, as with AWS, a policy within 2048 characters may still be too large."""
MAX_TAGS = 50

_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_READ_ONLY = {"Effect": "Allow", "Action": ["*:Get*", "*:List*", "*:Describe*"], "Resource": "*"}
#: AWS managed policies, the same in every account.
AWS_MANAGED: Mapping[str, tuple[Statement, ...]] = {
    "AdministratorAccess": (_ALL,),
    "ReadOnlyAccess": (_READ_ONLY,),
    "IAMReadOnlyAccess": ({"Effect": "Allow", "Action": ["iam:Get*", "iam:List*"], "Resource": "*"},),
}


def read_policies(
    params: Mapping[str, str], partition: str, own: Mapping[str, Sequence[Statement]]
) -> tuple[Statement, ...] | None:
    """Return the session policies of a call, inline and managed ones combined, or None if it has none.

    :param own: customer managed policies of the account, by ARN.
    :raises Refusal: `MalformedPolicyDocument` or `ValidationError`.
    """
    inline, arns = params.get("Policy"), policy_arns(params)
    if inline is None and not arns:
        return None
    refuse_too_long("policyArns", len(arns), MAX_ARNS)
    refuse_too_long("policy", len(inline or "") + sum(map(len, arns)), MAX_CHARACTERS)
    statements: list[Statement] = [] if inline is None else list(statements_of(inline))
    for arn in arns:
        name = arn.removeprefix(f"arn:{partition}:iam::aws:policy/")
        managed = own.get(arn) or AWS_MANAGED.get(name)
        if managed is None:
            raise validation(f"Policy {arn} does not exist or is not attachable.")
        statements += managed
    return tuple(statements)


def policy_arns(params: Mapping[str, str]) -> list[str]:
    """Return the ARNs of the managed policies in a call."""
    return [structure["arn"] for structure in structures(params, "PolicyArns", ("arn",))]


def statements_of(text: str) -> tuple[Statement, ...]:
    """Return the statements of a policy document.

    :raises Refusal: `MalformedPolicyDocument`, also for elements that are not implemented.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise malformed_policy("This policy contains invalid Json") from None
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if (
        not isinstance(statements, list)
        or not statements
        or not all(isinstance(statement, dict) for statement in statements)
        or document.get("Version", "2008-10-17") not in ("2008-10-17", "2012-10-17")
    ):
        raise malformed_policy("Syntax errors in policy.")
    try:
        check_permissions(statements)
    except ValueError:
        raise malformed_policy("Syntax errors in policy.") from None
    return tuple(statements)


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

    :param inherited: transitive tags of the calling session.
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


def packed_size(params: Mapping[str, str], tags: Tags) -> int | None:
    """Return how much of the packed size limit policies and tags use, in percent, or None if there are none.

    :raises Refusal: `PackedPolicyTooLarge` above 100.
    """
    parts = [params.get("Policy", ""), *policy_arns(params), *(f"{k}={v}" for k, v in tags.values.items())]
    plain = "\n".join(part for part in parts if part).encode("utf-8")
    if not plain:
        return None
    percent = max(1, len(zlib.compress(plain, 9)) * 100 // PACKED_BYTES)
    if percent > 100:
        raise packed_too_large(percent)
    return percent
