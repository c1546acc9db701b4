"""A second opinion: for requests that moto can answer, with authorization on, the sandbox answers alike.

Needs the extra `moto`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.exceptions import ClientError

from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.operations.rotation.delete_key import Obstacle
from keyturn.operations.rotation.record import Step
from keyturn.system.clock import system_clock
from keyturn_sandbox import Sandbox
from tests.core.operations.rotation.rotation_home import PROFILE, RemoteAwsHome, SharedClock
from tests.sandbox.moto_opinions import (
    EXTERNAL_ID,
    Backend,
    arn,
    call,
    create_in_moto,
    create_in_sandbox,
    refusal,
    shape,
)

pytestmark = pytest.mark.campaign

UNKNOWN = "AKIAIOSFODNN7EXAMPLE"


@pytest.fixture(scope="module")
def moto(boto: boto3.Session) -> Iterator[Backend]:
    """moto's server on loopback; its account is created before authorization is turned on."""
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
        backend = Backend(
            boto, url, {"agreed": {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}}
        )
        create_in_moto(backend)
        reset = Request(  # noqa: S310  # a loopback address
            f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"}, method="POST"
        )
        with urlopen(reset) as answer:  # noqa: S310  # the same
            assert answer.status == 200
        yield backend
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


@pytest.fixture(scope="module")
def ours(sandbox: Sandbox, boto: boto3.Session) -> Backend:
    backend = Backend(boto, sandbox.url)
    create_in_sandbox(sandbox, backend)
    return backend


def signer_identity(backend: Backend) -> Any:
    answer = backend.client("sts").get_caller_identity()
    return shape(answer), answer["Account"], answer["Arn"]


def role_session_identity(backend: Backend) -> Any:
    answer = backend.client("sts").assume_role(**call("Agreed"))
    credentials = answer["Credentials"]
    identity = backend.client("sts", credentials).get_caller_identity()
    lengths = len(credentials["AccessKeyId"]), len(credentials["SecretAccessKey"])
    return (
        shape(answer),
        answer["AssumedRoleUser"]["Arn"],
        (identity["Arn"], identity["Account"], identity["UserId"].split(":")[1]),
        (credentials["AccessKeyId"][:4], lengths),
    )


def key_lifecycle(backend: Backend) -> Any:
    iam = backend.client("iam", "keeper")
    own = backend.keys["keeper"]["AccessKeyId"]
    new_key = iam.create_access_key(UserName="keeper")
    key_id = new_key["AccessKey"]["AccessKeyId"]
    listed = iam.list_access_keys()
    assert {key["AccessKeyId"] for key in listed["AccessKeyMetadata"]} == {own, key_id}
    used = iam.get_access_key_last_used(AccessKeyId=own)
    never = iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
    with pytest.raises(ClientError) as excinfo:
        iam.create_access_key()
    quota = excinfo.value.response
    fresh = backend.client("sts", new_key["AccessKey"])
    works = fresh.get_caller_identity()["Arn"]
    iam.update_access_key(AccessKeyId=key_id, Status="Inactive")
    iam.update_access_key(AccessKeyId=key_id, Status="Inactive")
    statuses = sorted(key["Status"] for key in iam.list_access_keys()["AccessKeyMetadata"])
    iam.delete_access_key(UserName="keeper", AccessKeyId=key_id)
    return (
        [shape(answer) for answer in (new_key, listed, used)],
        (never["ServiceName"], never["Region"], "LastUsedDate" in never),
        (quota["Error"]["Code"], quota["Error"]["Message"], quota["ResponseMetadata"]["HTTPStatusCode"]),
        works,
        statuses,
        refusal(iam.delete_access_key, UserName="keeper", AccessKeyId=key_id),
        refusal(fresh.get_caller_identity),
        len(iam.list_access_keys()["AccessKeyMetadata"]),
    )


def a_key_that_deletes_itself(backend: Backend) -> Any:
    new_key = backend.client("iam", "keeper").create_access_key()["AccessKey"]
    own = backend.client("iam", new_key)
    own.delete_access_key(AccessKeyId=new_key["AccessKeyId"], UserName="keeper")
    return refusal(own.list_access_keys), refusal(backend.client("sts", new_key).get_caller_identity)


