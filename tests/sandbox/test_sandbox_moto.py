"""A second opinion: what moto can answer, with authorisation on, it answers as we do."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from keyturn_sandbox import Sandbox

ACCOUNT = "123456789012"
USER, ROLE = "agreed", "Agreed"


class Opinion:
    """One side: a user with a key, a role that trusts it, and clients to ask with."""

    def __init__(self, boto: boto3.Session, url: str, key: dict[str, str]) -> None:
        self._boto, self._url = boto, url
        self.key = key

    def client(self, service: str, key: Mapping[str, str] | None = None) -> Any:
        who = key or self.key
        return self._boto.client(
            service,  # type: ignore[call-overload]  # the stubs know services by literal names only
            region_name="us-east-1",
            endpoint_url=self._url,
            aws_access_key_id=who["AccessKeyId"],
            aws_secret_access_key=who["SecretAccessKey"],
            aws_session_token=who.get("SessionToken"),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )


@pytest.fixture(scope="module")
def moto(boto: boto3.Session) -> Iterator[Opinion]:
    """moto's server on loopback; the user and role are made before authorisation is turned on."""
    server = subprocess.Popen(
        [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    try:
        url = ""
        for line in server.stderr:
            match = re.search(r"http://127\.0\.0\.1:\d+", line)
            if match:
                url = match[0]
                break
        assert url, "moto did not start"
        threading.Thread(target=server.stderr.read, daemon=True).start()
        admin = Opinion(boto, url, {"AccessKeyId": "AKIAXXXXXXXXXXXXXXXX", "SecretAccessKey": "x"})
        iam = admin.client("iam")
        arn = iam.create_user(UserName=USER)["User"]["Arn"]
        policy = (
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        )
        iam.put_user_policy(UserName=USER, PolicyName="all", PolicyDocument=policy)
        trust = policy.replace('"Resource": "*"', f'"Principal": {{"AWS": "{arn}"}}')
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust.replace('"*"', '"sts:AssumeRole"', 1))
        key = iam.create_access_key(UserName=USER)["AccessKey"]
        reset = Request(  # noqa: S310  # a loopback address
            f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST"
        )
        with urlopen(reset) as answer:  # noqa: S310  # the same
            assert answer.status == 200
        yield Opinion(boto, url, key)
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


@pytest.fixture(scope="module")
def ours(sandbox: Sandbox, boto: boto3.Session) -> Opinion:
    user = sandbox.state.add_user(ACCOUNT, USER)
    trust = {"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "sts:AssumeRole"}
    sandbox.state.add_role(ACCOUNT, ROLE, [trust])
    key = sandbox.state.add_key(user)
    return Opinion(boto, sandbox.url, {"AccessKeyId": key.key_id, "SecretAccessKey": key.secret.reveal()})


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    """Code and HTTP status of a refusal; ("none", 200) if there was none."""
    try:
        call(**parameters)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "none", 200


def shape(value: Any) -> Any:
    """The structure of an answer without its values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name != "ResponseMetadata"}
    return [shape(part) for part in value] if isinstance(value, list) else type(value).__name__


def assume(one: Opinion) -> dict[str, Any]:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
    answer: dict[str, Any] = one.client("sts").assume_role(RoleArn=arn, RoleSessionName="s1")
    return answer


def test_on_who_signed(moto: Opinion, ours: Opinion) -> None:
    answers = [one.client("sts").get_caller_identity() for one in (moto, ours)]
    assert shape(answers[0]) == shape(answers[1])
    assert [(answer["Account"], answer["Arn"]) for answer in answers] == [
        (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/{USER}")
    ] * 2


def test_on_who_a_role_session_is(moto: Opinion, ours: Opinion) -> None:
    told = []
    for one in (moto, ours):
        answer = assume(one)
        credentials = answer["Credentials"]
        identity = one.client("sts", credentials).get_caller_identity()
        told.append((answer["AssumedRoleUser"]["Arn"], identity["Arn"], credentials["AccessKeyId"][:4]))
        assert len(credentials["AccessKeyId"]) == 20
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/s1"
    assert told == [(arn, arn, "ASIA")] * 2


def test_on_bad_signatures_and_unknown_keys(moto: Opinion, ours: Opinion) -> None:
    for changed, code in (
        ({"SecretAccessKey": "wrong"}, "SignatureDoesNotMatch"),
        ({"AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}, "InvalidClientTokenId"),
    ):
        for one in (moto, ours):
            assert refusal(one.client("sts", one.key | changed).get_caller_identity) == (code, 403)


def test_on_a_session_token_that_is_not_its_own(moto: Opinion, ours: Opinion) -> None:
    for one in (moto, ours):
        wrong = assume(one)["Credentials"] | {"SessionToken": "other"}
        assert refusal(one.client("sts", wrong).get_caller_identity) == ("InvalidClientTokenId", 403)


def test_on_a_role_that_trusts_somebody_else(moto: Opinion, ours: Opinion) -> None:
    for one in (moto, ours):
        session = assume(one)["Credentials"]
        call = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", "RoleSessionName": "s2"}
        assert refusal(one.client("sts", session).assume_role, **call) == ("AccessDenied", 403)


def test_on_making_listing_and_deleting_keys(moto: Opinion, ours: Opinion) -> None:
    shapes, quotas, ends = [], [], []
    for one in (moto, ours):
        iam = one.client("iam")
        made = iam.create_access_key(UserName=USER)
        key_id = made["AccessKey"]["AccessKeyId"]
        listed = iam.list_access_keys()
        assert {key["AccessKeyId"] for key in listed["AccessKeyMetadata"]} == {one.key["AccessKeyId"], key_id}
        used = iam.get_access_key_last_used(AccessKeyId=one.key["AccessKeyId"])
        listed.pop("IsTruncated", None)  # AWS always tells it, and so do we; moto never does
        shapes.append([shape(made), shape(listed), shape(used)])
        with pytest.raises(ClientError) as caught:
            iam.create_access_key()
        quotas.append((caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]))
        fresh = one.client("sts", made["AccessKey"])
        assert fresh.get_caller_identity()["Account"] == ACCOUNT
        iam.update_access_key(AccessKeyId=key_id, Status="Inactive")
        assert {key["Status"] for key in iam.list_access_keys()["AccessKeyMetadata"]} == {
            "Active",
            "Inactive",
        }
        iam.delete_access_key(UserName=USER, AccessKeyId=key_id)
        again = refusal(iam.delete_access_key, UserName=USER, AccessKeyId=key_id)
        ends.append(
            (again, refusal(fresh.get_caller_identity), len(iam.list_access_keys()["AccessKeyMetadata"]))
        )
    assert shapes[0] == shapes[1]
    assert quotas == [("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")] * 2
    assert ends == [(("NoSuchEntity", 404), ("InvalidClientTokenId", 403), 1)] * 2
