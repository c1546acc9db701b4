"""Choose the next step of a rotation from its record and the observed keys. Pure.

Resume, undo, the commands and the wizard all call :func:`next_step`, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.aws.api import ListedKey
from keyturn.model.profile import Credentials
from keyturn.operations.rotation.record import PROPAGATION_TIME, Record, Step

#: ListAccessKeys may list a new key this late after the start of a rotation whose CreateAccessKey call got no
#: response.
LATE_LISTING_TIME = timedelta(seconds=60)
#: Allowed difference between AWS's clock and this machine's. Signatures fail beyond it.
MAX_CLOCK_SKEW = timedelta(minutes=15)
#: Statuses that UpdateAccessKey can set and undo. AWS lists others (`Expired`), and does not document that a
#: key with one of those can be reactivated.
REVERSIBLE_STATUSES = ("Active", "Inactive")


class NextStep(StrEnum):
    """The next step of a rotation."""

    WAIT = "wait"
    """The observation is not conclusive yet."""
    RESTART_WAIT = "restart-wait"
    """The clock was set back: the wait starts again."""
    GIVE_UP = "give-up"
    """No new key was created: end the record as undone."""
    ORPHAN = "orphan"
    """AWS lists a key whose secret never arrived. Only the user can decide to delete it."""
    VERIFY = "verify"
    STORE = "store"
    DELIVER = "deliver"
    DEACTIVATE = "deactivate"
    RECORD_DEACTIVATED = "record-deactivated"
    """The old key is inactive at AWS, and the record does not say so yet."""
    DELETE = "delete"
    """Delete the old key after the user confirms it."""
    CLOSE = "close"
    """The old key is deleted: end the record as done."""
    REACTIVATE = "reactivate"
    VERIFY_OLD = "verify-old"
    STORE_OLD = "store-old"
    DEACTIVATE_NEW = "deactivate-new"
    DELETE_NEW = "delete-new"
    OLD_UNUSABLE = "old-unusable"
    """The old key is deleted at AWS or cannot be reactivated, so the rotation cannot be undone."""
    NEW_DELETED = "new-deleted"
    """The new key was deleted at AWS, not by keyturn."""
    NEW_INACTIVE = "new-inactive"
    """The new key was deactivated at AWS, not by keyturn, possibly for a reason."""
    KEYS_LOST = "keys-lost"
    """Each of the two keys is deleted at AWS or cannot be reactivated."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class ObservedKeys:
    """The user's keys at AWS and in the vault, observed just now."""

    listed: Mapping[str, ListedKey]
    """The user's keys at AWS, by key id."""
    in_vault: Mapping[str, str]
    """The key id of each key entry of the vault."""
    used_entries: frozenset[str]
    """The key entries that managed profiles use."""
    now: datetime
    is_old_accepted: bool = False
    """AWS has just accepted the old key three times in a row."""

    def status(self, key: Credentials | None) -> str | None:
        """Return the status of a key at AWS, or None if it is not listed."""
        listed = self.listed.get(key.access_key_id) if key is not None else None
        return listed.status if listed is not None else None


def orphans(record: Record, observed: ObservedKeys) -> tuple[ListedKey, ...]:
    """Return the listed keys that were created since the rotation started and whose secret keyturn does not
    hold."""
    own_ids = {*record.keys, *record.initial_key_ids, *observed.in_vault.values()}
    return tuple(
        key
        for key in observed.listed.values()
        if key.key_id not in own_ids and key.created >= record.started - MAX_CLOCK_SKEW
    )


def next_step(record: Record, observed: ObservedKeys) -> NextStep:
    """Return the step that follows from the record and the observation."""
    if record.step.is_last:
        return NextStep.NOTHING
    if record.step is Step.INTENT:
        return _intent_step(record, observed)
    if are_keys_lost(record, observed):
        return NextStep.KEYS_LOST
    return _undo_step(record, observed) if record.is_undoing else _forward_step(record, observed)


def _intent_step(record: Record, observed: ObservedKeys) -> NextStep:
    if orphans(record, observed):
        return NextStep.ORPHAN
    if observed.now < record.started:
        return NextStep.RESTART_WAIT
    return NextStep.WAIT if observed.now - record.started < LATE_LISTING_TIME else NextStep.GIVE_UP


