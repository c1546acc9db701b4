"""Every failure of AWS or of the way to it (aws-facts 4), and the words that report it to the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keyturn_sandbox import Sandbox
from keyturn_sandbox.faults import ANY

#: Starts a failure in a sandbox, until `Sandbox.faults.clear`.
Strike = Callable[[Sandbox], None]

NOT_AWS = "the response is not from AWS"
STRANGE = "not a valid AWS response"
BROKEN_OFF = "closed the connection"
#: Seconds for a refresh in all, with room for a busy machine beside the 20 s limit of an operation.
LONGEST = 40.0


@dataclass(frozen=True)
class Failure:
    """A failure of AWS or of the way to it."""

    name: str
    says: str
    """Words of the cause that the line must contain."""
    strike: Strike = lambda _sandbox: None
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables that produce it, if it lies on the way to AWS; `{port}` is the stand-in's."""
    is_slow: bool = False
    """True if it takes as long as an operation may."""


def played(kind: str, says: str, *, is_slow: bool = False) -> Failure:
    """Return a fault of the stand-in for every call."""

    def strike(sandbox: Sandbox) -> None:
        sandbox.faults.order(ANY, kind, times=None)

    return Failure(kind, says, strike, is_slow=is_slow)


def refused(code: str, message: str, says: str = "", *, status: int = 403) -> Failure:
    """Return an error answer in AWS's own words."""

    def strike(sandbox: Sandbox) -> None:
        sandbox.faults.refuse(ANY, code, message, status=status, times=None)

    return Failure(f"{code} {message[:24]}".strip(), says or code, strike)


def endpoint(name: str, url: str, says: str, *, is_slow: bool = False) -> Failure:
    """Return a way to STS that leads nowhere."""
    environ = {"AWS_ENDPOINT_URL_STS": url, "AWS_ENDPOINT_URL": url, "AWS_ENDPOINT_URL_IAM": url}
    return Failure(name, says, environ=environ, is_slow=is_slow)


def through_proxy(name: str, proxy: str, says: str) -> Failure:
    """Return a failure of a proxy in front of AWS."""
    none = {"NO_PROXY": "", "no_proxy": ""}
    return Failure(name, says, environ={"HTTP_PROXY": proxy, "http_proxy": proxy, **none})


def _skewed(seconds: float) -> Strike:
    return lambda sandbox: sandbox.faults.skew(seconds)


#: Errors of AWS itself (aws-facts 4, "Error strings"), and its server errors.
REFUSALS = (
    refused("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            "exceeds the MaxSessionDuration", status=400),
    refused("AccessDenied", "User: arn:aws:iam::444455556666:user/ci/ci-deploy is not authorized to perform: "
            "sts:AssumeRole on resource: arn:aws:iam::123412341234:role/audit/Auditor", "not authorized to perform"),
    refused("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.",
            "refused the MFA code"),
    refused("AccessDenied", "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass "
            "code."),
    refused("AccessDenied", "Cannot call GetSessionToken with session credentials", "Cannot call GetSessionToken"),
    refused("InvalidClientTokenId", "The security token included in the request is invalid."),
    refused("ExpiredToken", "The security token included in the request is expired"),
    refused("ExpiredTokenException", "The security token included in the request is expired"),
    refused("ExpiredTokenException", "Token must be redeemed within 5 minutes of issuance", "redeemed within 5 minutes",
            status=400),
    refused("ExpiredTokenException", "Response has expired", "Response has expired", status=400),
    refused("InvalidIdentityToken", "Response signature invalid", status=400),
    refused("IDPRejectedClaim", "The identity provider rejected the claim"),
    refused("SignatureDoesNotMatch", "Signature expired: 20160609T184512Z is now earlier than 20160610T013008Z "
            "(20160610T014508Z - 15 min.)", "Signature"),
    refused("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."),
    refused("RegionDisabledException", "STS is not activated in the requested region for account: 444455556666",
            "not activated in this region"),
    refused("PackedPolicyTooLarge", "PackedPolicySize exceeds the limit", status=400),
    refused("MalformedPolicyDocument", "Syntax errors in policy.", status=400),
    refused("InvalidAuthorizationMessageException", "", status=400),
    refused("AccessDenied", "<b>no</b>\x1b]0;hostile\x07 [/x] [@click=app.quit()] " + "A" * 5000, "AccessDenied"),
    played("error", "InternalFailure"),
    played("throttle", "Throttling"),
    played("throttle-429", "TooManyRequestsException"),
    played("throttle-503", "ServiceUnavailable"),
    Failure("clock 20 min behind", "20 min behind", _skewed(1200)),
    Failure("clock a day ahead", "24h ahead", _skewed(-86400)),
)  # fmt: skip

#: Invalid answers.
ANSWERS = (
    played("tls", "returned an invalid HTTP response"),
    played("not-http", "returned an invalid HTTP response"),
    *(played(kind, NOT_AWS) for kind in (
        "proxy-200", "proxy-403", "proxy-407", "proxy-502", "portal-302", "portal-511", "huge-page", "answer-502",
        "truncated", "short", "not-xml", "json", "empty",
    )),
    *(played(kind, BROKEN_OFF) for kind in ("reset", "answer-lost", "reset-in-answer")),
    *(played(kind, STRANGE) for kind in (
        "wrong-xml", "missing", "no-token", "no-expiry", "nan-date", "garbage-date", "naive-date", "huge-field",
    )),
    played("past-expiry", "ended at 01 Jan"),
)  # fmt: skip

#: No answer, for as long as an operation may wait.
SILENCE = (
    played("time-out", "no response from", is_slow=True),
    played("answer-never", "no response from", is_slow=True),
    played("drip", "no response from AWS within", is_slow=True),
)

#: No way to AWS.
WAYS = (
    endpoint("no such name", "http://sts.nowhere.invalid", "could not resolve sts.nowhere.invalid"),
    endpoint("refused", "http://127.0.0.1:9", "127.0.0.1:9 refused the connection"),
    endpoint("no route", "http://[fe80::1]", "no route to fe80::1"),
    endpoint("TLS to what speaks none", "https://127.0.0.1:{port}", "TLS connection to"),
    endpoint("no URL", "sts.amazonaws", "sts.amazonaws"),
    through_proxy("a proxy that is not there", "http://127.0.0.1:9", "could not connect to proxy 127.0.0.1:9"),
    through_proxy("a proxy whose name is unknown", "http://proxy.nowhere.invalid:3128",
                  "could not connect to proxy proxy.nowhere.invalid:3128"),
)  # fmt: skip

QUICK = (*REFUSALS, *ANSWERS)
ALL = (*QUICK, *WAYS, *SILENCE)
