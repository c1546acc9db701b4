"""Every failure of AWS or of the way to it, and the words that report it to the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keyturn_sandbox import Sandbox
from keyturn_sandbox.faults import ANY

#: Starts a failure in a sandbox, until `Sandbox.faults.clear`.
Start = Callable[[Sandbox], None]

NOT_AWS = "the response is not from AWS"
MALFORMED = "not a valid AWS response"
BROKEN_OFF = "closed the connection"
#: Seconds for a refresh in all, with room for a busy machine beside the 20 s limit of an operation.
LONGEST = 40.0


@dataclass(frozen=True)
class Failure:
    """A failure of AWS or of the way to it."""

    name: str
    says: str
    """Words of the cause that the line must contain."""
    start: Start = lambda _sandbox: None
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables that produce it, if it lies on the way to AWS; `{port}` is the stand-in's."""
    is_slow: bool = False
    """True if it takes as long as an operation may."""


def stand_in_fault(kind: str, says: str, *, is_slow: bool = False) -> Failure:
    """Return a fault of the stand-in for every call."""

    def start(sandbox: Sandbox) -> None:
        sandbox.faults.order(ANY, kind, times=None)

    return Failure(kind, says, start, is_slow=is_slow)


def aws_error(code: str, message: str, says: str = "", *, status: int = 403) -> Failure:
    """Return an error answer in AWS's own words."""

    def start(sandbox: Sandbox) -> None:
        sandbox.faults.refuse(ANY, code, message, status=status, times=None)

    return Failure(f"{code} {message[:24]}".strip(), says or code, start)


def endpoint(name: str, url: str, says: str, *, is_slow: bool = False) -> Failure:
    """Return a way to STS that leads nowhere."""
    environ = {"AWS_ENDPOINT_URL_STS": url, "AWS_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_IAM": url}
    return Failure(name, says, environ=environ, is_slow=is_slow)


def proxy_failure(name: str, proxy: str, says: str) -> Failure:
    """Return a failure of a proxy in front of AWS."""
    none = {"NO_PROXY": "", "no_proxy": ""}
    return Failure(name, says, environ={"HTTP_PROXY": proxy, "http_proxy": proxy, **none})


def _skewed(seconds: float) -> Start:
    return lambda sandbox: sandbox.faults.skew(seconds)


#: Errors of AWS itself (STS API reference, "Errors"), and its server errors.
REFUSALS = (
    aws_error("ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            "exceeds the MaxSessionDuration", status=400),
    aws_error("AccessDenied",
            "User: arn:aws:iam::444455556666:user/ci/ci-deploy is not authorized to perform: "
            "sts:AssumeRole on resource: arn:aws:iam::123412341234:role/audit/Auditor",
            "not authorized to perform"),
    aws_error("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.",
            "refused the MFA code"),
    aws_error("AccessDenied",
            "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."),
    aws_error("AccessDenied", "Cannot call GetSessionToken with session credentials",
            "Cannot call GetSessionToken"),
    aws_error("InvalidClientTokenId", "The security token included in the request is invalid."),
    aws_error("ExpiredToken", "The security token included in the request is expired"),
    aws_error("ExpiredTokenException", "The security token included in the request is expired"),
    aws_error("ExpiredTokenException", "Token must be redeemed within 5 minutes of issuance",
            "redeemed within 5 minutes", status=400),
    aws_error("ExpiredTokenException", "Response has expired", "Response has expired", status=400),
    aws_error("InvalidIdentityToken", "Response signature invalid", status=400),
    aws_error("IDPRejectedClaim", "The identity provider rejected the claim"),
    aws_error("SignatureDoesNotMatch",
            "Signature expired: 20160609T184512Z is now earlier than 20160610T013008Z "
            "(20160610T014508Z - 15 min.)", "Signature"),
    aws_error("SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided."),
    aws_error("RegionDisabledException",
            "STS is not activated in the requested region for account: 444455556666",
            "not activated in this region"),
    aws_error("PackedPolicyTooLarge", "PackedPolicySize exceeds the limit", status=400),
    aws_error("MalformedPolicyDocument", "Syntax errors in policy.", status=400),
    aws_error("InvalidAuthorizationMessageException", "", status=400),
    aws_error("AccessDenied", "<b>no</b>\x1b]0;hostile\x07 [/x] [@click=app.quit()] " + "A" * 5000,
            "AccessDenied"),
    stand_in_fault("error", "InternalFailure"),
    stand_in_fault("throttle", "Throttling"),
    stand_in_fault("throttle-429", "TooManyRequestsException"),
    stand_in_fault("throttle-503", "ServiceUnavailable"),
    Failure("clock 20 min behind", "20 min behind", _skewed(1200)),
    Failure("clock a day ahead", "24h ahead", _skewed(-86400)),
)  # fmt: skip

#: Invalid answers.
ANSWERS = (
    stand_in_fault("tls", "returned an invalid HTTP response"),
    stand_in_fault("not-http", "returned an invalid HTTP response"),
    *(stand_in_fault(kind, NOT_AWS) for kind in (
        "proxy-200", "proxy-403", "proxy-407", "proxy-502", "portal-302", "portal-511",
        "answer-502",
        "truncated", "short", "not-xml", "json", "empty",
    )),
    *(stand_in_fault(kind, BROKEN_OFF) for kind in ("reset", "answer-lost", "reset-in-answer")),
    *(stand_in_fault(kind, MALFORMED) for kind in (
        "wrong-xml", "missing", "no-token", "no-expiry", "nan-date", "garbage-date", "naive-date",
    )),
    *(stand_in_fault(kind, "the response is longer than 1 MiB") for kind in ("huge-page", "huge-field")),
    stand_in_fault("past-expiry", "expired at 01 Jan"),
)  # fmt: skip

#: No answer, for as long as an operation may wait.
SILENCE = (
    stand_in_fault("time-out", "no response from", is_slow=True),
    stand_in_fault("answer-never", "no response from", is_slow=True),
    stand_in_fault("drip", "no response from AWS within", is_slow=True),
)

#: No way to AWS.
WAYS = (
    endpoint("no such name", "http://sts.nowhere.invalid", "could not resolve sts.nowhere.invalid"),
    endpoint("refused", "http://127.0.0.1:9", "127.0.0.1:9 refused the connection"),
    endpoint("no route", "http://[fe80::1]", "no route to fe80::1"),
    endpoint("TLS to what speaks none", "https://127.0.0.1:{port}", "TLS connection to"),
    endpoint("no URL", "sts.amazonaws", "sts.amazonaws"),
    proxy_failure("a proxy that is not there", "http://127.0.0.1:9",
                  "could not connect to proxy 127.0.0.1:9"),
    proxy_failure("a proxy whose name is unknown", "http://proxy.nowhere.invalid:3128",
                  "could not connect to proxy proxy.nowhere.invalid:3128"),
)  # fmt: skip

QUICK = (*REFUSALS, *ANSWERS)
ALL = (*QUICK, *WAYS, *SILENCE)
