"""What a rotation does next: a function of its record and of what was just seen. Pure.

Resume, undo, the verbs and the wizard all ask here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.aws.api import ListedKey
from keyturn.operations.rotation.record import Record, Step

#: A key whose making went unanswered may show in ListAccessKeys this late.
LATE_LISTING_TIME = timedelta(seconds=60)
#: IAM may not know a new key everywhere for about a minute (aws-facts 5); until then a refusal of it proves nothing.
PROPAGATION_TIME = timedelta(seconds=120)
#: The two clocks, AWS's and this machine's, may differ by so much before signatures fail.
MAX_CLOCK_SKEW = timedelta(minutes=15)
#: Statuses that UpdateAccessKey can set and undo. AWS lists further ones (`Expired`), and does not document that a key
#: in such a state can be reactivated.
REVERSIBLE_STATUSES = ("Active", "Inactive")


class NextStep(StrEnum):
    """An act that brings a rotation on by one step."""

    WAIT = "wait"
    """Nothing can be told yet."""
    RESTART_WAIT = "restart-wait"
    """The clock was set back: waiting begins anew."""
    GIVE_UP = "give-up"
    """No new key was made: the record ends as undone."""
    ORPHAN = "orphan"
    """There is a key whose secret never arrived; only a person can say that it may go."""
    VERIFY = "verify"
    STORE = "store"
    DELIVER = "deliver"
    DEACTIVATE = "deactivate"
    RECORD_DEACTIVATED = "record-deactivated"
    """The old key is inactive at AWS, and the record does not say so yet."""
    DELETE = "delete"
    """The old key, once a person says so."""
    CLOSE = "close"
    """All is as it shall be: the record ends as done."""
    REACTIVATE = "reactivate"
    VERIFY_OLD = "verify-old"
    STORE_OLD = "store-old"
    DEACTIVATE_NEW = "deactivate-new"
    DELETE_NEW = "delete-new"
    OLD_UNUSABLE = "old-unusable"
    """The old key is gone at AWS, so it cannot be gone back to."""
    NEW_DELETED = "new-deleted"
    """The new key is gone at AWS: somebody deleted it."""
    NEW_INACTIVE = "new-inactive"
    """Somebody switched the new key off at AWS, and may have had a reason."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class ObservedKeys:
    """What was found a moment ago."""

    listed: Mapping[str, ListedKey]
    """The user's keys at AWS, by id."""
    in_vault: Mapping[str, str]
    """The id of the key under each name in the vault."""
    used_entries: frozenset[str]
    """The names under which a managed profile looks for its key."""
    now: datetime
    is_old_accepted: bool = False
    """AWS just answered to the old key, three times in a row."""
    known_ids: frozenset[str] = field(default_factory=frozenset)
    """Further key ids that somebody here knows."""


def orphans(record: Record, observed: ObservedKeys) -> tuple[ListedKey, ...]:
    """Keys that appeared since the rotation began, and whose secret nobody here holds."""
    own_ids = {
        record.old.access_key_id,
        *record.initial_key_ids,
        *observed.in_vault.values(),
        *observed.known_ids,
    }
    if record.new is not None:
        own_ids.add(record.new.access_key_id)
    return tuple(
        key
        for key in observed.listed.values()
        if key.key_id not in own_ids and key.created >= record.started - MAX_CLOCK_SKEW
    )


def next_step(record: Record, observed: ObservedKeys) -> NextStep:
    """The one move that is right for what the record says and what was seen."""
    if record.step.is_last:
        return NextStep.NOTHING
    if record.step is Step.INTENT:
        return _intent_step(record, observed)
    return _undo_step(record, observed) if record.is_undoing else _forward_step(record, observed)


def _intent_step(record: Record, observed: ObservedKeys) -> NextStep:
    if orphans(record, observed):
        return NextStep.ORPHAN
    if observed.now < record.started:
        return NextStep.RESTART_WAIT
    return NextStep.WAIT if observed.now - record.started < LATE_LISTING_TIME else NextStep.GIVE_UP


