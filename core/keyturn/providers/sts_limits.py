"""STS limits: durations, names, tags and policies, checked before a request is sent (STS API reference)."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from keyturn.model.errors import Remedy, UsageError

MIN_SECONDS = 900
SESSION_TOKEN_DEFAULT = 43_200
SESSION_TOKEN_MAX = 129_600
ROLE_DEFAULT = 3_600
ROLE_MAX = 43_200
CHAINED_MAX = 3_600
#: Shortest remaining validity of an MFA session that is used to assume a role.
MFA_SESSION_MIN_LEFT = timedelta(minutes=2)


def for_session_token(seconds: int | None) -> int:
    """Return the duration for GetSessionToken in seconds, 12 h by default.

    :raises UsageError: if it is outside 900 to 129600.
    """
    return _check_seconds(seconds, SESSION_TOKEN_DEFAULT, SESSION_TOKEN_MAX, "a session of an IAM user")


def for_role(configured: int | None, *, chained: bool) -> tuple[int, str]:
    """Return the duration for AssumeRole in seconds, and a note if AWS's rules shorten it.

    :param chained: True if the signer is a temporary session, because AWS then allows one hour.
    :raises UsageError: if it is outside 900 to 43200.
    """
    seconds = _check_seconds(configured, ROLE_DEFAULT, ROLE_MAX, "a role's session")
    if chained and seconds > CHAINED_MAX:
        return CHAINED_MAX, "AWS allows at most one hour for role chaining"
    return seconds, ""


def _check_seconds(seconds: int | None, default: int, longest: int, what: str) -> int:
    if seconds is None:
        return default
    if not MIN_SECONDS <= seconds <= longest:
        why = f"{seconds} s is not between {MIN_SECONDS} and {longest} s, which AWS allows for {what}"
        raise UsageError("Invalid duration_seconds", why, Remedy("set", "PROFILE", "duration=SECONDS"))
    return seconds


MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 50, 128, 256
MAX_POLICY_ARNS, MAX_POLICY = 10, 2048

_NAME = re.compile(r"[\w+=,.@-]*", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]*", re.ASCII)
_SERIAL = re.compile(r"[\w+=/:,.@-]*", re.ASCII)
_POLICY = re.compile(r"[\u0009\u000A\u000D\u0020-\u00FF]*")
_POLICY_ARN = re.compile(r"arn:aws[\w-]*:iam::(\d{12}|aws):policy/[\x21-\x7e]+", re.ASCII)
_ROLE_ARN = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/[\x21-\x7e]+", re.ASCII)


def role_arn(text: str) -> str:
    """Check a role's ARN, of any partition."""
    return _check_text(
        "role_arn", text, _ROLE_ARN, (20, 2048), "It looks like arn:aws:iam::123456789012:role/NAME"
    )


def session_name(text: str) -> str:
    """Check a `RoleSessionName`."""
    return _check_text(
        "role_session_name", text, _NAME, (2, 64), "Letters, digits and _ + = , . @ - are allowed"
    )


def source_identity(text: str) -> str:
    """Check a `SourceIdentity`. The prefix `aws:` is reserved by AWS."""
    if text.startswith("aws:"):
        raise UsageError(
            "Invalid source_identity",
            f"{text} begins with aws:, which is reserved by AWS",
            "Remove the prefix",
        )
    return _check_text(
        "source_identity", text, _NAME, (2, 64), "Letters, digits and _ + = , . @ - are allowed"
    )


def external_id(text: str) -> str:
    """Check an `ExternalId`."""
    allowed = "Letters, digits and _ + = , . @ : / - are allowed"
    return _check_text("external_id", text, _EXTERNAL_ID, (2, 1224), allowed)


def serial(text: str) -> str:
    """Check the serial number or ARN of an MFA device that shows codes.

    :raises UsageError: if it is malformed, or a security key (`:u2f/`), which shows no codes.
    """
    if ":u2f/" in text:
        raise UsageError(
            "Invalid mfa_serial",
            "a security key or passkey shows no codes, which the AWS API requires",
            "Use a device that shows codes",
        )
    allowed = "It is an ARN such as arn:aws:iam::123456789012:mfa/NAME, or the number on the device"
    return _check_text("mfa_serial", text, _SERIAL, (9, 256), allowed)


def shows_codes(serial: str) -> bool:
    """Return True if an MFA device shows codes: a virtual device, or a hardware token, whose serial is no
    ARN.
    """
    return ":mfa/" in serial or not serial.startswith("arn:")


def tags(values: Mapping[str, str]) -> Mapping[str, str]:
    """Check session tags: at most 50, keys unique regardless of case."""
    if len(values) > MAX_TAGS:
        raise UsageError("Too many tags", f"there are {len(values)}, AWS allows {MAX_TAGS}", "Remove some")
    names: dict[str, str] = {}
    for key, value in values.items():
        other = names.setdefault(key.lower(), key)
        if other != key:
            raise UsageError(
                "Repeated tag",
                f"{other} and {key} are the same key for AWS, which ignores case",
                "Remove one",
            )
        if key.lower().startswith("aws:"):
            raise UsageError("Invalid tag", f"{key} begins with aws:, which is reserved by AWS", "Rename it")
        allowed = "Letters, digits, spaces and _ . : / = + - @ are allowed"
        _tag_text(f"tag {key}" if key else "tag key", key, (1, MAX_TAG_KEY), allowed)
        _tag_text(f"value of tag {key}", value, (0, MAX_TAG_VALUE), allowed)
    return values


