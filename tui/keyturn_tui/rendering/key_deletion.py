"""Facts and warnings about an access key that is to be deleted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keyturn.aws.api import LastUse
from keyturn.model.errors import RotationHalted
from keyturn.model.profile import Profile
from keyturn.model.text import from_iso, masked_key_id, safe
from keyturn.operations.rotation.delete_key import DeletionFacts, Obstacle
from keyturn.operations.rotation.key_status import last_use_text

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class KeyToDelete:
    """An access key, with the text that the user sees before deleting it."""

    key_id: str
    title: str
    facts: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """Reasons against the deletion, each as a clause."""
    obstacles: tuple[Obstacle, ...] = ()
    """Obstacles that the user must name, each described by one of the warnings."""


def old_key(facts: DeletionFacts, profile: Profile, now: datetime) -> KeyToDelete:
    """Describe the old key of a rotation whose only remaining step is to delete it."""
    key = profile.key
    owner = f" of user {key.user.rpartition('/')[2]}" if key and key.user else f" of {profile.name}"
    facts_text = (
        f"{masked_key_id(facts.old_id)}{safe(owner, 80)} will be deleted at AWS.",
        f"This cannot be undone. Last used: {last_used_text(facts.last_use, now)}.",
    )
    return KeyToDelete(facts.old_id, "Delete old access key?", facts_text, facts.warnings, facts.obstacles)


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
    what = f"rotation of {report['profile']}"
    key = next((key for key in report["keys"] if key["held"] is None), None)
    if key is None:
        raise RotationHalted(what, "keyturn manages both keys of the user", "Release one of them first")
    if key["busy"]:
        raise RotationHalted(
            what,
            f"the other key {masked_key_id(key['key_id'])}: {key['busy']}",
            "Find what uses it and deactivate it at AWS; then R can delete it"
            if key["status"] == "Active"
            else "R can delete it after its grace period",
        )
    use = LastUse(from_iso(key["last_used"]), key["last_used_by"]) if key["known"] else None
    age = f"{key['age_days']} day{'' if key['age_days'] == 1 else 's'} old"
    key_text = f"{key['status'].lower()}, {age}, not managed by keyturn"
    facts_text = (
        f"{masked_key_id(key['key_id'])} occupies the slot that a new key needs: {key_text}.",
        f"Deleting it at AWS cannot be undone. Last used: {last_used_text(use, now)}.",
    )
    is_active = key["status"] == "Active"
    warnings = ("it is active but idle: anything that still uses it stops working",) if is_active else ()
    return KeyToDelete(key["key_id"], "Delete the other access key?", facts_text, warnings)


def last_used_text(use: LastUse | None, now: datetime) -> str:
    """Return the last use in whole minutes, for example `2h ago (s3, eu-west-1)`."""
    if use is None:
        return "unknown"
    if use.at is None:
        return "never, according to AWS"
    age = max(_MINUTE, (now - use.at) // _MINUTE * _MINUTE)
    return last_use_text(LastUse(use.at, safe(use.where, 80)), use.at + age)