def _forward_step(record: Record, observed: ObservedKeys) -> NextStep:
    if record.new is not None and is_gone(record.new.access_key_id, record, observed):
        return NextStep.NEW_DELETED
    if record.new is not None and _is_inactive(observed.listed.get(record.new.access_key_id)):
        return NextStep.NEW_INACTIVE
    if record.step in _STEP_AFTER:
        return _STEP_AFTER[record.step]
    if not vault_has_new(record, observed):
        # The vault went back to an older state, or the step was noted before it was made.
        return NextStep.STORE
    if record.step is Step.STORED:
        return NextStep.DELIVER
    return _old_key_step(record, observed.listed.get(record.old.access_key_id))


def _old_key_step(record: Record, old: ListedKey | None) -> NextStep:
    """What becomes of the old key, once the new one is in use."""
    if old is None:
        return NextStep.CLOSE
    if old.status == "Active":
        return NextStep.DEACTIVATE
    return NextStep.DELETE if record.step is Step.DEACTIVATED else NextStep.RECORD_DEACTIVATED


_STEP_AFTER = {Step.CREATED: NextStep.VERIFY, Step.VERIFIED: NextStep.STORE}


def _undo_step(record: Record, observed: ObservedKeys) -> NextStep:
    """Back to the old key: it works, then it is the vault's, and only then the new one goes."""
    old = observed.listed.get(record.old.access_key_id)
    new = observed.listed.get(record.new.access_key_id) if record.new else None
    if old is None or old.status not in REVERSIBLE_STATUSES:
        return NextStep.OLD_UNUSABLE
    # AWS may go on listing as active, and answering to, what was switched off a minute ago: that is no proof.
    may_be_off = Step.DELIVERED in record.step_times and not record.is_reactivated
    if old.status != "Active" or may_be_off:
        return NextStep.REACTIVATE
    if new is None:
        return _undo_step_without_new(record, observed)
    if not observed.is_old_accepted:
        return NextStep.VERIFY_OLD
    if not vault_has_old(record, observed):
        return NextStep.STORE_OLD
    return NextStep.DEACTIVATE_NEW if new.status == "Active" else NextStep.DELETE_NEW


def _undo_step_without_new(record: Record, observed: ObservedKeys) -> NextStep:
    """Back to the old key where AWS does not list the new one; one that is young may only not show yet."""
    if record.new is not None and not is_gone(record.new.access_key_id, record, observed):
        return NextStep.WAIT
    return NextStep.GIVE_UP if vault_has_old(record, observed) else NextStep.STORE_OLD


def is_gone(key_id: str, record: Record, observed: ObservedKeys) -> bool:
    """Whether a key that was made is no more; one that was made just now may not show yet."""
    if key_id in observed.listed:
        return False
    created = record.step_times.get(Step.CREATED, record.started)
    return observed.now - created > PROPAGATION_TIME


def _is_inactive(key: ListedKey | None) -> bool:
    return key is not None and key.status != "Active"


def vault_has_new(record: Record, observed: ObservedKeys) -> bool:
    """Whether the new key is in the vault wherever the old one was and a profile looks for it."""
    if record.new is None or record.old.access_key_id in observed.in_vault.values():
        return False
    return all(
        observed.in_vault.get(name) == record.new.access_key_id
        for name in required_entries(record, observed.used_entries)
    )


def vault_has_old(record: Record, observed: ObservedKeys) -> bool:
    """Whether the new key is nowhere in the vault, and the old one wherever it was and a profile looks for it."""
    if record.new is not None and record.new.access_key_id in observed.in_vault.values():
        return False
    return all(
        observed.in_vault.get(name) == record.old.access_key_id
        for name in required_entries(record, observed.used_entries)
    )


def required_entries(record: Record, used_entries: Collection[str | None]) -> tuple[str, ...]:
    """The entries of the vault that must hold the key: those that a profile looks for; all, where none does any more,
    since a key that is nowhere is lost."""
    return tuple(name for name in record.entries if name in used_entries) or record.entries
