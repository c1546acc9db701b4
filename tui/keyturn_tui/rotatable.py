"""Whether `R` can do anything for a profile, and what is said of rotations that wait."""

from __future__ import annotations

from keyturn.model import Kind, Profile, RotationState, Snapshot
from keyturn.text import safe
from keyturn.words import WAITING_WORDS


def unrotatable(profile: Profile) -> str | None:
    """Why `R` can do nothing for a profile, as far as its row tells (the keeper looks closer), else None."""
    if profile.rotation.waits is not None or (profile.managed and profile.kind is Kind.IAM_KEY):
        return None
    if profile.plaintext_key:
        return f"the key of {profile.name} stands in the files in clear; adopt it first: m"
    if profile.kind is Kind.ROLE and profile.source and not profile.credential_source:
        return f"{profile.name} has no key of its own; rotate the key of {profile.source}"
    return f"{profile.name} has no long-term key that keyturn keeps"


def wants_rotation(profile: Profile) -> bool:
    """Whether its key is due or overdue, or its rotation waits, and `R` can do something about that."""
    states = (RotationState.DUE, RotationState.OVERDUE, RotationState.IN_PROGRESS)
    return profile.rotation.state in states and unrotatable(profile) is None


def waiting_words(waits: str) -> str:
    """What a rotation that waits would do next: `verify`."""
    return WAITING_WORDS.get(waits, waits)


def waiting_line(snapshot: Snapshot) -> str:
    """What is said at the start of rotations that wait; empty where none does."""
    waiting = [one for one in snapshot.profiles if one.rotation.waits is not None]
    if not waiting:
        return ""
    first = waiting[0]
    others = len({one.key.key_id if one.key else one.name for one in waiting}) - 1
    more = f", and {others} more" if others else ""
    words = waiting_words(first.rotation.waits or "")
    return f"The rotation of the key of {safe(first.name, 60)} waits: {words}{more}. R goes on with it."
