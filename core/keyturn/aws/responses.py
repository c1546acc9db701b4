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


def credentials_in(response: Mapping[str, Any]) -> Credentials:
    """The `Credentials` of an answer of STS's.

    :raises Strange: something is missing, or of another form.
    """
    fields = _structure(response, "Credentials")
    expires = fields.get("Expiration")
    if not isinstance(expires, datetime) or expires.tzinfo is None:
        raise MalformedResponse("Expiration")
    return Credentials(
        _text(fields, "AccessKeyId", _KEY_ID),
        Secret(_text(fields, "SecretAccessKey", _OPAQUE)),
        Secret(_text(fields, "SessionToken", _OPAQUE)),
        expires.astimezone(UTC),
    )


def role_arn_in(response: Mapping[str, Any]) -> str:
    """Who one is, of an answer to AssumeRole.

    :raises Strange: it is missing, or no ARN.
    """
    return _text(_structure(response, "AssumedRoleUser"), "Arn", _ARN)


def created_key_in(response: Mapping[str, Any]) -> CreatedKey:
    """The new key of an answer to CreateAccessKey.

    :raises Strange: something is missing, or of another form.
    """
    fields = _structure(response, "AccessKey")
    created = fields.get("CreateDate")
    if not isinstance(created, datetime) or created.tzinfo is None:
        raise MalformedResponse("CreateDate")
    secret = Secret(_text(fields, "SecretAccessKey", _OPAQUE))
    return CreatedKey(Credentials(_text(fields, "AccessKeyId", _KEY_ID), secret), created.astimezone(UTC))


def last_use_in(response: Mapping[str, Any]) -> LastUse:
    """When and for what a key was last used, of an answer to GetAccessKeyLastUsed; `N/A` is nothing.

    :raises Strange: it has another form.
    """
    fields = _structure(response, "AccessKeyLastUsed")
    at = fields.get("LastUsedDate")
    if at is None:
        return LastUse(None)
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise MalformedResponse("LastUsedDate")
    values = (fields.get(name) for name in ("ServiceName", "Region"))
    service, region = (value if isinstance(value, str) and value != "N/A" else None for value in values)
    return LastUse(at.astimezone(UTC), service, region)


def _structure(response: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    structure = response.get(name) if isinstance(response, Mapping) else None
    if not isinstance(structure, Mapping):
        raise MalformedResponse(name)
    return structure


def _text(structure: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = structure.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MalformedResponse(name)
    return value
