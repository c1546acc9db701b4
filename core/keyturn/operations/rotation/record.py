"""What the rotation journal holds of one IAM user's rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso, iso

#: How long the old key stays, switched off, before it may be deleted.
GRACE_PERIOD = timedelta(hours=24)


class Step(StrEnum):
    """How far a rotation has come: each is on disk before the next act."""

    INTENT = "intent"
    """A new key is about to be asked for; whether there is one is not known."""
    CREATED = "created"
    """The new key's secret is in the journal."""
    VERIFIED = "verified"
    """AWS answered to the new key, three times in a row."""
    STORED = "stored"
    """The new key is the vault's, the old one is kept beside it."""
    DELIVERED = "delivered"
    """What stands in the credentials file comes from the new key."""
    DEACTIVATED = "deactivated"
    """The old key is switched off at AWS; it can be switched on again."""
    DONE = "done"
    """The old key is deleted."""
    UNDONE = "undone"
    """The old key is the only one again."""

    @property
    def is_last(self) -> bool:
        return self in (Step.DONE, Step.UNDONE)

    def is_at_least(self, other: Step) -> bool:
        """Whether it comes after `other`, or is it."""
        order = list(Step)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Record:
    """One rotation of one IAM user's key. Its secrets show as `***`."""

    nonce: str
    """Told apart by it: a late answer of AWS's belongs to the rotation that asked, and to no other."""
    profile: str
    """The profile that it was asked for; its region and its MFA device count."""
    entries: tuple[str, ...]
    """The vault's keys that are the old one, by name."""
    user: str
    """The user's ARN."""
    old: Credentials
    step: Step
    started: datetime
    new: Credentials | None = None
    created: datetime | None = None
    """When AWS made the new key, by its own clock."""
    initial_key_ids: tuple[str, ...] = ()
    """The ids of all keys that the user had at the beginning."""
    is_undoing: bool = False
    is_reactivated: bool = False
    """The old key was switched on again, after it may have been switched off."""
    step_times: Mapping[Step, datetime] = field(default_factory=dict)
    """When each step was reached."""

    @property
    def user_name(self) -> str:
        """What IAM's calls name the user by: the last part of its ARN."""
        return self.user.rpartition("/")[2]

    def with_step(self, step: Step, now: datetime) -> Record:
        """The record once `step` is reached at `now`."""
        return replace(self, step=step, step_times={**self.step_times, step: now})

    def deletable_from(self) -> datetime | None:
        """When the old key's time of grace is over; None while it is not switched off."""
        deactivated_at = self.step_times.get(Step.DEACTIVATED)
        return (
            deactivated_at + GRACE_PERIOD
            if deactivated_at is not None and self.step is Step.DEACTIVATED
            else None
        )

    def without_old_secret(self) -> Record:
        """The record once the old key is gone, and its secret with it."""
        return replace(self, old=Credentials(self.old.access_key_id, Secret("")))


def record_table(record: Record) -> dict[str, Any]:
    """The record as JSON, secrets in clear: to be sealed, and for nothing else."""
    return {
        "nonce": record.nonce,
        "profile": record.profile,
        "entries": list(record.entries),
        "user": record.user,
        "old": _key_table(record.old),
        "new": _key_table(record.new) if record.new else None,
        "step": str(record.step),
        "began": iso(record.started),
        "created": iso(record.created),
        "listed": list(record.initial_key_ids),
        "undoing": record.is_undoing,
        "reactivated": record.is_reactivated,
        "at": {str(step): moment.isoformat() for step, moment in record.step_times.items()},
    }


def record_from_table(table: Mapping[str, Any]) -> Record:
    """The record that :func:`table` gave.

    :raises ValueError: it is none; the message holds nothing of it.
    """
    try:
        started = from_iso(table["began"])
        if started is None:
            raise ValueError
        return Record(
            nonce=str(table["nonce"]),
            profile=str(table["profile"]),
            entries=tuple(str(name) for name in table["entries"]),
            user=str(table["user"]),
            old=_credentials(table["old"]),
            new=_credentials(table["new"]) if table["new"] else None,
            step=Step(table["step"]),
            started=started,
            created=from_iso(table["created"]),
            initial_key_ids=tuple(str(key) for key in table["listed"]),
            is_undoing=bool(table["undoing"]),
            is_reactivated=bool(table["reactivated"]),
            step_times={Step(step): datetime.fromisoformat(moment) for step, moment in table["at"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError("no record of a rotation") from None


def _key_table(key: Credentials) -> dict[str, str]:
    return {"key_id": key.access_key_id, "secret": key.secret_access_key.reveal()}


def _credentials(table: Mapping[str, Any]) -> Credentials:
    return Credentials(str(table["key_id"]), Secret(str(table["secret"])))
