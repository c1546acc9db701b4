"""AWS's error responses: code, HTTP status and message, each in AWS's exact words where they are known.

The messages are quoted from public error reports of AWS's responses. Comments name the issue that quotes a
message. Each name is called where the error is raised; those without a message of their own take it as
argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial


@dataclass(eq=False)
class Refusal(Exception):
    """An error response of a query API."""

    code: str
    status: int
    """HTTP status."""
    message: str


missing_authentication = partial(
    Refusal, "MissingAuthenticationToken", 403, "Request is missing Authentication Token"
)
incomplete_signature = partial(Refusal, "IncompleteSignature", 400)
#: For a key that is unknown, inactive, deleted, not yet propagated or of another partition; for a session
#: token that is wrong, missing or superfluous; and for a GetSessionToken session without MFA that calls IAM
#: (aws/aws-sdk-js#460).
invalid_token = partial(
    Refusal, "InvalidClientTokenId", 403, "The security token included in the request is invalid."
)
expired_token = partial(Refusal, "ExpiredToken", 403, "The security token included in the request is expired")
signature_mismatch = partial(Refusal, "SignatureDoesNotMatch", 403)
wrong_signature = partial(
    signature_mismatch,
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
    "Access Key and signing method. Consult the service documentation for details.",
)
access_denied = partial(Refusal, "AccessDenied", 403)
wrong_mfa_code = partial(
    access_denied, "MultiFactorAuthentication failed with invalid MFA one time pass code."
)
#: The two spaces in the message are AWS's (aws/aws-cli#6325).
unknown_mfa_device = partial(
    access_denied,
    "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is "
    "valid and associated with this user.",
)
incomplete_mfa = partial(
    access_denied,
    "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
)
validation = partial(Refusal, "ValidationError", 400)
invalid_input = partial(Refusal, "InvalidInput", 400)
malformed_policy = partial(Refusal, "MalformedPolicyDocument", 400)
no_such_entity = partial(Refusal, "NoSuchEntity", 404)
limit_exceeded = partial(Refusal, "LimitExceeded", 409)
internal_failure = partial(
    Refusal,
    "InternalFailure",
    500,
    "The request processing has failed because of an unknown error, exception or failure.",
)
#: For every other service. The code and the message are keyturn's, not AWS's.
not_implemented = partial(Refusal, "NotImplemented", 501, "The keyturn sandbox implements only STS and IAM")


def not_authorized(who: str, action: str, resource: str, reason_clause: str = "") -> Refusal:
    """Return the error for a missing permission. `reason_clause` is the clause at the end of newer
    messages."""
    reason = f" {reason_clause}" if reason_clause else ""
    return access_denied(
        f"User: {who} is not authorized to perform: {action} on resource: {resource}{reason}"
    )


def packed_too_large(percent: int) -> Refusal:
    return Refusal(
        "PackedPolicyTooLarge",
        400,
        f"Packed policy consumes {percent}% of allotted space, please use smaller policy.",
    )


def region_disabled(account: str) -> Refusal:
    """Return the error for a disabled region. `account` is the caller's (turbot/steampipe-plugin-aws#1510,
    awsdocs/iam-user-guide#283)."""
    return Refusal(
        "RegionDisabledException",
        403,
        f"STS is not activated in this region for account:{account}. Your account administrator can activate "
        "STS in this region using the IAM Console.",
    )


def invalid_action(action: str, version: str) -> Refusal:
    return Refusal("InvalidAction", 400, f"Could not find operation {action} for version {version}")


def throttled(status: int = 400) -> Refusal:
    """Return the error for too many calls: 400 as STS and IAM, 429 as newer services and gateways, 503 as an
    overloaded host."""
    if status == 503:
        return Refusal("ServiceUnavailable", 503, "Service is unable to handle request.")
    return Refusal("TooManyRequestsException" if status == 429 else "Throttling", status, "Rate exceeded")