def _tag_text(what: str, text: str, lengths: tuple[int, int], hint: str) -> None:
    """Check against `[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]`: letters, separators and numbers of any script, and some
    punctuation.
    """
    _check_length(what, text, lengths, hint)
    for char in text:
        if unicodedata.category(char)[0] not in "LZN" and char not in "_.:/=+-@":
            raise UsageError(f"Invalid {what}", f"AWS does not allow {char!r}", hint)


def transitive_tags(keys: Sequence[str], tags: Mapping[str, str]) -> Sequence[str]:
    """Check the keys of transitive tags, which are passed on in role chaining. Each must be a session tag."""
    missing = [key for key in keys if key not in tags]
    if missing:
        raise UsageError(
            "Invalid transitive_tags",
            f"{missing[0]} is not one of the tags",
            "Set that tag too, or unset both: tags= transitive_tags=",
        )
    return keys


def policy(text: str) -> str:
    """Check an inline session policy (JSON text)."""
    if len(text) > MAX_POLICY:
        why = f"it has {len(text)} characters, AWS allows {MAX_POLICY}"
        raise UsageError("Invalid policy", why, "Shorten it, or use policy_arns")
    invalid = next((char for char in text if not _POLICY.fullmatch(char)), None)
    if invalid is not None:
        raise UsageError(
            "Invalid policy",
            f"it contains U+{ord(invalid):04X}, and AWS allows no character above U+00FF",
            "Remove it",
        )
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = (
            f"line {error.lineno}: {error.msg}"
            if isinstance(error, json.JSONDecodeError)
            else "nested too deeply"
        )
        raise UsageError("Invalid policy", f"it is not JSON ({where})", "Correct it") from None
    if not isinstance(document, dict) or not document.get("Statement"):
        raise UsageError("Invalid policy", "it has no Statement", "Correct it: it is an IAM policy document")
    return text


def policy_arns(arns: Sequence[str]) -> Sequence[str]:
    """Check the ARNs of managed session policies."""
    if len(arns) > MAX_POLICY_ARNS:
        raise UsageError(
            "Too many policy_arns", f"there are {len(arns)}, AWS allows {MAX_POLICY_ARNS}", "Remove some"
        )
    if len(set(arns)) != len(arns):
        raise UsageError("Invalid policy_arns", "an ARN is repeated", "Remove it")
    for arn in arns:
        hint = "It looks like arn:aws:iam::123456789012:policy/NAME"
        _check_text(f"policy {arn}", arn, _POLICY_ARN, (20, 2048), hint)
    return arns


def check_policy_size(inline: str | None, arns: Sequence[str]) -> None:
    """Check the total size: inline and managed session policies share 2,048 characters."""
    length = len(inline or "") + sum(len(arn) for arn in arns)
    if length > MAX_POLICY:
        why = f"together they have {length} characters, AWS allows {MAX_POLICY}"
        raise UsageError("Invalid policy and policy_arns", why, "Shorten them")


def parse_tags(text: str) -> Mapping[str, str]:
    """Return session tags such as `team=ops,stage=prod`. AWS allows a comma neither in a tag's key nor in its
    value.

    :raises UsageError: if a tag is malformed, invalid or repeated.
    """
    values: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator:
            raise UsageError(
                f"Invalid tag: {part}", "it is not KEY=VALUE", "Use a form such as tags=team=ops,stage=prod"
            )
        if key in values:
            raise UsageError(f"Repeated tag: {key}", "", "Set it once")
        values[key] = value
    return tags(values)


def parse_list(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


#: Settings of AssumeRole, with the functions that check their text and return their value.
ROLE_SETTINGS: Mapping[str, Callable[[str], Any]] = {
    "external_id": external_id,
    "role_session_name": session_name,
    "source_identity": source_identity,
    "tags": parse_tags,
    "transitive_tags": parse_list,
    "policy": str,
    "policy_arns": lambda text: tuple(policy_arns(parse_list(text))),
}


def _check_text(what: str, text: str, pattern: re.Pattern[str], lengths: tuple[int, int], hint: str) -> str:
    _check_length(what, text, lengths, hint)
    if not pattern.fullmatch(text):
        raise UsageError(f"Invalid {what}", f"AWS does not allow {_invalid_part(text, pattern)}", hint)
    return text


def _check_length(what: str, text: str, lengths: tuple[int, int], hint: str) -> None:
    minimum, maximum = lengths
    if not minimum <= len(text) <= maximum:
        length = "empty" if not text else f"{len(text)} characters long"
        raise UsageError(f"Invalid {what}", f"it is {length}, AWS allows {minimum} to {maximum}", hint)


def _invalid_part(text: str, pattern: re.Pattern[str]) -> str:
    """Return the first invalid character, or the whole text if its form is invalid."""
    if pattern in (_POLICY_ARN, _ROLE_ARN):
        return text
    return next((repr(char) for char in text if not pattern.fullmatch(char)), text)
