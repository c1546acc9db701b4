"""Conversion of botocore exceptions to the tree of :mod:`keyturn.model.errors`."""

from __future__ import annotations

import errno
import re
import shlex
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from keyturn.model.errors import (
    AwsError,
    AwsRefused,
    ClockSkew,
    Hint,
    NeedsLogin,
    NoResponse,
    ProfileBroken,
    Remedy,
    Unreachable,
    WrongMfaCode,
    parts_of,
)
from keyturn.model.labels import sign_in_command
from keyturn.model.profile import Kind
from keyturn.model.redaction import redacted
from keyturn.model.text import span
from keyturn.system.clock import system_clock


class MalformedResponse(ValueError):
    """The response does not have the form of an AWS response."""


class UnacceptableResponse(MalformedResponse):
    """The response is in AWS's form, and refused for the reason that its text gives."""


class ResponseTooLong(UnacceptableResponse):
    """The response is longer than any of AWS."""

    def __init__(self) -> None:
        super().__init__("the response is longer than 1 MiB")


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Convert exceptions of botocore.

    :raises AwsError: if the block raises one.
    """
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    try:
        yield
    except boto.ClientError as error:
        raise error_from_response(what, error.response, system_clock()) from None
    except (boto.ParamValidationError, boto.InvalidRegionError, ValueError) as error:
        if isinstance(error, MalformedResponse) or _failed_while_reading(error):
            why = str(error) if isinstance(error, UnacceptableResponse) else _MALFORMED
            raise NoResponse(what, why, "Try again; if it persists, check for a proxy") from None
        raise AwsRefused(
            what, exception_text(error), "Correct the profile's definition", code="ValidationError"
        ) from None
    except ResponseParserError:
        why = "the response is not from AWS (a proxy or captive portal may have answered)"
        raise NoResponse(what, why, "Check the network, then try again") from None
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        kind = Unreachable if isinstance(error, _unsent_errors()) else NoResponse
        raise kind(what, network_error_text(error), "Check the network, then try again") from None
    except (KeyError, AttributeError, TypeError):
        raise NoResponse(what, _MALFORMED, "Try again; if it persists, check for a proxy") from None
    except boto.BotoCoreError as error:
        raise AwsError(what, exception_text(error), "Correct the profile's definition") from None


_MALFORMED = "the response is not a valid AWS response"


def _unsent_errors() -> tuple[type[Exception], ...]:
    """Return the botocore exceptions that are raised before the request was sent; a TLS error nearly always
    is."""
    from botocore import exceptions as boto

    return (
        boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError, boto.SSLError,
    )  # fmt: skip


def _failed_while_reading(error: Exception) -> bool:
    """Return True if botocore failed while parsing a response, not while preparing the request."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_globals.get("__name__") == "botocore.parsers" for frame, _ in frames)


def native_error(  # noqa: PLR0911  # one return per cause
    what: str, error: Exception, profile: str
) -> AwsError | ProfileBroken | NeedsLogin:
    """Convert an exception of a botocore credential provider."""
    from botocore import exceptions as boto

    sso = (boto.SSOTokenLoadError, boto.UnauthorizedSSOTokenError, boto.TokenRetrievalError, boto.SSOError)
    if isinstance(error, sso):
        return NeedsLogin(what, exception_text(error), f"Run: {sign_in_command(Kind.SSO_ROLE, profile)}")
    if isinstance(error, getattr(boto, "LoginInsufficientPermissions", ())):
        hint = "Ask an administrator for the policy SignInLocalDevelopmentAccess"
        return AwsError(what, exception_text(error), hint)
    if isinstance(error, getattr(boto, "LoginError", ())):
        return NeedsLogin(what, exception_text(error), f"Run: {sign_in_command(Kind.CONSOLE_LOGIN, profile)}")
    if isinstance(error, boto.MissingDependencyException):
        install = f"Install it for keyturn: {shlex.quote(sys.executable)} -m pip install 'botocore[crt]'"
        return ProfileBroken(what, "botocore needs the package awscrt for it", install)
    if isinstance(error, boto.ClientError):
        return error_from_response(what, error.response, system_clock())
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError)):
        return Unreachable(what, network_error_text(error), "Check the network, then try again")
    return ProfileBroken(what, exception_text(error), "Correct the profile's definition")


#: STS and IAM accept a signature for 15 minutes, other services for 5. A smaller skew is not the cause of an
#: error.
SKEW = timedelta(minutes=4)
#: An MFA code is valid for 30 seconds, and AWS also accepts the adjacent ones.
MFA_SKEW = timedelta(seconds=60)

