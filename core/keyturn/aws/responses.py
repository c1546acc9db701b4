"""Validation of AWS responses: complete, in the form of the API model, and of limited size. Pure
functions.
"""

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
#: Printable ASCII that fits a line of a file, a header and a variable. AWS sets no limit; tokens of several
#: KiB are known.
_OPAQUE = re.compile(r"[!-~]{1,32768}", re.ASCII)
_ARN = re.compile(r"arn:[!-~]{10,2044}", re.ASCII)


class MalformedResponse(ValueError):
    """The response does not have the form of an AWS response."""


def credentials_in(response: Mapping[str, Any]) -> Credentials:
    """Return the `Credentials` of an STS response.

    :raises MalformedResponse: if a field is missing or malformed.
    """
    fields = _structure(response, "Credentials")
    expires = _time(fields, "Expiration")
    return Credentials(
        _text(fields, "AccessKeyId", _KEY_ID),
        Secret(_text(fields, "SecretAccessKey", _OPAQUE)),
        Secret(_text(fields, "SessionToken", _OPAQUE)),
        expires,
    )


def role_arn_in(response: Mapping[str, Any]) -> str:
    """Return the session ARN of an AssumeRole response.

    :raises MalformedResponse: if it is missing or not an ARN.
    """
    return _text(_structure(response, "AssumedRoleUser"), "Arn", _ARN)


def created_key_in(response: Mapping[str, Any]) -> CreatedKey:
    """Return the key of a CreateAccessKey response.

    :raises MalformedResponse: if a field is missing or malformed.
    """
    fields = _structure(response, "AccessKey")
    created = _time(fields, "CreateDate")
    secret = Secret(_text(fields, "SecretAccessKey", _OPAQUE))
    return CreatedKey(Credentials(_text(fields, "AccessKeyId", _KEY_ID), secret), created)


def last_use_in(response: Mapping[str, Any]) -> LastUse:
    """Return the time, service and region of a GetAccessKeyLastUsed response; `N/A` becomes None.

    :raises MalformedResponse: if a field is malformed.
    """
    fields = _structure(response, "AccessKeyLastUsed")
    if fields.get("LastUsedDate") is None:
        return LastUse(None)
    at = _time(fields, "LastUsedDate")
    values = (fields.get(name) for name in ("ServiceName", "Region"))
    service, region = (value if isinstance(value, str) and value != "N/A" else None for value in values)
    return LastUse(at, service, region)


def _structure(response: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    structure = response.get(name) if isinstance(response, Mapping) else None
    if not isinstance(structure, Mapping):
        raise MalformedResponse(name)
    return structure


def _time(structure: Mapping[str, Any], name: str) -> datetime:
    value = structure.get(name)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise MalformedResponse(name)
    return value.astimezone(UTC)


def _text(structure: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = structure.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MalformedResponse(name)
    return value