def a_key_that_deletes_the_one_before(backend: Backend) -> Any:
    iam = backend.client("iam", "other")
    old = backend.keys["other"]
    new = iam.create_access_key()["AccessKey"]
    backend.client("iam", new).delete_access_key(AccessKeyId=old["AccessKeyId"])
    backend.keys["other"] = new
    return refusal(backend.client("sts", old).get_caller_identity), refusal(
        backend.client("sts", new).get_caller_identity
    )


def user_identity(backend: Backend) -> Any:
    answers = [backend.client("iam").get_user(UserName=name)["User"] for name in ("agreed", "bare")]
    return [(shape(user), user["Arn"], user["UserName"]) for user in answers]


def signed(change: dict[str, str], signer: str = "agreed") -> Callable[[Backend], Any]:
    def ask(backend: Backend) -> Any:
        key = backend.keys[signer] | change
        return refusal(backend.client("sts", key).get_caller_identity), refusal(
            backend.client("iam", key).list_access_keys
        )

    return ask


def role_signed(change: dict[str, str]) -> Callable[[Backend], Any]:
    return lambda backend: refusal(backend.client("sts", backend.session() | change).get_caller_identity)


def iam(signer: str, method: str, **parameters: str) -> Callable[[Backend], Any]:
    return lambda backend: refusal(getattr(backend.client("iam", signer), method), **parameters)


def assume(role: str, **more: str) -> Callable[[Backend], Any]:
    return lambda backend: refusal(backend.client("sts").assume_role, **call(role, **more))


def as_role(method: str, **parameters: str) -> Callable[[Backend], Any]:
    return lambda backend: refusal(getattr(backend.client("iam", backend.session()), method), **parameters)


QUESTIONS: dict[str, Callable[[Backend], Any]] = {
    "who signed": signer_identity,
    "who a role session is": role_session_identity,
    "who a user is": user_identity,
    "a key from its making to its deletion": key_lifecycle,
    "a key that deletes itself": a_key_that_deletes_itself,
    "a key that deletes the one before it": a_key_that_deletes_the_one_before,
    "a wrong secret": signed({"SecretAccessKey": "wrong"}),
    "an unknown key id": signed({"AccessKeyId": UNKNOWN}),
    "a role session with another's token": role_signed({"SessionToken": "other"}),
    "a role session with a wrong secret": role_signed({"SecretAccessKey": "wrong"}),
    "a role session with an unknown key id": role_signed({"AccessKeyId": "ASIAIOSFODNN7EXAMPLE"}),
    "a role that trusts one": assume("Agreed"),
    "a role that trusts somebody else": assume("Others"),
    "a role that wants an external id and gets it": assume("External", ExternalId=EXTERNAL_ID),
    "a role that wants an external id and gets another": assume("External", ExternalId="acme/8"),
    "a role that wants an external id in its case": assume("External", ExternalId=EXTERNAL_ID.upper()),
    "a role that does not trust its own session": lambda one: refusal(
        one.client("sts", one.session()).assume_role, **call("Agreed")
    ),
    "a session of somebody whom the role does not name": lambda one: refusal(
        one.client("sts", "limited").assume_role, **call("Agreed")
    ),
    "IAM with a role session that may nothing": as_role("list_access_keys", UserName="agreed"),
    "making a key with a role session that may nothing": as_role("create_access_key", UserName="agreed"),
    "listing without a permission": iam("bare", "list_access_keys"),
    "making a key without a permission": iam("bare", "create_access_key"),
    "deleting a key without a permission": iam("bare", "delete_access_key", AccessKeyId=UNKNOWN),
    "listing with the permission for it": iam("limited", "list_access_keys"),
    "GetUser with the permission for it": iam("limited", "get_user", UserName="limited"),
    "making a key with a permission for listing": iam("limited", "create_access_key"),
    "last use with a permission for listing": iam("limited", "get_access_key_last_used", AccessKeyId=UNKNOWN),
    "listing with a permission by wildcard": iam("almost", "list_access_keys"),
    "GetUser with a permission by another wildcard": iam("almost", "get_user", UserName="almost"),
    "listing against an explicit denial": iam("bound", "list_access_keys"),
    "making a key against an explicit denial": iam("bound", "create_access_key"),
    "who one is in spite of a denial of IAM": lambda one: refusal(
        one.client("sts", "bound").get_caller_identity
    ),
    "keys of an unknown user": iam("agreed", "list_access_keys", UserName="nobody"),
    "an unknown user": iam("agreed", "get_user", UserName="nobody"),
    "a key for an unknown user": iam("agreed", "create_access_key", UserName="nobody"),
    "switching an unknown key": iam("agreed", "update_access_key", AccessKeyId=UNKNOWN, Status="Inactive"),
    "deleting an unknown key": iam("agreed", "delete_access_key", AccessKeyId=UNKNOWN),
    "deleting another user's key by one's own name": lambda one: refusal(
        one.client("iam").delete_access_key, UserName="agreed", AccessKeyId=one.keys["bare"]["AccessKeyId"]
    ),
    "devices of a user who has none": lambda one: shape(one.client("iam").list_mfa_devices(UserName="bare")),
    "devices of an unknown user": iam("agreed", "list_mfa_devices", UserName="nobody"),
}