def _forward_step(record: Record, observed: ObservedKeys) -> NextStep:
    if is_new_key_gone(record, observed):
        return NextStep.NEW_DELETED
    if observed.status(record.new) not in ("Active", None):
        return NextStep.NEW_INACTIVE
    if record.step in _STEP_AFTER:
        return _STEP_AFTER[record.step]
    if not vault_has_new(record, observed):
        # The vault was restored to an older state, or the step was recorded before it was performed.
        return NextStep.STORE
    if record.step is Step.STORED:
        return NextStep.DELIVER
    return _old_key_step(record, observed.status(record.old))


def _old_key_step(record: Record, status: str | None) -> NextStep:
    """Return the step for the old key once the new key is in use."""
    if status is None:
        return NextStep.CLOSE
    if status == "Active":
        return NextStep.DEACTIVATE
    return NextStep.DELETE if record.step is Step.DEACTIVATED else NextStep.RECORD_DEACTIVATED


_STEP_AFTER = {Step.CREATED: NextStep.VERIFY, Step.VERIFIED: NextStep.STORE}


def _undo_step(record: Record, observed: ObservedKeys) -> NextStep:
    """Return the next step of an undo: the old key works, then the vault uses it, then the new key is
    deleted."""
    old, new = observed.status(record.old), observed.status(record.new)
    if old not in REVERSIBLE_STATUSES:
        return NextStep.OLD_UNUSABLE
    # AWS may list a key as active and accept it for a minute after its deactivation, so neither proves that
    # it is active.
    may_be_off = Step.DELIVERED in record.step_times and not record.is_reactivated
    if old != "Active" or may_be_off:
        return NextStep.REACTIVATE
    has_old = vault_has_old(record, observed)
    if record.new is None or is_new_key_gone(record, observed):
        return NextStep.GIVE_UP if has_old else NextStep.STORE_OLD
    if not observed.is_old_accepted:
        return NextStep.VERIFY_OLD
    if not has_old:
        return NextStep.STORE_OLD
    # A young key may only not be listed yet.
    removal = {None: NextStep.WAIT, "Active": NextStep.DEACTIVATE_NEW}
    return removal.get(new, NextStep.DELETE_NEW)


def are_keys_lost(record: Record, observed: ObservedKeys) -> bool:
    """Return True if neither key is active or can be made so: each is deleted at AWS, or has a status that
    UpdateAccessKey does not set."""
    old, new = observed.status(record.old), observed.status(record.new)
    is_new_lost = is_new_key_gone(record, observed) or new not in (*REVERSIBLE_STATUSES, None)
    return old not in REVERSIBLE_STATUSES and is_new_lost


def is_new_key_gone(record: Record, observed: ObservedKeys) -> bool:
    """Return True if the new key was created and no longer exists. A key created within
    :data:`PROPAGATION_TIME` may not be listed yet."""
    is_listed = observed.status(record.new) is not None
    return record.new is not None and not is_listed and record.new_key_age(observed.now) > PROPAGATION_TIME


def vault_has_new(record: Record, observed: ObservedKeys) -> bool:
    """Return True if the vault holds the new key in every required entry and the old key in none."""
    return record.new is not None and _vault_has(record.new, record.old, record, observed)


def vault_has_old(record: Record, observed: ObservedKeys) -> bool:
    """Return True if the vault holds the old key in every required entry and the new key in none."""
    return _vault_has(record.old, record.new, record, observed)


def _vault_has(
    wanted: Credentials, other: Credentials | None, record: Record, observed: ObservedKeys
) -> bool:
    if other is not None and other.access_key_id in observed.in_vault.values():
        return False
    entries = required_entries(record, observed.used_entries)
    return all(observed.in_vault.get(name) == wanted.access_key_id for name in entries)


def required_entries(record: Record, used_entries: Collection[str | None]) -> tuple[str, ...]:
    """Return the vault entries that must hold the key: those that a profile uses, or all if no profile uses
    any, because a key in no entry is lost."""
    return tuple(name for name in record.entries if name in used_entries) or record.entries
