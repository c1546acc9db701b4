"""Settings of `keyturn set PROFILE KEY=VALUE`: parsing and validation. Pure functions.

An empty value unsets a setting, so that its default applies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keyturn.model.errors import UsageError
from keyturn.model.profile import DEFAULT_ROTATION_DAYS, Delivery, Kind, Renew, Rotate
from keyturn.providers import sts_limits
from keyturn.providers.sts_limits import for_role, for_session_token
from keyturn.storage.managed_profiles import ManagedProfile

REGION = "region"
_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s?)?", re.ASCII)


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` arguments as a table.

    :raises UsageError: if one has no `=`, names no setting, or is repeated.
    """
    values: dict[str, str] = {}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        key = _ALIASES.get(key, key)
        if not separator:
            raise UsageError(
                f"Invalid setting: {argument}", "it is not KEY=VALUE", "To unset a setting, use KEY="
            )
        if key != REGION and key not in _SETTERS:
            raise UsageError(f"Unknown setting: {key}", "", f"Valid: {', '.join((REGION, *_SETTERS))}")
        if key in values:
            raise UsageError(f"Repeated setting: {key}", "", "Set it once")
        values[key] = value
    return values


def apply(definition: ManagedProfile, values: Mapping[str, str]) -> ManagedProfile:
    """Return the definition with changed settings, validated as a whole.

    :param values: as :func:`parse` returned them; `region` is ignored, because it is not part of a
        definition.
    :raises UsageError: if a value is invalid or conflicts with another setting.
    """
    for key, value in values.items():
        if key == REGION:
            continue
        if value and key in _ROLES_ONLY and definition.kind is not Kind.ROLE:
            raise UsageError(
                f"Could not set {key} of {definition.name}",
                f"it is valid for roles only, this is {definition.kind}",
                "Remove it",
            )
        definition = _SETTERS[key](definition, value)
    _check(definition)
    return definition


def _check(definition: ManagedProfile) -> None:
    sts_limits.transitive_tags(definition.transitive_tags, definition.tags)
    if definition.kind is Kind.ROLE:
        for_role(definition.duration_seconds, chained=False)
    else:
        for_session_token(definition.duration_seconds)
    if definition.delivers_key and definition.delivery is Delivery.CREDENTIALS_FILE:
        raise UsageError(
            f"Could not set session of {definition.name}",
            "it is delivered to the credentials file, to which a long-term key is never written",
            f"Run first: keyturn deliver {definition.name} --to credential-process",
        )


def check_region(value: str) -> str:
    """Return a region or an empty text. Only the form is checked, because AWS adds regions.

    :raises UsageError: if it is malformed.
    """
    if value and not _REGION.fullmatch(value):
        raise UsageError("Invalid region", f"{value} is not a region", "A region looks like eu-west-1")
    return value


def table(definition: ManagedProfile) -> dict[str, Any]:
    """Return all settings as `set --json` prints them; null if the default applies."""
    return {
        "renew": str(definition.renew),
        "duration_seconds": definition.duration_seconds,
        "session": "none" if definition.delivers_key else "temporary",
        "mfa_serial": definition.mfa_serial,
        "external_id": definition.external_id,
        "role_session_name": definition.role_session_name,
        "source_identity": definition.source_identity,
        "tags": dict(definition.tags),
        "transitive_tags": list(definition.transitive_tags),
        "policy": definition.policy,
        "policy_arns": list(definition.policy_arns),
        "rotation_days": definition.rotation_days,
        "rotate": str(definition.rotate),
    }


