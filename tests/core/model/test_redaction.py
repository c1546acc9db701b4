"""External texts lose their secrets, and keep the reason of the failure."""

from __future__ import annotations

import base64
import random
import string
import time
from collections.abc import Callable

import pytest

from keyturn.model.redaction import redacted

KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ARN = (
    "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_AdministratorAccess_a1b2c3d4e5f60718"
    "/jo@example.com"
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SecretAccessKey=hunter2", "SecretAccessKey=***"),
        ("SecretAccessKey: hunter2, AccessKeyId: AKIAIOSFODNN7EXAMPLE", ("SecretAccessKey: ***, AccessKeyId: "
                                                                        "AKIAIOSFODNN7EXAMPLE")),
        ('{"SecretAccessKey": "hunter two", "Version": 1}', '{"SecretAccessKey": ***, "Version": 1}'),
        ("aws_secret_access_key = hunter2", "aws_secret_access_key = ***"),
        ("aws_session_token=hunter2 expired", "aws_session_token=*** expired"),
        ("host:sts\nx-amz-security-token:hunter2\n", "host:sts\nx-amz-security-token:***\n"),
        ("X-Amz-Security-Token=hunter2%3D&X-Amz-Date=1", "X-Amz-Security-Token=***&X-Amz-Date=1"),
        ("Authorization: Bearer hunter2", "Authorization: ***"),
        ("sent bearer hunter2.hunter2", "sent bearer ***"),
        ('proxy "http://jo:hunter2@proxy:3128" refused', 'proxy "http://***@proxy:3128" refused'),
        ("Failed to parse: HTTPS://jo:hun/ter2@hunter2@[::1", "Failed to parse: HTTPS://***@[::1"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/1, Signature=hunter2",
         "Authorization: *** Credential=AKIAIOSFODNN7EXAMPLE/1, Signature=***"),
        ("SAMLResponse=hunter2", "SAMLResponse=***"),
        ("SAMLAssertion : hunter2", "SAMLAssertion : ***"),
        ("?code=hunter2&state=1", "?code=***&state=1"),
        ("password: 'hunter two'", "password: ***"),
        ("no such option: --db-password hunter2", "no such option: --db-password ***"),
        ("seed=JBSWY3DPEHPK3PXPCANARY", "seed=***"),
        ("the seed JBSWY3DPEHPK3PXP is bad", "the seed *** is bad"),
        ("age-secret-key-1qqq and AGE-SECRET-KEY-1QQQ", "*** and ***"),
        (f"got {KEY} from there", "got *** from there"),
        (f"got '{KEY}'", "got '***'"),
        ("id eyJhbGciOiJI.eyJzdWIi.c2ln-_ ends", "id *** ends"),
        ("CANARY" + "x" * 60, "***"),
        ("got GarbledCanary+Garbled/Canary0123456789ab", "got ***"),
        ("it ended in " + "y " * 5000, "it ended in " + "y " * 3994 + "…"),
    ],
)  # fmt: skip
def test_a_secret_goes_and_its_name_stays(text: str, left: str) -> None:
    assert redacted(text) == left
    assert redacted(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "ExpiredToken: The security token included in the request is expired",
        "InvalidClientTokenId: The security token included in the request is invalid.",
        (
            "SignatureDoesNotMatch: The request signature we calculated does not match the signature you "
            "provided."
        ),
        "MultiFactorAuthentication failed with invalid MFA one time pass code. Please try again",
        f"AccessDenied: User: {ARN} is not authorized to perform: sts:AssumeRole",
        "on resource: arn:aws:iam::111122223333:role/teams/of/the/whole/company/DeployEverythingEverywhere2",
        "could not connect to https://sts.eu-west-1.amazonaws.com/?x=1, ask jo@example.com",
        "Role AWSReservedSSO_ReadOnlyAccess_5d1f0c7e9a2b4c38 is gone",
        "the key AKIAIOSFODNN7EXAMPLE and the session ASIAQWERTYUIOP234567",
        "request 0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f",
        "/home/jo/work/customers/acme-production/.aws/credentials: no such file",
        "/opt/tools/lib/python3.11/site-packages/botocore/credentials.py",
        "web_identity_token_file = /var/run/secrets/eks.amazonaws.com/serviceaccount/token",
        "discarding connection: oidc.eu-central-1.amazonaws.com",
        "its temporary key has no aws_session_token: AWS rejects it",
        "exit code=1, status code: 403",
        "Run: keyturn vault init --slot passphrase --passphrase-fd 3",
        "Run: keyturn set ci mfa_serial=arn:aws:iam::111122223333:mfa/jo",
    ],
)
def test_what_says_what_failed_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("count", [500, pytest.param(3000, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("kind", ["key", "token", "url-safe", "seed", "hex"])
def test_a_key_or_token_goes_wherever_it_stands(kind: str, count: int) -> None:
    chosen = random.Random(kind)  # noqa: S311  # the same ones every time
    letters = string.ascii_letters + string.digits + "+/"
    makes: dict[str, Callable[[], str]] = {
        "key": lambda: "".join(chosen.choices(letters, k=40)),
        "token": lambda: base64.b64encode(chosen.randbytes(300)).decode(),
        "url-safe": lambda: base64.urlsafe_b64encode(chosen.randbytes(60)).decode(),
        "seed": lambda: base64.b32encode(chosen.randbytes(20)).decode(),
        "hex": lambda: chosen.randbytes(20).hex(),
    }
    left = [
        secret
        for secret in (makes[kind]() for _ in range(count))
        if redacted(f"it said {secret} there") != "it said *** there"
    ]
    assert left == []


@pytest.mark.parametrize(
    "part", ["token", "a-", "secret=", "AKIA", "arn:aws:", "x", "code=", "a://", "--token ", "'\"", "eyJ"]
)
def test_no_text_takes_long(part: str) -> None:
    began = time.process_time()
    redacted(part * 1_000_000)
    assert time.process_time() - began < 2
