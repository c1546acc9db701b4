"""What an answer of AWS's must be before it is believed: complete, of the form that its model gives, and bounded. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from keyturn.aws.api import CreatedKey, LastUse
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret

#: The STS model: 16 to 128 word characters.
_KEY_ID = re.compile(r"\w{16,128}", re.ASCII)
#: What fits a line of a file, a header and a variable. AWS sets no limit; tokens of a few KiB are known.
_OPAQUE = re.compile(r"[!-~]{1,32768}", re.ASCII)
_ARN = re.compile(r"arn:[!-~]{10,2044}", re.ASCII)


class MalformedResponse(ValueError):
    """The answer is not of the form that AWS's own answers have."""


def credentials_in(answer: Mapping[str, Any]) -> Credentials:
    """The `Credentials` of an answer of STS's.

    :raises Strange: something is missing, or of another form.
    """
    found = _part(answer, "Credentials")
    expires = found.get("Expiration")
    if not isinstance(expires, datetime) or expires.tzinfo is None:
        raise MalformedResponse("Expiration")
    return Credentials(
        _text(found, "AccessKeyId", _KEY_ID),
        Secret(_text(found, "SecretAccessKey", _OPAQUE)),
        Secret(_text(found, "SessionToken", _OPAQUE)),
        expires.astimezone(UTC),
    )


def role_arn_in(answer: Mapping[str, Any]) -> str:
    """Who one is, of an answer to AssumeRole.

    :raises Strange: it is missing, or no ARN.
    """
    return _text(_part(answer, "AssumedRoleUser"), "Arn", _ARN)


def made_key_in(answer: Mapping[str, Any]) -> CreatedKey:
    """The new key of an answer to CreateAccessKey.

    :raises Strange: something is missing, or of another form.
    """
    found = _part(answer, "AccessKey")
    created = found.get("CreateDate")
    if not isinstance(created, datetime) or created.tzinfo is None:
        raise MalformedResponse("CreateDate")
    secret = Secret(_text(found, "SecretAccessKey", _OPAQUE))
    return CreatedKey(Credentials(_text(found, "AccessKeyId", _KEY_ID), secret), created.astimezone(UTC))


def last_use_in(answer: Mapping[str, Any]) -> LastUse:
    """When and for what a key was last used, of an answer to GetAccessKeyLastUsed; `N/A` is nothing.

    :raises Strange: it has another form.
    """
    found = _part(answer, "AccessKeyLastUsed")
    at = found.get("LastUsedDate")
    if at is None:
        return LastUse(None)
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise MalformedResponse("LastUsedDate")
    told = (found.get(name) for name in ("ServiceName", "Region"))
    service, region = (each if isinstance(each, str) and each != "N/A" else None for each in told)
    return LastUse(at.astimezone(UTC), service, region)


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = answer.get(name) if isinstance(answer, Mapping) else None
    if not isinstance(part, Mapping):
        raise MalformedResponse(name)
    return part


def _text(part: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    text = part.get(name)
    if not isinstance(text, str) or not form.fullmatch(text):
        raise MalformedResponse(name)
    return text
