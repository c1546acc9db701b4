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
SETTLE_TIME = timedelta(seconds=60)
#: IAM may not know a new key everywhere for about a minute (aws-facts 5); until then a refusal of it proves nothing.
PROPAGATION_TIME = timedelta(seconds=120)
#: The two clocks, AWS's and this machine's, may differ by so much before signatures fail.
CLOCKS = timedelta(minutes=15)
#: Statuses that UpdateAccessKey can set and undo. AWS lists further ones (`Expired`), and does not document that a key
#: in such a state can be reactivated.
REVERSIBLE_STATUSES = ("Active", "Inactive")


class NextStep(StrEnum):
    """An act that brings a rotation on by one step."""

    WAIT = "wait"
    """Nothing can be told yet."""
    RESTAMP = "restamp"
    """The clock was set back: waiting begins anew."""
    GIVE_UP = "give-up"
    """No new key was made: the record ends as undone."""
    ORPHAN = "orphan"
    """There is a key whose secret never arrived; only a person can say that it may go."""
    VERIFY = "verify"
    STORE = "store"
    DELIVER = "deliver"
    DEACTIVATE = "deactivate"
    NOTE_OFF = "note-off"
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
    LOST_OLD = "lost-old"
    """The old key is gone at AWS, so it cannot be gone back to."""
    LOST_NEW = "lost-new"
    """The new key is gone at AWS: somebody deleted it."""
    NEW_OFF = "new-off"
    """Somebody switched the new key off at AWS, and may have had a reason."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class ObservedKeys:
    """What was found a moment ago."""

    listed: Mapping[str, ListedKey]
    """The user's keys at AWS, by id."""
    in_vault: Mapping[str, str]
    """The id of the key under each name in the vault."""
    wanted: frozenset[str]
    """The names under which a managed profile looks for its key."""
    now: datetime
    old_answers: bool = False
    """AWS just answered to the old key, three times in a row."""
    known: frozenset[str] = field(default_factory=frozenset)
    """Further key ids that somebody here knows."""


def orphans(record: Record, seen: ObservedKeys) -> tuple[ListedKey, ...]:
    """Keys that appeared since the rotation began, and whose secret nobody here holds."""
    mine = {record.old.access_key_id, *record.listed, *seen.in_vault.values(), *seen.known}
    if record.new is not None:
        mine.add(record.new.access_key_id)
    return tuple(
        key for key in seen.listed.values() if key.key_id not in mine and key.created >= record.began - CLOCKS
    )


def next_move(record: Record, seen: ObservedKeys) -> NextStep:
    """The one move that is right for what the record says and what was seen."""
    if record.step.is_last:
        return NextStep.NOTHING
    if record.step is Step.INTENT:
        return _after_intent(record, seen)
    return _back(record, seen) if record.is_undoing else _on(record, seen)


def _after_intent(record: Record, seen: ObservedKeys) -> NextStep:
    if orphans(record, seen):
        return NextStep.ORPHAN
    if seen.now < record.began:
        return NextStep.RESTAMP
    return NextStep.WAIT if seen.now - record.began < SETTLE_TIME else NextStep.GIVE_UP


def _on(record: Record, seen: ObservedKeys) -> NextStep:
    if record.new is not None and is_gone(record.new.access_key_id, record, seen):
        return NextStep.LOST_NEW
    if record.new is not None and _is_off(seen.listed.get(record.new.access_key_id)):
        return NextStep.NEW_OFF
    if record.step in _NEXT:
        return _NEXT[record.step]
    if not vault_has_new(record, seen):
        # The vault went back to an older state, or the step was noted before it was made.
        return NextStep.STORE
    if record.step is Step.STORED:
        return NextStep.DELIVER
    return _retire(record, seen.listed.get(record.old.access_key_id))


def _retire(record: Record, old: ListedKey | None) -> NextStep:
    """What becomes of the old key, once the new one is in use."""
    if old is None:
        return NextStep.CLOSE
    if old.status == "Active":
        return NextStep.DEACTIVATE
    return NextStep.DELETE if record.step is Step.DEACTIVATED else NextStep.NOTE_OFF


_NEXT = {Step.CREATED: NextStep.VERIFY, Step.VERIFIED: NextStep.STORE}


def _back(record: Record, seen: ObservedKeys) -> NextStep:
    """Back to the old key: it works, then it is the vault's, and only then the new one goes."""
    old = seen.listed.get(record.old.access_key_id)
    new = seen.listed.get(record.new.access_key_id) if record.new else None
    if old is None or old.status not in REVERSIBLE_STATUSES:
        return NextStep.LOST_OLD
    # AWS may go on listing as active, and answering to, what was switched off a minute ago: that is no proof.
    may_be_off = Step.DELIVERED in record.at and not record.is_reactivated
    if old.status != "Active" or may_be_off:
        return NextStep.REACTIVATE
    if new is None:
        return _back_alone(record, seen)
    if not seen.old_answers:
        return NextStep.VERIFY_OLD
    if not vault_has_old(record, seen):
        return NextStep.STORE_OLD
    return NextStep.DEACTIVATE_NEW if new.status == "Active" else NextStep.DELETE_NEW


def _back_alone(record: Record, seen: ObservedKeys) -> NextStep:
    """Back to the old key where AWS does not list the new one; one that is young may only not show yet."""
    if record.new is not None and not is_gone(record.new.access_key_id, record, seen):
        return NextStep.WAIT
    return NextStep.GIVE_UP if vault_has_old(record, seen) else NextStep.STORE_OLD


def is_gone(key_id: str, record: Record, seen: ObservedKeys) -> bool:
    """Whether a key that was made is no more; one that was made just now may not show yet."""
    if key_id in seen.listed:
        return False
    made = record.at.get(Step.CREATED, record.began)
    return seen.now - made > PROPAGATION_TIME


def _is_off(key: ListedKey | None) -> bool:
    return key is not None and key.status != "Active"


def vault_has_new(record: Record, seen: ObservedKeys) -> bool:
    """Whether the new key is in the vault wherever the old one was and a profile looks for it."""
    if record.new is None or record.old.access_key_id in seen.in_vault.values():
        return False
    return all(seen.in_vault.get(name) == record.new.access_key_id for name in wanted_of(record, seen.wanted))


def vault_has_old(record: Record, seen: ObservedKeys) -> bool:
    """Whether the new key is nowhere in the vault, and the old one wherever it was and a profile looks for it."""
    if record.new is not None and record.new.access_key_id in seen.in_vault.values():
        return False
    return all(seen.in_vault.get(name) == record.old.access_key_id for name in wanted_of(record, seen.wanted))


def wanted_of(record: Record, looked_for: Collection[str | None]) -> tuple[str, ...]:
    """The entries of the vault that must hold the key: those that a profile looks for; all, where none does any more,
    since a key that is nowhere is lost."""
    return tuple(name for name in record.entries if name in looked_for) or record.entries