@pytest.fixture(scope="module")
def agreements() -> set[str]:
    """The questions that both answered alike so far."""
    return set()


@pytest.mark.parametrize("question", QUESTIONS)
def test_both_agree_on(question: str, moto: Backend, ours: Backend, agreements: set[str]) -> None:
    ask = QUESTIONS[question]
    theirs, own = ask(moto), ask(ours)
    assert own == theirs
    agreements.add(question)


def test_refusals_differ_from_consent(ours: Backend) -> None:
    """The table has grants and refusals, so that two servers that never refuse do not count as agreement."""
    answers = {
        question: ask(ours) for question, ask in QUESTIONS.items() if ask.__name__ in ("ask", "<lambda>")
    }
    texts = {str(answer) for answer in answers.values()}
    assert {"('none', 200)", "('AccessDenied', 403)", "('NoSuchEntity', 404)"} <= texts


def test_the_whole_table_was_asked(
    agreements: set[str], request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    count = sum(item.name.startswith("test_both_agree_on[") for item in request.session.items)
    if count < len(QUESTIONS):
        pytest.skip("only a part of the table was chosen")
    record_property("sandbox: questions agreed with moto", len(agreements))
    assert agreements == set(QUESTIONS)
    assert arn("user", "agreed").endswith(":user/agreed")


@pytest.mark.parametrize("fixture", ["moto", "ours"])
def test_a_rotation_by_our_own_client_goes_the_same_way_with_both(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend: Backend = request.getfixturevalue(fixture)
    new_key = backend.client("iam", "keeper").create_access_key()["AccessKey"]
    backend.client("iam", new_key).delete_access_key(AccessKeyId=backend.keys["keeper"]["AccessKeyId"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", backend.url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    home = RemoteAwsHome(
        tmp_path, RealClock(), first=Credentials(new_key["AccessKeyId"], Secret(new_key["SecretAccessKey"]))
    )
    try:
        rotation = home.service.rotation
        steps = [
            each.step
            for each in rotation.run_to_end(rotation.start(PROFILE), lambda: rotation.advance(PROFILE))
        ]
        assert steps[-1] is Step.DEACTIVATED
        done = rotation.finish(PROFILE, new_key["AccessKeyId"][-4:], force=tuple(Obstacle))
        assert done.step is Step.DONE
        status = rotation.status(PROFILE)
        assert [key["key_id"] for key in status["keys"]] == [done.new_id]
    finally:
        new = home.service.context.key(PROFILE)
        backend.keys["keeper"] = {
            "AccessKeyId": new.access_key_id,
            "SecretAccessKey": new.secret_access_key.reveal(),
        }


class RealClock(SharedClock):
    """The clock that both servers use; waits for a key to propagate are unnecessary here."""

    def __call__(self) -> datetime:
        return system_clock()
