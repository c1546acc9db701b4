"""Facts about refusals of STS, one row each: exact messages, codes and statuses, MFA, time, regions."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from xml.etree import ElementTree as ET

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.sandbox.iam_bench import (
    ALL,
    Bench,
    ErrorReply,
    Facts,
    denied_message,
    document,
    error_of,
    is_invalid_token,
    validation_message,
)

facts = Facts("4, errors")

WRONG_CODE = "MultiFactorAuthentication failed with invalid MFA one time pass code."
WRONG_DEVICE = (
    "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number "
    "is valid "
    "and associated with this user."
)
EXPIRED = ErrorReply("ExpiredToken", 403, "The security token included in the request is expired")
REQUEST_BODY = "Action=GetSessionToken&Version=2011-06-15&DurationSeconds=1"


@facts("the XML of an error: ErrorResponse, Error, Type, Code, Message, RequestId")
def _(b: Bench) -> None:
    key = b.user().keys[0]
    request = AWSRequest(
        "POST",
        f"{b.sandbox.url}/",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        data=REQUEST_BODY,
    )
    SigV4Auth(Credentials(key.key_id, key.secret.reveal()), "sts", "eu-west-1").add_auth(request)
    prepared = request.prepare()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    body = REQUEST_BODY.encode()
    http_request = urllib.request.Request(prepared.url, body, dict(prepared.headers))  # noqa: S310  # loopback
    try:
        opener.open(http_request, timeout=5)
    except HTTPError as error:
        answer = error
    assert answer.code == 400
    assert answer.headers["Content-Type"] == "text/xml"
    root = ET.fromstring(answer.read())  # noqa: S314  # our own stand-in's
    space = "{https://sts.amazonaws.com/doc/2011-06-15/}"
    assert root.tag == f"{space}ErrorResponse"
    assert [one.tag for one in root] == [f"{space}Error", f"{space}RequestId"]
    assert [one.tag for one in root[0]] == [f"{space}{name}" for name in ("Type", "Code", "Message")]
    assert (root[0][0].text, root[0][1].text) == ("Sender", "ValidationError")
    assert root[1].text == answer.headers["x-amzn-RequestId"]


@facts("ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
def _(b: Bench) -> None:
    user = b.user()
    call = {"RoleArn": b.role(user).arn, "RoleSessionName": "fact", "DurationSeconds": 3601}
    words = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    assert validation_message(b.sts(user).assume_role, **call) == words


@facts("ValidationError: ... exceeds the 1 hour session limit for roles assumed by role chaining.")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user, max_session=43200)
    call = {"RoleArn": role.arn, "RoleSessionName": "fact", "DurationSeconds": 43200}
    words = (
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
    )
    assert validation_message(b.sts(b.session(user)).assume_role, **call) == words


@facts("AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code. (wrong)")
def _(b: Bench) -> None:
    user = b.user()
    pair = b.mfa(user)
    wrong = pair | {"TokenCode": f"{(int(pair['TokenCode']) + 1) % 1_000_000:06d}"}
    assert denied_message(b.sts(user).get_session_token, **wrong) == WRONG_CODE
    call = {"RoleArn": b.role(user).arn, "RoleSessionName": "fact"}
    assert denied_message(b.sts(user).assume_role, **call, **wrong) == WRONG_CODE
    assert b.session(user, **pair)


@facts("... invalid MFA one time pass code (old): one window back is taken, two are not")
def _(b: Bench) -> None:
    user = b.user()
    sts = b.sts(user)
    for windows, taken in ((1, True), (2, False)):
        pair = b.mfa(user)
        b.sandbox.move_clock(30 * windows)
        if taken:
            assert sts.get_session_token(**pair)
        else:
            assert denied_message(sts.get_session_token, **pair) == WRONG_CODE


@facts("... invalid MFA one time pass code (of the next window): one ahead is taken, two are not")
def _(b: Bench) -> None:
    user = b.user()
    sts = b.sts(user)
    for windows, taken in ((1, True), (2, False)):
        pair = b.mfa(user)
        b.sandbox.move_clock(-30 * windows)
        if taken:
            assert sts.get_session_token(**pair)
        else:
            assert denied_message(sts.get_session_token, **pair) == WRONG_CODE
        b.sandbox.move_clock(30 * (windows + 3))


@facts("each TOTP code is single-use: a re-used code gives this; wait for the next 30-s window")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user)
    pair = b.mfa(user)
    assert b.session(user, **pair)
    assert denied_message(b.sts(user).get_session_token, **pair) == WRONG_CODE
    call = {"RoleArn": role.arn, "RoleSessionName": "fact"}
    assert denied_message(b.sts(user).assume_role, **call, **pair) == WRONG_CODE
    assert b.assume(user, role, **b.mfa(user))


@facts("... must provide both MFA serial number and one time pass code.")
def _(b: Bench) -> None:
    user = b.user()
    pair = b.mfa(user)
    call = {"RoleArn": b.role(user).arn, "RoleSessionName": "fact"}
    words = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
    for name in pair:
        half = {name: pair[name]}
        assert denied_message(b.sts(user).get_session_token, **half) == words
        assert denied_message(b.sts(user).assume_role, **call, **half) == words


@facts("... invalid MFA serial: nobody's, somebody else's, a security key's")
def _(b: Bench) -> None:
    user, other = b.user(), b.user()
    theirs = b.mfa(other)
    passkey = b.sandbox.state.add_security_key(user, "key")
    assert denied_message(b.sts(user).get_session_token, **theirs) == WRONG_DEVICE
    assert (
        denied_message(b.sts(user).get_session_token, SerialNumber="GAHT12345678", TokenCode="123456")
        == WRONG_DEVICE
    )
    code = {"SerialNumber": passkey.serial, "TokenCode": "123456"}
    assert denied_message(b.sts(user).get_session_token, **code) == WRONG_CODE


@facts("a role session has no MFA device to prove with")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user)
    sts = b.sts(b.assume_role(user, role))
    call = {"RoleArn": b.role(role).arn, "RoleSessionName": "fact"}
    assert denied_message(sts.assume_role, **call, **b.mfa(user)) == WRONG_DEVICE


@facts("InvalidClientTokenId: The security token included in the request is invalid. (bad key id)")
def _(b: Bench) -> None:
    for key_id in ("AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "nonsense"):
        key = {"AccessKeyId": key_id, "SecretAccessKey": "x", "SessionToken": "x"}
        assert is_invalid_token(b.sts(key).get_caller_identity)


@facts("InvalidClientTokenId: deleted")
def _(b: Bench) -> None:
    user = b.user()
    sts = b.sts(user)
    assert sts.get_caller_identity()
    b.sandbox.state.delete_key(user, user.keys[0])
    assert is_invalid_token(sts.get_caller_identity)


@facts("InvalidClientTokenId: inactive")
def _(b: Bench) -> None:
    user = b.user()
    b.sandbox.state.set_status(user.keys[0], "Inactive")
    assert is_invalid_token(b.sts(user).get_caller_identity)
    assert is_invalid_token(b.iam(user).get_user)
    b.sandbox.state.set_status(user.keys[0], "Active")
    assert b.sts(user).get_caller_identity()


@facts("InvalidClientTokenId: wrong partition")
def _(b: Bench) -> None:
    regions = {"aws": "eu-west-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
    for partition, own in regions.items():
        user = b.user(partition=partition)
        for region in regions.values():
            sts = b.sts(user, region)
            assert sts.get_caller_identity() if region == own else is_invalid_token(sts.get_caller_identity)


@facts("InvalidClientTokenId: missing session token for ASIA key")
def _(b: Bench) -> None:
    session = b.session(b.user())
    without = {name: session[name] for name in ("AccessKeyId", "SecretAccessKey")}
    assert is_invalid_token(b.sts(without).get_caller_identity)
    assert is_invalid_token(
        b.sts(session | {"SessionToken": session["SessionToken"] + "x"}).get_caller_identity
    )


@facts("InvalidClientTokenId: opt-in region with a global-endpoint token")
def _(b: Bench) -> None:
    user = b.user()
    b.sandbox.state.activated.add((user.account, "me-south-1"))
    session = b.sts(user, "us-east-1").get_session_token()["Credentials"]
    assert is_invalid_token(b.sts(session, "me-south-1").get_caller_identity)
    assert b.sts(session, "eu-west-1").get_caller_identity()


@facts("ExpiredToken: The security token included in the request is expired, on STS and IAM")
def _(b: Bench) -> None:
    user = b.user(iam_admin=True)
    role = b.role(user, iam_admin=True)
    factories: tuple[Callable[[], dict[str, str]], ...] = (
        lambda: b.session(user, DurationSeconds=900, **b.mfa(user)),
        lambda: b.assume_role(user, role, DurationSeconds=900),
    )
    for make in factories:
        signer = make()
        assert b.sts(signer).get_caller_identity()
        b.sandbox.move_clock(901)
        assert error_of(b.sts(signer).get_caller_identity) == EXPIRED
        assert error_of(b.iam(signer).list_access_keys, UserName=user.name) == EXPIRED


@facts("SignatureDoesNotMatch: Signature expired: T is now earlier than U (V - 15 min.) for skew > 15 min")
def _(b: Bench) -> None:
    user = b.user()
    user.keys[0].change = None
    sts = b.sts(user)
    for seconds, words in (
        (14 * 60 + 50, ""),
        (15 * 60 + 30, "expired"),
        (-(15 * 60 + 30), "not yet current"),
    ):
        b.sandbox.faults.skew(seconds)
        try:
            if not words:
                assert sts.get_caller_identity()
                continue
            found = error_of(sts.get_caller_identity)
        finally:
            b.sandbox.faults.skew(0)
        assert (found.code, found.status) == ("SignatureDoesNotMatch", 403)
        stamp = r"\d{8}T\d{6}Z"
        side = r"is now earlier than" if words == "expired" else r"is still later than"
        sign = "-" if words == "expired" else r"\+"
        assert re.fullmatch(
            rf"Signature {words}: {stamp} {side} {stamp} \({stamp} {sign} 15 min\.\)", found.message
        )


@facts("compute the offset from the HTTP Date header")
def _(b: Bench) -> None:
    from email.utils import parsedate_to_datetime

    user = b.user()
    user.keys[0].change = None
    b.sandbox.faults.skew(600)
    try:
        answer = b.sts(user).get_caller_identity()
        date = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    finally:
        b.sandbox.faults.skew(0)
    right = parsedate_to_datetime(
        b.sts(user).get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]["date"]
    )
    assert 590 < (date - right).total_seconds() < 630


@facts("SignatureDoesNotMatch without `Signature expired` = wrong secret")
def _(b: Bench) -> None:
    user = b.user()
    key = {"AccessKeyId": user.keys[0].key_id, "SecretAccessKey": "wrong"}
    for service in (b.sts(key).get_caller_identity, b.iam(key).get_user):
        found = error_of(service)
        assert (found.code, found.status) == ("SignatureDoesNotMatch", 403)
        assert found.message.startswith(
            "The request signature we calculated does not match the signature you"
        )


@facts("RegionDisabledException HTTP 403: STS is not activated in the requested region")
def _(b: Bench) -> None:
    user = b.user(ALL)
    role = b.role(user)
    sts = b.sts(user, "ap-east-1")
    calls: tuple[tuple[Any, dict[str, Any]], ...] = (
        (sts.get_session_token, {}),
        (sts.get_federation_token, {"Name": "guest"}),
        (sts.assume_role, {"RoleArn": role.arn, "RoleSessionName": "fact"}),
    )
    for call, more in calls:
        found = error_of(call, **more)
        assert (found.code, found.status) == ("RegionDisabledException", 403)
        assert found.message.startswith(f"STS is not activated in this region for account:{user.account}. ")
    b.sandbox.state.activated.add((user.account, "ap-east-1"))
    assert sts.get_session_token()


@facts("PackedPolicyTooLarge, MalformedPolicyDocument")
def _(b: Bench) -> None:
    user = b.user(ALL)
    call = {"RoleArn": b.role(user).arn, "RoleSessionName": "fact"}
    for policy in ("{", "{}", document([{"Effect": "Allow"}])):
        for requested, more in (
            (b.sts(user).assume_role, call),
            (b.sts(user).get_federation_token, {"Name": "ab"}),
        ):
            found = error_of(requested, **more, Policy=policy)
            assert (found.code, found.status) == ("MalformedPolicyDocument", 400)
    many = [{"Key": f"k{n}-{n * 7919 % 1009}", "Value": str(pow(7, n + 90))[:60]} for n in range(50)]
    found = error_of(b.sts(user).assume_role, **call, Tags=many)
    assert (found.code, found.status) == ("PackedPolicyTooLarge", 400)


@facts("GetSessionToken with temp creds: Cannot call GetSessionToken with session credentials")
def _(b: Bench) -> None:
    words = denied_message(b.sts(b.session(b.user())).get_session_token)
    assert words == "Cannot call GetSessionToken with session credentials"


@facts("never build ARNs with `arn:aws:`; derive the partition from GetCallerIdentity's Arn")
def _(b: Bench) -> None:
    for partition, region in (("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")):
        user = b.user(partition=partition)
        role = b.role(user)
        sts = b.sts(user, region)
        assert sts.get_caller_identity()["Arn"].split(":")[1] == partition
        call = {"RoleArn": role.arn.replace(partition, "aws", 1), "RoleSessionName": "fact"}
        assert denied_message(sts.assume_role, **call)
        arn = sts.assume_role(RoleArn=role.arn, RoleSessionName="fact")["AssumedRoleUser"]["Arn"]
        assert arn.startswith(f"arn:{partition}:sts::")


@facts("an ExternalId that is asked for must be given, in its case")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user, conditions={"StringEquals": {"sts:ExternalId": "Acme/7"}})
    call = {"RoleArn": role.arn, "RoleSessionName": "fact"}
    for wrong in ({}, {"ExternalId": "acme/7"}, {"ExternalId": "Acme/77"}):
        assert denied_message(b.sts(user).assume_role, **call, **wrong).startswith(
            f"User: {user.arn} is not authorized"
        )
    assert b.assume(user, role, ExternalId="Acme/7")


@facts("MFA conditions: Bool wants the key, BoolIfExists does not, MultiFactorAuthAge counts its seconds")
def _(b: Bench) -> None:
    present, age = "aws:MultiFactorAuthPresent", "aws:MultiFactorAuthAge"
    user = b.user()
    strict = b.role(user, conditions={"Bool": {present: "true"}})
    lax = b.role(user, conditions={"BoolIfExists": {present: "true"}})
    young = b.role(user, conditions={"NumericLessThan": {age: "300"}})
    plain, proven = b.session(user), b.session(user, **b.mfa(user))

    def lets_in(signer: Any) -> list[bool]:
        found = []
        for role in (strict, lax, young):
            try:
                found.append(bool(b.assume_role(signer, role)))
            except b.sts(user).exceptions.ClientError:
                found.append(False)
        return found

    assert lets_in(user) == [False, True, False]
    assert lets_in(plain) == [False, False, False]
    assert lets_in(proven) == [True, True, True]
    b.sandbox.move_clock(301)
    assert lets_in(proven) == [True, True, False]
    assert b.assume(user, young, **b.mfa(user))
