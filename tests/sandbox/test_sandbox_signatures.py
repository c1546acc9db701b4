"""Authentication: signatures, their age and scope, and the state of the signing credentials."""

from __future__ import annotations

import hashlib
import http.client
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from keyturn_sandbox import AccessKey, Role, Sandbox, User

INVALID = "The security token included in the request is invalid."
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key "
    "and signing method. Consult the service documentation for details."
)
ASK = b"Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture
def user(sandbox: Sandbox) -> User:
    return sandbox.state.user("aws", "100000000001", "signer") or sandbox.state.add_user(
        "100000000001", "signer"
    )


@pytest.fixture
def key(sandbox: Sandbox, user: User) -> AccessKey:
    user.keys.clear()
    return sandbox.state.add_key(user)


def signed_headers(
    sandbox: Sandbox, key: AccessKey, body: bytes = ASK, *, service: str = "sts", region: str = "eu-west-1"
) -> dict[str, str]:
    """Return the headers of a request signed by botocore."""
    request = AWSRequest("POST", sandbox.url + "/", data=body)
    credentials = Credentials(key.key_id, key.secret.reveal())
    botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers)


def send(
    sandbox: Sandbox, headers: Mapping[str, str], body: bytes = ASK, path: str = "/"
) -> tuple[int, str, str]:
    """Return status, error code and message of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=5)
    connection.request("POST", path, body, dict(headers))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    code, message = (re.search(f"<{name}>(.*?)</{name}>", text) for name in ("Code", "Message"))
    return response.status, code[1] if code else "", message[1] if message else ""


def test_a_good_signature_is_let_in(sandbox: Sandbox, key: AccessKey) -> None:
    assert send(sandbox, signed_headers(sandbox, key))[0] == 200


def test_an_unsigned_request_is_told_so(sandbox: Sandbox) -> None:
    assert send(sandbox, {}) == (403, "MissingAuthenticationToken", "Request is missing Authentication Token")


def test_a_wrong_secret_does_not_match(
    key: AccessKey, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    wrong = {"AccessKeyId": key.key_id, "SecretAccessKey": "x" * 40}
    assert refused("SignatureDoesNotMatch", 403, client("sts", wrong).get_caller_identity) == MISMATCH


def test_every_signed_byte_counts(sandbox: Sandbox, key: AccessKey) -> None:
    headers = signed_headers(sandbox, key)
    refusal = (403, "SignatureDoesNotMatch", MISMATCH)
    assert send(sandbox, headers, ASK + b"&X=1") == refusal
    assert send(sandbox, headers, path="/?X=1") == refusal
    other_host = headers | {"Host": f"localhost:{sandbox.port}"}
    assert send(sandbox, other_host) == refusal
    digest = hashlib.sha256(b"").hexdigest()
    changed = headers["Authorization"].rsplit("=", 1)[0] + "=" + digest
    assert send(sandbox, headers | {"Authorization": changed}) == refusal


def test_the_host_and_every_amz_header_must_be_signed(sandbox: Sandbox, key: AccessKey) -> None:
    headers = signed_headers(sandbox, key)
    unsigned_host = headers | {"Authorization": headers["Authorization"].replace("host;", "")}
    assert send(sandbox, unsigned_host)[2] == (
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    )
    assert send(sandbox, headers | {"X-Amz-Extra": "1"})[1] == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("authorization", "code", "message"),
    [
        ("AWS4-HMAC-SHA256 ", "IncompleteSignature", "Authorization header requires 'Credential' parameter."),
        ("Bearer x", "IncompleteSignature", "Unsupported AWS 'algorithm': 'Bearer'"),
        (
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/sts, SignedHeaders=host, Signature=0",
            "IncompleteSignature",
            "Credential must have exactly 5 slash-delimited elements",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/sts/aws3, SignedHeaders=host, Signature=0",
            "SignatureDoesNotMatch",
            "Credential should be scoped with a valid terminator: 'aws4_request'.",
        ),
        (
            (
                "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/sts/aws4_request, SignedHeaders=host, "
                "Signature=0"
            ),
            "SignatureDoesNotMatch",
            (
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                "'20260101' != '20260102', from '20260102T000000Z'."
            ),
        ),
    ],
)
def test_a_misshapen_authorization_is_explained(
    sandbox: Sandbox, authorization: str, code: str, message: str
) -> None:
    headers = {"Authorization": authorization, "X-Amz-Date": "20260102T000000Z"}
    _, found_code, found_message = send(sandbox, headers)
    assert found_code == code
    assert found_message.startswith(message)


def test_the_scope_must_fit_service_and_region(sandbox: Sandbox, key: AccessKey) -> None:
    headers = signed_headers(sandbox, key, service="iam")
    assert send(sandbox, headers)[1:] == (
        "SignatureDoesNotMatch",
        "Credential should be scoped to correct service: 'sts'. ",
    )
    headers = signed_headers(sandbox, key, region="moon-base-1")
    assert send(sandbox, headers)[1:] == (
        "SignatureDoesNotMatch",
        "Credential should be scoped to a valid region. ",
    )


@pytest.mark.parametrize(("minutes", "let_in"), [(-14, True), (14, True), (-16, False), (16, False)])
def test_a_signature_lasts_15_minutes_of_real_time_either_way(
    sandbox: Sandbox, key: AccessKey, monkeypatch: pytest.MonkeyPatch, minutes: int, let_in: bool
) -> None:
    now = datetime.now(UTC)
    then = now + timedelta(minutes=minutes)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: then)
    sandbox.move_clock(86400)
    try:
        status, code, message = send(sandbox, signed_headers(sandbox, key))
    finally:
        sandbox.move_clock(-86400)
    if let_in:
        assert status == 200
        return
    assert (status, code) == (403, "SignatureDoesNotMatch")
    stamp = r"\d{8}T\d{6}Z"
    words, sign = ("expired", "-") if minutes < 0 else ("not yet current", "+")
    middle = "is now earlier than" if minutes < 0 else "is still later than"
    match = re.fullmatch(
        rf"Signature {words}: ({stamp}) {middle} ({stamp}) \(({stamp}) \{sign} 15 min\.\)", message
    )
    assert match is not None, message
    assert match[1] == f"{then:%Y%m%dT%H%M%SZ}"


def test_unknown_inactive_and_deleted_keys_are_invalid(
    user: User, key: AccessKey, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sts = client("sts", key)
    assert sts.get_caller_identity()["Account"] == user.account
    key.status = "Inactive"
    assert refused("InvalidClientTokenId", 403, sts.get_caller_identity) == INVALID
    key.status = "Active"
    assert sts.get_caller_identity()
    user.keys.remove(key)
    assert refused("InvalidClientTokenId", 403, sts.get_caller_identity) == INVALID
    unknown = {"AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "SecretAccessKey": "x"}
    assert refused("InvalidClientTokenId", 403, client("sts", unknown).get_caller_identity) == INVALID


def test_a_session_token_must_be_there_and_must_be_its_own(
    sandbox: Sandbox, user: User, key: AccessKey, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    session = sandbox.state.add_session(user, timedelta(hours=1))
    parts = {"AccessKeyId": session.key_id, "SecretAccessKey": session.secret.reveal()}
    assert client("sts", session).get_caller_identity()["Arn"] == user.arn
    for wrong in (
        parts,
        parts | {"SessionToken": "other"},
        {
            "AccessKeyId": key.key_id,
            "SecretAccessKey": key.secret.reveal(),
            "SessionToken": session.token.reveal(),
        },
    ):
        assert refused("InvalidClientTokenId", 403, client("sts", wrong).get_caller_identity) == INVALID


def test_a_session_ends_by_the_sandbox_clock(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    session = sandbox.state.add_session(user, timedelta(hours=1))
    sts = client("sts", session)
    sandbox.move_clock(3590)
    assert sts.get_caller_identity()
    sandbox.move_clock(11)
    assert refused("ExpiredToken", 403, sts.get_caller_identity) == (
        "The security token included in the request is expired"
    )
    sandbox.move_clock(-3601)


@pytest.mark.parametrize("region", ["us-gov-west-1", "cn-north-1"])
def test_a_key_is_unknown_in_another_partition(
    key: AccessKey, client: Callable[..., Any], refused: Callable[..., str], region: str
) -> None:
    assert (
        refused("InvalidClientTokenId", 403, client("sts", key, region=region).get_caller_identity) == INVALID
    )


def test_users_and_roles_live_in_any_partition(sandbox: Sandbox, client: Callable[..., Any]) -> None:
    user = sandbox.state.add_user("100000000002", "wei", partition="aws-cn")
    role = sandbox.state.add_role(
        "100000000002",
        "Reader",
        [{"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "sts:AssumeRole"}],
        partition="aws-cn",
    )
    sts = client("sts", sandbox.state.add_key(user), region="cn-north-1")
    assert sts.get_caller_identity()["Arn"] == "arn:aws-cn:iam::100000000002:user/wei"
    answer = sts.assume_role(RoleArn=role.arn, RoleSessionName="here")
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws-cn:sts::100000000002:assumed-role/Reader/here"
    assert isinstance(role, Role)


def test_a_new_key_takes_its_time_and_flaps_before_it_is_stable(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    sandbox.state.propagation, sandbox.state.flapping = timedelta(seconds=10), timedelta(seconds=10)
    try:
        key = sandbox.state.add_key(user)
    finally:
        sandbox.state.propagation = sandbox.state.flapping = timedelta(0)
    sts = client("sts", key)
    assert refused("InvalidClientTokenId", 403, sts.get_caller_identity) == INVALID
    sandbox.move_clock(11)
    statuses = [key.visible_status(sandbox.now()) for _ in range(12)]
    assert set(statuses) == {"Absent", "Active"}
    sandbox.move_clock(10)
    assert all(sts.get_caller_identity() for _ in range(3))
    sandbox.move_clock(-21)
