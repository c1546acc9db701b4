"""Facts and warnings about an access key that is to be deleted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keyturn.model.errors import RotationHalted
from keyturn.model.profile import Profile
from keyturn.model.text import from_iso, masked_key_id, safe, span
from keyturn.operations.rotation.delete_key import DeletionFacts

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class KeyToDelete:
    """An access key, with the text that the user sees before deleting it."""

    key_id: str
    title: str
    facts: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """Reasons against the deletion, each as a clause."""


def old_key(facts: DeletionFacts, profile: Profile, now: datetime) -> KeyToDelete:
    """Describe the old key of a rotation whose only remaining step is to delete it."""
    use = facts.last_use
    if use is None:
        used = "unknown"
    elif use.at is None:
        used = "never, according to AWS"
    else:
        used = last_used_text(use.at, ", ".join(part for part in (use.service, use.region) if part), now)
    key = profile.key
    owner = f" of user {key.user.rpartition('/')[2]}" if key and key.user else f" of {profile.name}"
    facts_text = (
        f"{masked_key_id(facts.old_id)}{safe(owner, 80)} will be deleted at AWS.",
        f"This cannot be undone. Last used: {used}.",
    )
    return KeyToDelete(facts.old_id, "Delete old access key?", facts_text, facts.warnings)


def lost_key(key_id: str, old: str) -> KeyToDelete:
    """Describe a new key whose secret was lost."""
    facts_text = (
        f"{masked_key_id(key_id)} will be deleted at AWS. Its secret was lost.",
        f"{old} is not affected and stays in use. This cannot be undone.",
    )
    return KeyToDelete(key_id, "Delete the lost access key?", facts_text)


def other_key(report: Mapping[str, Any], now: datetime) -> KeyToDelete:
    """Describe the key that occupies the slot needed for a new key.

    :param report: result of `keyturn.operations.rotation.rotation_client.RotationClient.status`.
    :raises RotationHalted: if keyturn has both keys, or the other key may still be in use.
    """
    others = [key for key in report["keys"] if key["held"] is None]
    if not others:
        raise RotationHalted(
            f"rotation of {report['profile']}",
            "keyturn manages both keys of the user",
            "Release one of them first",
        )
    key = others[0]
    if key["busy"]:
        raise RotationHalted(
            f"rotation of {report['profile']}",
            f"the other key {masked_key_id(key['key_id'])}: {key['busy']}",
            "Find what uses it and deactivate it at AWS; then R can delete it",
        )
    last, by = from_iso(key["last_used"]), key["last_used_by"] or ""
    used = last_used_text(last, by, now) if last else "never, according to AWS" if key["known"] else "unknown"
    days = key["age_days"]
    facts_text = (
        f"{masked_key_id(key['key_id'])} occupies the slot that a new key needs: {key['status'].lower()}, {days} day{'' if days == 1 else 's'} old, not managed by keyturn.",
        f"Deleting it at AWS cannot be undone. Last used: {used}.",
    )
    is_active = key["status"] == "Active"
    warnings = ("it is active but idle: anything that still uses it stops working",) if is_active else ()
    return KeyToDelete(key["key_id"], "Delete the other access key?", facts_text, warnings)


def last_used_text(at: datetime, by: str, now: datetime) -> str:
    """Return for example `2h ago (s3, eu-west-1)`."""
    age = span(max(_MINUTE, (now - at) // _MINUTE * _MINUTE))
    return f"{age} ago" + (f" ({safe(by, 80)})" if by else "")
