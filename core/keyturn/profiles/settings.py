"""Settings of `keyturn set PROFILE KEY=VALUE`: parsing and validation. Pure functions.

An empty value unsets a setting, so that its default applies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from keyturn.model.errors import Remedy, UsageError
from keyturn.model.profile import Delivery, Kind, Renew, Rotate
from keyturn.providers import registry, sts_limits
from keyturn.providers.base import Parser
from keyturn.storage.managed_profiles import ManagedProfile

REGION = "region"
_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_DURATION = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s?)?", re.ASCII)


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Return `KEY=VALUE` arguments as a table.

    :raises UsageError: if one has no `=`, names no setting, or is repeated.
    """
    values: dict[str, str] = {}
    valid = dict.fromkeys(
        (REGION, *_SETTINGS, *(key for each in registry.PROVIDERS for key in each.settings))
    )
    for argument in arguments:
        key, separator, value = argument.partition("=")
        key = _ALIASES.get(key, key)
        if not separator:
            raise UsageError(
                f"Invalid setting: {argument}", "it is not KEY=VALUE", "To unset a setting, use KEY="
            )
        if key not in valid:
            raise UsageError(f"Unknown setting: {key}", "", f"Valid: {', '.join(valid)}")
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
    provider = registry.provider_of(definition.kind)
    parsers = {**_OF_EVERY_KIND, **provider.settings}
    for key, value in values.items():
        if key == REGION:
            continue
        if value and key not in parsers:
            kinds = " and ".join(each.plural for each in registry.PROVIDERS if key in each.settings)
            raise UsageError(
                f"Could not set {key} of {definition.name}",
                f"it is valid for {kinds} only, this is {definition.kind}",
                "Remove it",
            )
        definition = definition.with_setting(key, parsers[key](value) if value else None)
    provider.check(definition)
    _check_key(definition, values)
    return definition


def _check_key(definition: ManagedProfile, values: Mapping[str, str]) -> None:
    """Check the settings that depend on the profile's own key."""
    if values.get("session") == "none" and (definition.kind != Kind.IAM_KEY or definition.key is None):
        raise UsageError(
            "Invalid value for session: none",
            f"only an IAM user's key can be delivered, this is {definition.kind}",
            "Use temporary",
        )
    if values.get("rotate") == Rotate.AUTO and definition.key is None:
        raise UsageError(
            "Invalid value for rotate: auto",
            f"{definition.name} has no access key of its own",
            "Set it on the profile that holds the key",
        )
    if values.get("session") == "none" and definition.delivery is Delivery.CREDENTIALS_FILE:
        raise UsageError(
            f"Could not set session of {definition.name}",
            "it is delivered to the credentials file, to which a long-term key is never written",
            ("Run first: ", Remedy("deliver", definition.name, "--to credential-process")),
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
    own = registry.provider_of(definition.kind).settings
    values = {key: definition.setting(key) for key in (*_SETTINGS, *own)}
    values["session"] = "none" if definition.session_none else "temporary"
    values |= {key: list(value) for key, value in values.items() if isinstance(value, tuple)}
    return values | {key: str(value) for key, value in values.items() if isinstance(value, str)}


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


def _choice(setting: str, choices: type[Renew | Rotate], text: str) -> Renew | Rotate:
    if text not in list(choices):
        raise UsageError(f"Invalid value for {setting}: {text}", "", f"Valid: {', '.join(choices)}")
    return choices(text)


def _session_none(text: str) -> bool:
    if text not in ("none", "temporary"):
        raise UsageError(f"Invalid value for session: {text}", "", "Valid: temporary (default), none")
    return text == "none"


def _rotation_days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 3650):
        raise UsageError(
            f"Invalid value for rotation_days: {text}", "", "Use a number such as 90, or 0 for no policy"
        )
    return int(text)


_ALIASES = {"duration": "duration_seconds"}
#: Settings in the order in which they are printed.
_SETTINGS: Mapping[str, Parser] = {
    "renew": partial(_choice, "renew", Renew),
    "duration_seconds": seconds_of,
    "session": _session_none,
    "mfa_serial": sts_limits.serial,
    **sts_limits.ROLE_SETTINGS,
    "rotation_days": _rotation_days,
    "rotate": partial(_choice, "rotate", Rotate),
}
_OF_EVERY_KIND = {key: parser for key, parser in _SETTINGS.items() if key not in sts_limits.ROLE_SETTINGS}
