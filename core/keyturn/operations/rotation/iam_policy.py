"""The IAM policy that lets a user rotate a key of their own, and nothing more. Pure.

After AWS's own example of a policy for managing one's own keys (IAM User Guide,
reference_policies_examples_aws_my-sec-creds-self-manage), with `iam:GetAccessKeyLastUsed` added.
"""

from __future__ import annotations

import json
from typing import Any

ACTIONS = (
    "iam:CreateAccessKey",
    "iam:DeleteAccessKey",
    "iam:UpdateAccessKey",
    "iam:ListAccessKeys",
    "iam:GetAccessKeyLastUsed",
)


def self_rotation(partition: str = "aws", path: str = "/", *, with_mfa: bool = False) -> str:
    """The policy as JSON, indented.

    :param partition: `aws`, `aws-cn` or `aws-us-gov`.
    :param path: the user's path in IAM, which is part of its ARN.
    :param with_mfa: only with a session that an MFA code was given for.
    """
    # A user below a path has it in the ARN; the variable holds the bare name.
    own_user = f"arn:{partition}:iam::*:user{path}${{aws:username}}"
    key_statement: dict[str, Any] = {
        "Sid": "RotateOwnKeys",
        "Effect": "Allow",
        "Action": list(ACTIONS),
        "Resource": own_user,
    }
    statements = [key_statement]
    if with_mfa:
        key_statement["Condition"] = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
        statements.append(
            {
                "Sid": "SeeOwnMfaDevices",
                "Effect": "Allow",
                "Action": ["iam:ListMFADevices"],
                "Resource": own_user,
            }
        )
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)


def user_arn_parts(arn: str) -> tuple[str, str]:
    """The partition and the path of a user's ARN (`arn:aws:iam::123456789012:user/team/jo`: `aws` and `/team/`)."""
    parts = arn.split(":", 5)
    partition = parts[1] if len(parts) == 6 and parts[1] else "aws"
    _, _, resource = parts[-1].partition("user/")
    path, _, _ = resource.rpartition("/")
    return partition, f"/{path}/" if path else "/"