_TIMESTAMP = r"\d{8}T\d{6}Z"
#: Examples: `Signature expired: LOCAL is now earlier than LIMIT (REMOTE - 15 min.)`; "not yet current" has
#: `REMOTE + 15 min.`.
_SKEW_MESSAGE = re.compile(
    rf"Signature (?:expired|not yet current): ({_TIMESTAMP}) .*?\(({_TIMESTAMP}) [-+]", re.ASCII
)
_MFA_INVALID = ("invalid mfa one time pass code",)
#: AWS requires an MFA code, but the profile names no device, or not the one registered with AWS.
_MFA_MISSING = ("must provide both mfa serial number", "invalid mfa serial", "verify your mfa serial number")
_SKEW_CODES = ("SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed",
          "RequestInTheFuture")  # fmt: skip
_SET_CLOCK = "Set the clock (for example: timedatectl set-ntp true), then try again"

#: Codes of AWS for an expired session: of query services, and of JSON services.
EXPIRED_SESSION_CODES = frozenset({"ExpiredToken", "ExpiredTokenException"})
#: Codes of AWS for a session that it does not accept any more: expired, or of a deleted role or user.
ENDED_SESSION_CODES = EXPIRED_SESSION_CODES | {"InvalidClientTokenId"}
#: Codes that a session may cause before it expires. A revoked one is denied by a policy on
#: `aws:TokenIssueTime` (IAM User Guide, "Revoke IAM role temporary security credentials"), which AWS reports
#: like a missing permission.
SESSION_REFUSAL_CODES = ENDED_SESSION_CODES | {"AccessDenied"}


def is_session_refusal(error: AwsRefused) -> bool:
    """Return True if the session that signed a call may be the cause of AWS's refusal."""
    return error.code in SESSION_REFUSAL_CODES and not isinstance(error, WrongMfaCode)


_HINTS: dict[str, Hint] = {
    "InvalidClientTokenId": (
        "The key may be deleted, inactive, from another partition, or unknown in a region that is not enabled"
    ),
    "SignatureDoesNotMatch": (
        "The secret does not belong to this key id. Correct the key pair at its "
        "source; if that is the vault, adopt it again"
    ),
    "ExpiredToken": "The session has expired; refresh it",
    "ExpiredTokenException": "The session has expired; refresh it",
    "Throttling": "AWS is throttling requests; try again in a minute",
    "ThrottlingException": "AWS is throttling requests; try again in a minute",
    "TooManyRequestsException": "AWS is throttling requests; try again in a minute",
    **dict.fromkeys(
        ("InternalFailure", "InternalError", "ServiceUnavailable", "ServiceFailure", "RequestTimeout"),
        "AWS has an internal problem; try again in a minute",
    ),
    **dict.fromkeys(
        ("InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"),
        "Sign in again at your identity provider, or check its trust relationship with AWS",
    ),
    "ValidationError": (
        "Correct the value that AWS reports: ",
        Remedy("show", "PROFILE"),
        ", ",
        Remedy("set", "PROFILE", "NAME=VALUE"),
    ),
    "AccessDenied": "Ask an administrator to change the role's trust policy or your permissions",
    "MalformedPolicyDocument": ("Correct the session policy: ", Remedy("set", "PROFILE", "policy=FILE")),
    "PackedPolicyTooLarge": (
        "Shorten the session policy or the tags: ",
        Remedy("set", "PROFILE", "policy=FILE"),
    ),
}

#: Hint for other error codes.
_DEFAULT_HINT = "Correct the cause that AWS reports, or ask your AWS administrator; then try again"


def error_from_response(what: str, response: Mapping[str, Any], now: datetime) -> AwsError:
    """Return the error for an error response.

    :param response: as parsed by botocore: `Error`, and `ResponseMetadata` with the HTTP headers.
    :param now: time of this machine, which signs the requests; aware UTC.
    """
    body, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, message = (redacted(_start(str(body.get(name, "")))) for name in ("Code", "Message"))
    request_id = _start(str(metadata.get("RequestId", "")))
    skew = clock_skew(message, metadata.get("HTTPHeaders", {}), now)
    if code == "AccessDenied" and any(part in message.lower() for part in _MFA_INVALID):
        return _wrong_mfa_code(what, skew, code, request_id)
    if skew is not None and abs(skew) > SKEW and (code in _SKEW_CODES or _SKEW_MESSAGE.search(message)):
        return ClockSkew(what, describe_skew(skew), _SET_CLOCK, code=code, request_id=request_id)
    why = f"{code}: {message}" if message else code
    hint: Hint = _HINTS.get(code, _DEFAULT_HINT)
    if code == "AccessDenied" and any(part in message.lower() for part in _MFA_MISSING):
        hint = ("Set the MFA device registered with AWS: ", Remedy("set", "PROFILE", "mfa_serial=ARN"))
    if code == "RegionDisabledException":
        why = f"{code}: STS is not activated in this region"
        hint = (
            "Activate the region in the account, or choose another: ",
            Remedy("set", "PROFILE", "region=REGION"),
        )
    if skew is not None and abs(skew) > SKEW:
        hint = (*parts_of(hint), f". Also, {describe_skew(skew)}")
    return AwsRefused(what, why, hint, code=code, request_id=request_id)


