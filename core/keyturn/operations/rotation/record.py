"""The rotation record: the state of one IAM user's rotation, as the journal stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso, iso

#: Time between the deactivation of the old key and its deletion.
GRACE_PERIOD = timedelta(hours=24)


class Step(StrEnum):
    """The last step that a rotation has completed. It is on disk before the next call to AWS."""

    INTENT = "intent"
    """CreateAccessKey is about to be called. It is unknown if a new key exists."""
    CREATED = "created"
    """The new key's secret is in the journal."""
    VERIFIED = "verified"
    """AWS has accepted the new key three times in a row."""
    STORED = "stored"
    """The vault uses the new key and keeps the old one as `previous`."""
    DELIVERED = "delivered"
    """Sessions in the credentials file come from the new key."""
    DEACTIVATED = "deactivated"
    """The old key is inactive at AWS. It can be reactivated."""
    DONE = "done"
    """The old key is deleted."""
    UNDONE = "undone"
    """The old key is the only key again."""

    @property
    def is_last(self) -> bool:
        """Return True if the rotation is finished."""
        return self in (Step.DONE, Step.UNDONE)

    def is_at_least(self, other: Step) -> bool:
        """Return True if this step is `other` or comes after it."""
        order = list(Step)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class Record:
    """One rotation of one IAM user's key. Secrets are shown as `***`."""

    nonce: str
    """Identifies the rotation, so that a late response of AWS is not recorded in another rotation of the
    user."""
    profile: str
    """The profile that was named. Its region and MFA device are used."""
    entries: tuple[str, ...]
    """The vault's key entries that hold the old key."""
    user: str
    """ARN of the IAM user."""
    old: Credentials
    step: Step
    started: datetime
    """Start of the rotation, UTC."""
    new: Credentials | None = None
    created: datetime | None = None
    """Creation time of the new key, by AWS's clock."""
    initial_key_ids: tuple[str, ...] = ()
    """Ids of all keys that the user had when the rotation started."""
    is_undoing: bool = False
    is_reactivated: bool = False
    """The old key was reactivated after it may have been deactivated."""
    step_times: Mapping[Step, datetime] = field(default_factory=dict)
    """Completion time of each step, UTC."""

    @property
    def user_name(self) -> str:
        """Return the user name for IAM calls: the last part of the ARN."""
        return self.user.rpartition("/")[2]

    def with_step(self, step: Step, now: datetime) -> Record:
        """Return the record with `step` completed at `now`."""
        return replace(self, step=step, step_times={**self.step_times, step: now})

    def deletable_from(self) -> datetime | None:
        """Return the end of the old key's grace period, or None if the key is not deactivated."""
        deactivated_at = self.step_times.get(Step.DEACTIVATED)
        return (
            deactivated_at + GRACE_PERIOD
            if deactivated_at is not None and self.step is Step.DEACTIVATED
            else None
        )

    def without_old_secret(self) -> Record:
        """Return the record without the secret of the old key, which is deleted."""
        return replace(self, old=Credentials(self.old.access_key_id, Secret("")))


def record_table(record: Record) -> dict[str, Any]:
    """Return the record as a JSON table with plaintext secrets. Only for encryption."""
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
    """Return the record that :func:`record_table` stored.

    :raises ValueError: if the table is not a record. The message holds none of its values.
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
        raise ValueError("not a rotation record") from None


def _key_table(key: Credentials) -> dict[str, str]:
    return {"key_id": key.access_key_id, "secret": key.secret_access_key.reveal()}


def _credentials(table: Mapping[str, Any]) -> Credentials:
    return Credentials(str(table["key_id"]), Secret(str(table["secret"])))
