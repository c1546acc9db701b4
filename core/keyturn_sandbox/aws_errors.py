"""AWS's error responses: code, HTTP status and message, each in AWS's exact words where they are known.

The messages are quoted from public error reports of AWS's responses. Docstrings name the issue that quotes a
message.
"""

from __future__ import annotations


class Refusal(Exception):
    """An error response of a query API.

    :param code: AWS's error code.
    :param message: AWS's message.
    :param status: the HTTP status.
    """

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status

    @property
    def at_fault(self) -> str:
        """Return `Sender` or `Receiver`, the `Type` element of the error document."""
        return "Sender" if self.status < 500 else "Receiver"


def missing_authentication() -> Refusal:
    return Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", 403)


def incomplete_signature(message: str) -> Refusal:
    return Refusal("IncompleteSignature", message, 400)


def invalid_token() -> Refusal:
    """Return the error for a key that is unknown, inactive, deleted, not yet propagated or of another
    partition; for a session token that is wrong, missing or superfluous; and for a GetSessionToken session
    without MFA that calls IAM (aws/aws-sdk-js#460)."""
    return Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", 403)


def expired_token() -> Refusal:
    return Refusal("ExpiredToken", "The security token included in the request is expired", 403)


def signature_mismatch(message: str = "") -> Refusal:
    return Refusal(
        "SignatureDoesNotMatch",
        message
        or "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
        "Access Key and signing method. Consult the service documentation for details.",
        403,
    )


def access_denied(message: str) -> Refusal:
    return Refusal("AccessDenied", message, 403)


def not_authorized(who: str, action: str, resource: str, reason_clause: str = "") -> Refusal:
    """Return the error for a missing permission. `reason_clause` is the clause at the end of newer
    messages."""
    reason = f" {reason_clause}" if reason_clause else ""
    return access_denied(
        f"User: {who} is not authorized to perform: {action} on resource: {resource}{reason}"
    )


def wrong_mfa_code() -> Refusal:
    return access_denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")


def unknown_mfa_device() -> Refusal:
    """Return the error for an unknown MFA device. The two spaces in the message are AWS's
    (aws/aws-cli#6325)."""
    return access_denied(
        "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is "
        "valid and associated with this user."
    )


def incomplete_mfa() -> Refusal:
    return access_denied(
        "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
    )


def validation(message: str) -> Refusal:
    return Refusal("ValidationError", message, 400)


def invalid_input(message: str) -> Refusal:
    return Refusal("InvalidInput", message, 400)


def malformed_policy(message: str) -> Refusal:
    return Refusal("MalformedPolicyDocument", message, 400)


def packed_too_large(percent: int) -> Refusal:
    return Refusal(
        "PackedPolicyTooLarge",
        f"Packed policy consumes {percent}% of allotted space, please use smaller policy.",
        400,
    )


def region_disabled(account: str) -> Refusal:
    """Return the error for a disabled region. `account` is the caller's (turbot/steampipe-plugin-aws#1510,
    awsdocs/iam-user-guide#283)."""
    return Refusal(
        "RegionDisabledException",
        f"STS is not activated in this region for account:{account}. Your account administrator can activate STS in "
        "this region using the IAM Console.",
        403,
    )


def no_such_entity(message: str) -> Refusal:
    return Refusal("NoSuchEntity", message, 404)


def limit_exceeded(message: str) -> Refusal:
    return Refusal("LimitExceeded", message, 409)


def invalid_action(action: str, version: str) -> Refusal:
    return Refusal("InvalidAction", f"Could not find operation {action} for version {version}", 400)


def throttled(status: int = 400) -> Refusal:
    """Return the error for too many calls: 400 as STS and IAM, 429 as newer services and gateways, 503 as an
    overloaded host."""
    if status == 503:
        return Refusal("ServiceUnavailable", "Service is unable to handle request.", 503)
    return Refusal("TooManyRequestsException" if status == 429 else "Throttling", "Rate exceeded", status)


def internal_failure() -> Refusal:
    return Refusal(
        "InternalFailure",
        "The request processing has failed because of an unknown error, exception or failure.",
        500,
    )


def not_implemented() -> Refusal:
    """Return the error for every other service. The code and the message are keyturn's, not AWS's."""
    return Refusal("NotImplemented", "The keyturn sandbox implements only STS and IAM", 501)