#: Longest text of AWS in an error line.
_MAX_TEXT = 2000


def _start(text: str) -> str:
    """Return a text that fits an error line. It is cut between words, because half a secret could not be
    recognized.
    """
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT].rpartition(' ')[0]}…"


def _wrong_mfa_code(what: str, skew: timedelta | None, code: str, request_id: str) -> WrongMfaCode:
    why, hint = "AWS refused the MFA code", "Wait for the next code (each works once), then try again"
    if skew is not None and abs(skew) > MFA_SKEW:
        why = f"{why}, and {describe_skew(skew)}"
        hint = f"MFA codes computed on this machine are wrong then. {_SET_CLOCK}"
    return WrongMfaCode(what, why, hint, code=code, request_id=request_id)


def clock_skew(message: str, headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return how far the clock of this machine is ahead of AWS (negative: behind), from the `Date` header,
    else from the message; None if neither has a time.
    """
    try:
        from email.utils import parsedate_to_datetime  # slow to import

        return now - parsedate_to_datetime(str(headers["date"])).astimezone(UTC)
    except (KeyError, ValueError, TypeError, OverflowError):
        pass
    match = _SKEW_MESSAGE.search(message)
    if match is None:
        return None
    try:
        local, remote = (
            datetime.strptime(part, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for part in match.groups()
        )
    except ValueError:
        return None
    return local - remote


def describe_skew(skew: timedelta) -> str:
    """Return the skew as text: `the system clock is 17 min behind AWS`."""
    direction = "ahead of" if skew > timedelta(0) else "behind"
    seconds = abs(skew).total_seconds()
    if seconds < 120:
        amount = f"{seconds:.0f} s"
    elif seconds < 7200:
        amount = f"{seconds / 60:.0f} min"
    else:
        amount = span(timedelta(minutes=round(seconds / 60)))
    return f"the system clock is {amount} {direction} AWS"


#: Maximum length of an exception message in an error line.
_MAX_CHARS = 200
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EINVAL)


def network_error_text(error: Exception) -> str:  # noqa: PLR0911  # one return per cause
    """Return the cause of a botocore connection error, which is nested in other exceptions.

    :param error: its `kwargs` name the endpoint or proxy.
    """
    import http.client
    import socket
    import ssl

    details = getattr(error, "kwargs", {})
    if "proxy_url" in details:
        return f"could not connect to proxy {_host(details['proxy_url'])}"
    host = _host(details.get("endpoint_url", ""))
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case ResponseTooLong():
                return str(cause)
            case ssl.SSLCertVerificationError():
                return f"certificate of {host} is not trusted ({cause.verify_message})"
            case ssl.SSLError():
                reason = (cause.reason or "unknown TLS error").replace("_", " ").lower()
                return f"TLS connection to {host} failed ({reason})"
            case socket.gaierror():
                return f"could not resolve {host}"
            case ConnectionRefusedError():
                return f"{host} refused the connection"
            case OSError() if cause.errno in _NO_ROUTE:
                return f"no route to {host}"
            case http.client.BadStatusLine() if not isinstance(cause, ConnectionError):
                return f"{host} returned an invalid HTTP response"
    if any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in causes):
        return f"no response from {host} in time"
    if any(isinstance(cause, (ConnectionError, http.client.HTTPException)) for cause in causes):
        return f"{host} closed the connection before the response was complete"
    text = exception_text(error)
    return text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…"


def exception_text(error: Exception) -> str:
    """Return the message of a third-party exception on one line, redacted, because some quote their input:
    the HTTP client an invalid header with the session token, botocore the stderr of a
    `credential_process`.
    """
    return " ".join(redacted(str(error)).split())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and every exception behind it, each once."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        current = queue.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        queue += [*getattr(current, "kwargs", {}).values(), *current.args, getattr(current, "reason", None)]
        queue += [current.__cause__, current.__context__]


def _host(url: object) -> str:
    """Return host and port of a URL, without the user name and password that a proxy URL may contain."""
    try:
        parts = urlsplit(str(url))
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "AWS"
    return f"{parts.hostname}{port}" if parts.hostname else "AWS"
