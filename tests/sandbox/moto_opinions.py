"""The same small AWS account twice, keyturn's and moto's, and the questions that both can answer honestly.

moto evaluates actions but neither resources nor most conditions, and does not implement MFA, durations,
expiry, inactive keys or the age of a signature; it is not asked about those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from keyturn_sandbox import Sandbox

ACCOUNT = "123456789012"
ALL: dict[str, object] = {"Effect": "Allow", "Action": "*", "Resource": "*"}
#: Users and the statements of their only policy.
USERS: Mapping[str, list[dict[str, object]]] = {
    "agreed": [ALL],
    "keeper": [ALL],
    "other": [ALL],
    "bare": [],
    "limited": [{"Effect": "Allow", "Action": ["iam:ListAccessKeys", "iam:GetUser"], "Resource": "*"}],
    "bound": [ALL, {"Effect": "Deny", "Action": "iam:*", "Resource": "*"}],
    "almost": [{"Effect": "Allow", "Action": "iam:List*", "Resource": "*"}],
}
EXTERNAL_ID = "acme/7"


def arn(kind: str, name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:{kind}/{name}"


def trust(user: str, **condition: object) -> dict[str, object]:
    more = {"Condition": condition} if condition else {}
    return {"Effect": "Allow", "Principal": {"AWS": arn("user", user)}, "Action": "sts:AssumeRole", **more}


ROLES: Mapping[str, dict[str, object]] = {
    "Agreed": trust("agreed"),
    "Others": trust("other"),
    "External": trust("agreed", StringEquals={"sts:ExternalId": EXTERNAL_ID}),
}


@dataclass(slots=True)
class Backend:
    """One side: keys of the users, and their clients."""

    boto: boto3.Session
    url: str
    keys: dict[str, dict[str, str]] = field(default_factory=dict)

    def client(self, service: str, signer: str | Mapping[str, str] = "agreed") -> Any:
        key = self.keys[signer] if isinstance(signer, str) else signer
        return self.boto.client(
            service,  # type: ignore[call-overload]  # the stubs know services by literal names only
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )

    def session(self) -> dict[str, str]:
        """Return credentials of the role that `agreed` may assume."""
        credentials: dict[str, str] = self.client("sts").assume_role(**call("Agreed"))["Credentials"]
        return credentials


def call(role: str, **more: str) -> dict[str, str]:
    return {"RoleArn": arn("role", role), "RoleSessionName": "s1", **more}


def create_in_moto(admin: Backend) -> None:
    """Create the account in moto, before it checks permissions."""
    iam = admin.client("iam")
    for name, statements in USERS.items():
        iam.create_user(UserName=name)
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
        admin.keys[name] = iam.create_access_key(UserName=name)["AccessKey"]
    for name, statement in ROLES.items():
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)


def create_in_sandbox(sandbox: Sandbox, one: Backend) -> None:
    """Create the same account in the sandbox."""
    for name, statements in USERS.items():
        key = sandbox.state.add_key(sandbox.state.add_user(ACCOUNT, name, policies=statements))
        one.keys[name] = {"AccessKeyId": key.key_id, "SecretAccessKey": key.secret.reveal()}
    for name, statement in ROLES.items():
        sandbox.state.add_role(ACCOUNT, name, [statement])


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    """Return code and HTTP status of a refusal; ("none", 200) if there was none."""
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "none", 200


def shape(value: Any) -> Any:
    """Return the structure of a response without its values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name not in OPTIONAL_FIELDS}
    return [shape(part) for part in value] if isinstance(value, list) else type(value).__name__


#: Sent by AWS and the sandbox, or by moto alone: IsTruncated always, tags and packed size only if there are
#: any.
OPTIONAL_FIELDS = {"ResponseMetadata", "IsTruncated", "Tags", "PackedPolicySize"}
