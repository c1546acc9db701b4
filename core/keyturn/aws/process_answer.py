"""Read the answer of a `credential_process`, and say in words what is wrong with one.

What botocore accepts is accepted (`botocore.credentials.ProcessProvider`, checked by a test against it),
except credentials that AWS cannot accept. An error never repeats a value of the answer that may be a secret.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret

_REQUIRED = ("AccessKeyId", "SecretAccessKey")
_KNOWN = ("Version", *_REQUIRED, "SessionToken", "Expiration")
#: Characters of credentials. An access key id and a token are sent in headers.
_PRINTABLE = re.compile(r"[!-~]+")
#: A time that is shown; its characters can spell no secret.
_SHOWN_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}")
#: A word of an answer that is masked wherever else it occurs.
_LONG_WORD = re.compile(r"[^\s\"',:{}\[\]]{16,}")
_MIN_SECRET = 8
_JSON_HINT = "Let it print one JSON object and nothing else on stdout"


class AnswerRefused(ValueError):
    """The answer is unusable.

    :param fault: follows the program's name, `printed nothing`. No secret.
    :param hint: the correction, a sentence without its full stop; empty if the fault says it.
    """

    def __init__(self, fault: str, hint: str = "") -> None:
        super().__init__(fault)
        self.fault = fault
        self.hint = hint


def read_answer(stdout: bytes) -> Credentials:
    """Return the credentials in an answer, static if it has no `Expiration`.

    :raises AnswerRefused: if it has none that a client could use.
    """
    answer = _json_object(stdout)
    _check_version(answer)
    for key in _REQUIRED:
        if key not in answer:
            raise _missing(answer, key)
    parts = {key: _text(answer, key) for key in (*_REQUIRED, "SessionToken")}
    for key in _REQUIRED:
        if not parts[key]:
            raise AnswerRefused(f"printed an empty {key}")
    for key, value in parts.items():
        if value and not _PRINTABLE.fullmatch(value):
            raise AnswerRefused(f"printed a blank, line break or other invalid character in {key}")
    token = parts["SessionToken"]
    return Credentials(
        parts["AccessKeyId"],
        Secret(parts["SecretAccessKey"]),
        Secret(token) if token else None,
        _expiration(answer.get("Expiration")),
    )


def is_whole(stdout: bytes) -> bool:
    """Return True if `stdout` is one whole JSON value, so that no more of it is expected."""
    try:
        json.loads(stdout.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def secrets_in(stdout: bytes) -> frozenset[str]:
    """Return all texts of an answer, well-formed or not, that may be secrets."""
    text = stdout.decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        words = _LONG_WORD.findall(text)
        return frozenset(word for word in words if not word.isalpha())
    if not isinstance(answer, dict):
        return frozenset(_LONG_WORD.findall(text))
    public = ("Version", "AccessKeyId", "Expiration", "AccountId")
    values = (value for key, value in answer.items() if key not in public)
    return frozenset(
        word
        for value in values
        for word in (value.split() if isinstance(value, str) else _LONG_WORD.findall(str(value)))
        if len(word) >= _MIN_SECRET
    )


def _json_object(stdout: bytes) -> Mapping[str, Any]:
    if not stdout.strip():
        raise AnswerRefused("printed nothing", "Let it print the credentials as JSON on stdout")
    try:
        text = stdout.decode("utf-8")
    except UnicodeDecodeError:
        raise AnswerRefused("printed text that is not UTF-8", "Let it print UTF-8") from None
    if text.startswith("\ufeff"):
        raise AnswerRefused("printed a byte order mark before the JSON", _JSON_HINT)
    try:
        answer = json.loads(text)
    except RecursionError:
        raise AnswerRefused("printed JSON that is nested too deeply", _JSON_HINT) from None
    except json.JSONDecodeError as error:
        raise _not_json(text, error) from None
    except ValueError:
        raise AnswerRefused("printed JSON with a number that is too long", _JSON_HINT) from None
    if not isinstance(answer, dict):
        raise AnswerRefused("printed JSON that is not an object", _JSON_HINT)
    return answer


def _not_json(text: str, error: json.JSONDecodeError) -> AnswerRefused:
    """Return the error for text that is not JSON, or not JSON alone."""
    start = text.find("{")
    if error.msg == "Extra data":
        if text.lstrip().startswith("{"):
            return AnswerRefused("printed text after the JSON", _JSON_HINT)
    elif start >= 0 and not text[:start].strip():
        return AnswerRefused(f"printed JSON with an error in line {error.lineno}, column {error.colno}")
    while start >= 0:
        try:
            answer, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        if isinstance(answer, dict) and any(key in answer for key in _KNOWN):
            return AnswerRefused("printed text before the JSON", _JSON_HINT)
        break
    return AnswerRefused("printed text that is not JSON", _JSON_HINT)


def _check_version(answer: Mapping[str, Any]) -> None:
    if "Version" not in answer:
        raise _missing(answer, "Version")
    version = answer["Version"]
    if version == 1:
        return
    hint = "Let it print the number 1"
    if version == "1":
        raise AnswerRefused("printed Version as a text", hint)
    if type(version) is int and abs(version) < 1000:
        raise AnswerRefused(f"printed Version {version}, which AWS has not defined", hint)
    raise AnswerRefused("printed a Version other than 1", hint)


def _missing(answer: Mapping[str, Any], key: str) -> AnswerRefused:
    similar = next((name for name in answer if name.replace("_", "").lower() == key.lower()), None)
    fault = f"printed no {key}" if similar is None else f"printed {similar} in place of {key}"
    return AnswerRefused(fault, f"Let it print {key}{' with the number 1' if key == 'Version' else ''}")


def _text(answer: Mapping[str, Any], key: str) -> str:
    """Return a text; empty for a `SessionToken` that is null or missing."""
    value = answer.get(key)
    if isinstance(value, str):
        return value
    if value is None and key not in _REQUIRED:
        return ""
    raise AnswerRefused(f"printed {'null' if value is None else 'something other than a text'} for {key}")


def _expiration(value: object) -> datetime | None:
    """Return the time of an `Expiration` in UTC, None if there is none.

    botocore reads it with dateutil, and subtracts the present time from it, for which it needs a zone.
    """
    if value is None:
        return None
    hint = "Let it print a time such as 2026-01-31T12:00:00Z"
    if not isinstance(value, str):
        raise AnswerRefused("printed an Expiration that is not a text", hint)
    from dateutil.parser import parse  # type: ignore[import-untyped]  # botocore's own, without stubs

    try:
        moment = parse(value, tzinfos=_zone)
        if moment.utcoffset() is None:
            shown = f" ({value})" if _SHOWN_TIME.fullmatch(value) else ""
            raise AnswerRefused(
                f"printed an Expiration without a time zone{shown}", "Let it append Z if the time is in UTC"
            )
        utc: datetime = moment.astimezone(UTC)
    except AnswerRefused:
        raise
    except OverflowError:
        raise AnswerRefused("printed an Expiration out of range", hint) from None
    except (ValueError, TypeError, AttributeError, LookupError):
        raise AnswerRefused("printed an Expiration that is not a time", hint) from None
    return utc


def _zone(name: str | None, offset: int | None) -> tzinfo | None:
    """Return the zone of a time as dateutil does by itself. It would warn of a name that it does not know."""
    if offset is not None:
        return timezone(timedelta(seconds=offset))
    if name in time.tzname:
        from dateutil.tz import tzlocal  # type: ignore[import-untyped]  # see above

        return tzlocal()  # type: ignore[no-any-return]  # see above
    return None