def seconds_of(text: str, what: str = "duration_seconds") -> int:
    """Return a duration such as `900`, `45m`, `1h30m` or `12h` in seconds.

    :param what: name of the duration in the error.
    :raises UsageError: if it is malformed.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise UsageError(
            f"Invalid {what}", f"{text} is not a duration", "Use seconds, or a form such as 45m, 1h30m, 12h"
        )
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _renew(definition: ManagedProfile, value: str) -> ManagedProfile:
    if value and value not in list(Renew):
        raise UsageError(f"Invalid value for renew: {value}", "", f"Valid: {', '.join(Renew)}")
    return replace(definition, renew=Renew(value) if value else Renew.AUTO)


def _duration(definition: ManagedProfile, value: str) -> ManagedProfile:
    return replace(definition, duration_seconds=seconds_of(value) if value else None)


def _session(definition: ManagedProfile, value: str) -> ManagedProfile:
    if value not in ("", "none", "temporary"):
        raise UsageError(f"Invalid value for session: {value}", "", "Valid: temporary (default), none")
    if value == "none" and (definition.kind is not Kind.IAM_KEY or definition.key is None):
        raise UsageError(
            "Invalid value for session: none",
            f"only an IAM user's key can be delivered, this is {definition.kind}",
            "Use temporary",
        )
    return replace(definition, delivers_key=value == "none")


def _rotation_days(definition: ManagedProfile, value: str) -> ManagedProfile:
    if value and not (value.isascii() and value.isdigit() and int(value) <= 3650):
        raise UsageError(
            f"Invalid value for rotation_days: {value}", "", "Use a number such as 90, or 0 for no policy"
        )
    return replace(definition, rotation_days=int(value) if value else DEFAULT_ROTATION_DAYS)


def _rotate(definition: ManagedProfile, value: str) -> ManagedProfile:
    if value and value not in list(Rotate):
        raise UsageError(f"Invalid value for rotate: {value}", "", f"Valid: {', '.join(Rotate)}")
    if value == Rotate.AUTO and definition.key is None:
        raise UsageError(
            "Invalid value for rotate: auto",
            f"{definition.name} has no access key of its own",
            "Set it on the profile that holds the key",
        )
    return replace(definition, rotate=Rotate(value) if value else Rotate.ASK)


def _tags(definition: ManagedProfile, value: str) -> ManagedProfile:
    """Parse `team=ops,stage=prod`. AWS allows a comma neither in a tag's key nor in its value."""
    tags: dict[str, str] = {}
    for part in value.split(",") if value else ():
        key, separator, text = part.partition("=")
        if not separator:
            raise UsageError(
                f"Invalid tag: {part}", "it is not KEY=VALUE", "Use a form such as tags=team=ops,stage=prod"
            )
        if key in tags:
            raise UsageError(f"Repeated tag: {key}", "", "Set it once")
        tags[key] = text
    return replace(definition, tags=sts_limits.tags(tags))


def _transitive_tags(definition: ManagedProfile, value: str) -> ManagedProfile:
    return replace(definition, transitive_tags=_words(value))


def _policy(definition: ManagedProfile, value: str) -> ManagedProfile:
    return replace(definition, policy=value or None)


def _policy_arns(definition: ManagedProfile, value: str) -> ManagedProfile:
    arns = tuple(sts_limits.policy_arns(_words(value)))
    return replace(definition, policy_arns=arns)


def _words(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _text_setter(setting: str) -> Callable[[ManagedProfile, str], ManagedProfile]:
    def set_text(definition: ManagedProfile, value: str) -> ManagedProfile:
        changed: dict[str, Any] = {setting: sts_limits.TEXT_CHECKS[setting](value) if value else None}
        return replace(definition, **changed)

    return set_text


_ALIASES = {"duration": "duration_seconds"}
_ROLES_ONLY = (
    "external_id", "role_session_name", "source_identity", "tags", "transitive_tags", "policy", "policy_arns"
)  # fmt: skip
_SETTERS: Mapping[str, Callable[[ManagedProfile, str], ManagedProfile]] = {
    "renew": _renew,
    "duration_seconds": _duration,
    "session": _session,
    "mfa_serial": _text_setter("mfa_serial"),
    "external_id": _text_setter("external_id"),
    "role_session_name": _text_setter("role_session_name"),
    "source_identity": _text_setter("source_identity"),
    "tags": _tags,
    "transitive_tags": _transitive_tags,
    "policy": _policy,
    "policy_arns": _policy_arns,
    "rotation_days": _rotation_days,
    "rotate": _rotate,
}
