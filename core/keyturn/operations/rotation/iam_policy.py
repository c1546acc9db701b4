"""The IAM policy that lets a user rotate their own access keys, and nothing else. Pure.

Based on AWS's example policy for managing one's own keys (IAM User Guide,
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
    """Return the policy as indented JSON.

    :param partition: `aws`, `aws-cn` or `aws-us-gov`.
    :param path: the user's IAM path, which is part of its ARN.
    :param with_mfa: allow the actions only in a session with MFA.
    """
    # The ARN of a user includes its path. `aws:username` is the name alone.
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
    """Return the partition and the path of a user's ARN (`arn:aws:iam::123456789012:user/team/jo`: `aws` and
    `/team/`)."""
    parts = arn.split(":", 5)
    partition = parts[1] if len(parts) == 6 and parts[1] else "aws"
    _, _, resource = parts[-1].partition("user/")
    path, _, _ = resource.rpartition("/")
    return partition, f"/{path}/" if path else "/"
