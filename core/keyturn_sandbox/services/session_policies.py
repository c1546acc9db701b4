"""Session policies: policies in a call that limit the session that it requests."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

from keyturn_sandbox.aws_errors import malformed_policy, packed_too_large, validation
from keyturn_sandbox.policy.policy import Statement, check_permissions
from keyturn_sandbox.services.parameters import refuse_too_long, structures
from keyturn_sandbox.services.session_tags import Tags

MAX_ARNS = 10
MAX_CHARACTERS = 2048
"""Of the policy and the ARNs together."""
PACKED_BYTES = 1024
"""AWS's packed format of policies and tags is not public. Here they are deflated and must fit this size, so
that, as with AWS, a policy within 2048 characters may still be too large."""

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
