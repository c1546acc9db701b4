"""What an error answer of AWS's means for a person: one class, one line, a next step (aws-facts 4). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from keyturn.errors import AwsError, AwsRefused, ClockSkew, WrongMfaCode
from keyturn.redaction import redacted
from keyturn.text import span

#: STS and IAM take a signature for 15 minutes, other services for 5; less than this is no cause of a refusal.
SKEW = timedelta(minutes=4)
#: A code of an MFA device lives for 30 seconds, and AWS takes the neighbours too.
MFA_SKEW = timedelta(seconds=60)

_MOMENT = r"\d{8}T\d{6}Z"
#: `Signature expired: OURS is now earlier than LIMIT (THEIRS - 15 min.)`; "not yet current" has `THEIRS + 15 min.`.
_SIGNED = re.compile(rf"Signature (?:expired|not yet current): ({_MOMENT}) .*?\(({_MOMENT}) [-+]", re.ASCII)
_MFA_REFUSALS = ("invalid mfa one time pass code",)
#: AWS wants a code, and the profile names no device for one, or not the one that AWS knows.
_MFA_MISSING = ("must provide both mfa serial number", "invalid mfa serial", "verify your mfa serial number")
_TIMED = ("SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed",
          "RequestInTheFuture")  # fmt: skip
_SET = "Set the clock (for example: timedatectl set-ntp true), then try again"

_HINTS = {
    "InvalidClientTokenId": "The key may be deleted or inactive, of another partition, or of a region that is not enabled",
    "SignatureDoesNotMatch": "The secret does not belong to this key id; put the right pair where the key is kept, and adopt it again if that is keyturn's vault",
    "ExpiredToken": "The session has ended; refresh it",
    "ExpiredTokenException": "The session has ended; refresh it",
    "Throttling": "AWS asks to slow down; try again in a minute",
    "ThrottlingException": "AWS asks to slow down; try again in a minute",
    "TooManyRequestsException": "AWS asks to slow down; try again in a minute",
    **dict.fromkeys(
        ("InternalFailure", "InternalError", "ServiceUnavailable", "ServiceFailure", "RequestTimeout"),
        "AWS has trouble of its own; try again in a minute",
    ),
    **dict.fromkeys(
        ("InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"),
        "Sign in again at your identity provider; the trust between it and AWS may be off",
    ),
    "ValidationError": "Correct what AWS names: keyturn show PROFILE, keyturn set PROFILE NAME=VALUE",
    "AccessDenied": "Somebody who may change the role's trust policy or your permissions can allow it",
    "MalformedPolicyDocument": "Correct the session policy: keyturn set PROFILE policy=FILE",
    "PackedPolicyTooLarge": "Shorten the session policy or the tags: keyturn set PROFILE policy=FILE",
}

#: For a code that no advice is known for.
_ANY_HINT = "Correct what AWS names, or ask whoever runs the account; then try again"


def refusal(what: str, response: Mapping[str, Any], now: datetime) -> AwsError:
    """The error for an error answer.

    :param response: as botocore parsed it: `Error`, and `ResponseMetadata` with the HTTP headers.
    :param now: this machine's own time, by which requests are signed; aware UTC.
    """
    body, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, message = redacted(str(body.get("Code", ""))), redacted(str(body.get("Message", "")))
    request_id = str(metadata.get("RequestId", ""))
    skew = skew_of(message, metadata.get("HTTPHeaders", {}), now)
    if code == "AccessDenied" and any(part in message.lower() for part in _MFA_REFUSALS):
        return _wrong_code(what, skew, code, request_id)
    if skew is not None and abs(skew) > SKEW and (code in _TIMED or _SIGNED.search(message)):
        return ClockSkew(what, clock_words(skew), _SET, code=code, request_id=request_id)
    why = f"{code}: {message}" if message else code
    hint = _HINTS.get(code, _ANY_HINT)
    if code == "AccessDenied" and any(part in message.lower() for part in _MFA_MISSING):
        hint = "Name the MFA device that AWS knows: keyturn set PROFILE mfa_serial=ARN"
    if code == "RegionDisabledException":
        why = f"{code}: STS is not activated in this region"
        hint = "Activate the region in the account, or choose another: keyturn set PROFILE region=REGION"
    if skew is not None and abs(skew) > SKEW:
        hint = f"{hint}. Besides, {clock_words(skew)}" if hint else f"Besides, {clock_words(skew)}; set it"
    return AwsRefused(what, why, hint, code=code, request_id=request_id)


def _wrong_code(what: str, skew: timedelta | None, code: str, request_id: str) -> WrongMfaCode:
    why, hint = "AWS refused the MFA code", "Wait for the next code (each works once), then try again"
    if skew is not None and abs(skew) > MFA_SKEW:
        why = f"{why}, and {clock_words(skew)}"
        hint = f"A code that this machine computes is then wrong. {_SET}"
    return WrongMfaCode(what, why, hint, code=code, request_id=request_id)


def skew_of(message: str, headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How far this machine's clock is ahead of AWS's (negative: behind), by the answer's `Date`, else by what the
    message tells; None where neither does."""
    try:
        return now - parsedate_to_datetime(str(headers["date"])).astimezone(UTC)
    except (KeyError, ValueError, TypeError, OverflowError):
        pass
    found = _SIGNED.search(message)
    if found is None:
        return None
    try:
        ours, theirs = (
            datetime.strptime(part, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for part in found.groups()
        )
    except ValueError:
        return None
    return ours - theirs


def clock_words(skew: timedelta) -> str:
    """`this machine's clock is 17 min behind AWS's`."""
    way = "ahead of" if skew > timedelta(0) else "behind"
    seconds = abs(skew).total_seconds()
    if seconds < 120:
        size = f"{seconds:.0f} s"
    elif seconds < 7200:
        size = f"{seconds / 60:.0f} min"
    else:
        size = span(timedelta(minutes=round(seconds / 60)))
    return f"this machine's clock is {size} {way} AWS's"
