"""The rotation record: the state of one IAM user's rotation, as the journal stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from keyturn.model.json_codec import from_table, keys_of, stored
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.model.text import masked_key_id

#: Time between the deactivation of the old key and its deletion.
GRACE_PERIOD = timedelta(hours=24)
#: A new key may not be known everywhere in IAM for about a minute, because IAM is eventually consistent
#: (IAM User Guide). Until this time has passed, a refusal of the key proves nothing.
PROPAGATION_TIME = timedelta(seconds=120)


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


def key_table(key: Credentials) -> dict[str, Any]:
    """Return a long-term key as the vault and the journal store it, with its plaintext secret. Only for
    encryption."""
    return {"key_id": key.access_key_id, "secret": key.secret_access_key.reveal()}


def _key_from_table(table: Mapping[str, Any]) -> Credentials:
    match table:
        case {"key_id": str(key_id), "secret": str(secret)}:
            return Credentials(key_id, Secret(secret))
        case _:
            raise ValueError


@dataclass(frozen=True, slots=True, kw_only=True)
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
    old: Credentials = field(metadata=stored(encode=key_table, decode=_key_from_table))
    new: Credentials | None = field(default=None, metadata=stored(encode=key_table, decode=_key_from_table))
    step: Step
    started: datetime = field(metadata=stored("began"))
    """Start of the rotation, UTC."""
    created: datetime | None = None
    """Creation time of the new key, by AWS's clock."""
    initial_key_ids: tuple[str, ...] = field(default=(), metadata=stored("listed"))
    """Ids of all keys that the user had when the rotation started."""
    is_undoing: bool = field(default=False, metadata=stored("undoing"))
    is_reactivated: bool = field(default=False, metadata=stored("reactivated"))
    """The old key was reactivated after it may have been deactivated."""
    step_times: Mapping[Step, datetime] = field(default_factory=dict, metadata=stored("at", exact=True))
    """Completion time of each step, UTC."""

    @property
    def user_name(self) -> str:
        """Return the user name for IAM calls."""
        return user_name(self.user)

    @property
    def keys(self) -> dict[str, Credentials]:
        """Return the new key, once it exists, and the old key, by id."""
        return {key.access_key_id: key for key in (self.new, self.old) if key is not None}

    @property
    def masked_old_id(self) -> str:
        return masked_key_id(self.old.access_key_id)

    @property
    def masked_new_id(self) -> str:
        """Return the masked id of the new key, or `the new key` if it is unknown."""
        return masked_key_id(self.new.access_key_id) if self.new else "the new key"

    def signers(self, now: datetime) -> tuple[Credentials, ...]:
        """Return the keys that may sign calls about the user, the one in use first.

        From the step `stored` on, the old key signs nothing, because its last use at AWS must show the use by
        others. The exceptions are an undo, and a new key that AWS should know by now: there the old key is
        the fallback.
        """
        if self.new is None:
            return (self.old,)
        if not self.step.is_at_least(Step.STORED):
            return (self.old, self.new)
        has_fallback = self.is_undoing or self.new_key_age(now) > PROPAGATION_TIME
        candidates = (self.new, self.old) if has_fallback else (self.new,)
        return tuple(key for key in candidates if key.secret_access_key)

    def is_propagating(self, now: datetime) -> bool:
        """Return True while AWS may not know the new key everywhere."""
        return self.new_key_age(now) < PROPAGATION_TIME

    def new_key_age(self, now: datetime) -> timedelta:
        """Return the time since the new key was created."""
        return now - self.step_times.get(Step.CREATED, self.started)

    def is_new_key_in_future(self, now: datetime) -> bool:
        """Return True if the clock was set back since the new key was created. Its propagation would then
        never end."""
        return self.new is not None and self.new_key_age(now) < timedelta(0)

    def with_new_key_at(self, now: datetime) -> Record:
        """Return the record with the creation of the new key at `now`, so that the wait for its propagation
        starts again."""
        return replace(self, step_times={**self.step_times, Step.CREATED: now})

    def with_step(self, step: Step, now: datetime) -> Record:
        """Return the record with `step` completed at `now`."""
        return replace(self, step=step, step_times={**self.step_times, step: now})

    def deletable_from(self) -> datetime | None:
        """Return the end of the old key's grace period, or None if the key is not deactivated."""
        deactivated_at = self.step_times.get(Step.DEACTIVATED)
        if deactivated_at is None or self.step is not Step.DEACTIVATED:
            return None
        return deactivated_at + GRACE_PERIOD

    def without_old_secret(self) -> Record:
        """Return the record without the secret of the old key, which is deleted."""
        return replace(self, old=Credentials(self.old.access_key_id, Secret("")))


def user_name(arn: str) -> str:
    """Return the user name for IAM calls: the last part of the user's ARN."""
    return arn.rpartition("/")[2]


def record_from_table(table: Mapping[str, Any]) -> Record:
    """Return the record that `to_secret_table` encoded.

    :raises ValueError: if the table is not a record, lacks a field, or has a value that is not exactly of the
        field's type, such as a time without a zone. The message holds none of its values.
    """
    try:
        record = from_table(Record, table)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError("not a rotation record") from None
    if not keys_of(Record) <= table.keys() or _is_misread(record, table):
        raise ValueError("not a rotation record") from None
    return record


def _is_misread(record: Record, table: Mapping[str, Any]) -> bool:
    """Return True if a field differs from its value in the table, because the codec takes an invalid time for
    an unknown one, any value for a truth value, and text for a list."""
    return (
        (record.created is None) is not (table["created"] is None)
        or any(not isinstance(table[key], bool) for key in ("undoing", "reactivated"))
        or any(not isinstance(table[key], list) for key in ("entries", "listed"))
    )
