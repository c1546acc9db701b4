"""Session policies: what a call passes to narrow the session that it asks for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

from keyturn_sandbox.aws_errors import malformed_policy, packed_too_large, validation
from keyturn_sandbox.policy.policy import Statement, check_permissions
from keyturn_sandbox.services.parameters import structures
from keyturn_sandbox.services.session_tags import Tags

MOST_ARNS = 10
MOST_CHARACTERS = 2048
"""Of the policy and the ARNs together."""
PACKED_BYTES = 1024
"""How AWS packs policies and tags is its own secret: here they are deflated into a place of this size, so that a policy
within 2048 characters may still be too large, as there."""

_ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_READ = {"Effect": "Allow", "Action": ["*:Get*", "*:List*", "*:Describe*"], "Resource": "*"}
#: Managed by AWS, the same in every account.
AWS_MANAGED: Mapping[str, tuple[Statement, ...]] = {
    "AdministratorAccess": (_ALL,),
    "ReadOnlyAccess": (_READ,),
    "IAMReadOnlyAccess": ({"Effect": "Allow", "Action": ["iam:Get*", "iam:List*"], "Resource": "*"},),
}


def read_policies(
    params: Mapping[str, str], partition: str, own: Mapping[str, Sequence[Statement]]
) -> tuple[Statement, ...] | None:
    """The session policies of a call, as one: inline and managed ones add up. None if it passes none.

    :param own: the managed policies of the account, by ARN.
    :raises Refusal: `MalformedPolicyDocument` or `ValidationError`.
    """
    inline, arns = params.get("Policy"), policy_arns(params)
    if inline is None and not arns:
        return None
    if len(arns) > MOST_ARNS:
        raise validation(
            "1 validation error detected: Value at 'policyArns' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MOST_ARNS}"
        )
    if len(inline or "") + sum(map(len, arns)) > MOST_CHARACTERS:
        raise validation(
            "1 validation error detected: Value at 'policy' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MOST_CHARACTERS}"
        )
    found: list[Statement] = [] if inline is None else list(statements_of(inline))
    for arn in arns:
        name = arn.removeprefix(f"arn:{partition}:iam::aws:policy/")
        managed = own.get(arn) or AWS_MANAGED.get(name)
        if managed is None:
            raise validation(f"Policy {arn} does not exist or is not attachable.")
        found += managed
    return tuple(found)


def policy_arns(params: Mapping[str, str]) -> list[str]:
    """The managed policies that a call names."""
    return [one["arn"] for one in structures(params, "PolicyArns", ("arn",))]


def statements_of(text: str) -> tuple[Statement, ...]:
    """The statements of a policy document.

    :raises Refusal: `MalformedPolicyDocument`, also for what is not evaluated here.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise malformed_policy("This policy contains invalid Json") from None
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    known = isinstance(document, dict) and document.get("Version", "2008-10-17") in (
        "2008-10-17",
        "2012-10-17",
    )
    if not known or not isinstance(statements, list) or not statements:
        raise malformed_policy("Syntax errors in policy.")
    if not all(isinstance(statement, dict) for statement in statements):
        raise malformed_policy("Syntax errors in policy.")
    try:
        check_permissions(statements)
    except ValueError:
        raise malformed_policy("Syntax errors in policy.") from None
    return tuple(statements)


def packed_size(params: Mapping[str, str], tags: Tags) -> int | None:
    """How full the place for packed policies and tags is, in percent; None if there are none.

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
