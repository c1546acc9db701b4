"""What a rotation does next: a function of its record and of what was just seen. Pure.

Resume, undo, the verbs and the wizard all ask here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.aws.ports import ListedKey
from keyturn.rotation.record import Record, Step

#: A key whose making went unanswered may show in ListAccessKeys this late.
SETTLES = timedelta(seconds=60)
#: IAM may not know a new key everywhere for about a minute (aws-facts 5); until then a refusal of it proves nothing.
SPREADS = timedelta(seconds=120)
#: The two clocks, AWS's and this machine's, may differ by so much before signatures fail.
CLOCKS = timedelta(minutes=15)


class Move(StrEnum):
    """An act that brings a rotation on by one step."""

    WAIT = "wait"
    """Nothing can be told yet."""
    GIVE_UP = "give-up"
    """No new key was made: the record ends as undone."""
    ORPHAN = "orphan"
    """There is a key whose secret never arrived; only a person can say that it may go."""
    VERIFY = "verify"
    STORE = "store"
    DELIVER = "deliver"
    DEACTIVATE = "deactivate"
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
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found a moment ago."""

    listed: Mapping[str, ListedKey]
    """The user's keys at AWS, by id."""
    held: Mapping[str, str]
    """The id of the key under each name in the vault."""
    now: datetime
    old_answers: bool = False
    """AWS just answered to the old key, three times in a row."""
    known: frozenset[str] = field(default_factory=frozenset)
    """Further key ids that somebody here knows."""


def orphans(record: Record, seen: Seen) -> tuple[ListedKey, ...]:
    """Keys that appeared since the rotation began, and whose secret nobody here holds."""
    mine = {record.old.access_key_id, *record.listed, *seen.held.values(), *seen.known}
    if record.new is not None:
        mine.add(record.new.access_key_id)
    return tuple(
        key for key in seen.listed.values() if key.key_id not in mine and key.created >= record.began - CLOCKS
    )


def next_move(record: Record, seen: Seen) -> Move:
    """The one move that is right for what the record says and what was seen."""
    if record.step.is_last:
        return Move.NOTHING
    if record.step is Step.INTENT:
        return _after_intent(record, seen)
    return _back(record, seen) if record.is_undoing else _on(record, seen)


def _after_intent(record: Record, seen: Seen) -> Move:
    if orphans(record, seen):
        return Move.ORPHAN
    return Move.WAIT if seen.now - record.began < SETTLES else Move.GIVE_UP


def _on(record: Record, seen: Seen) -> Move:
    if record.new is not None and _is_gone(record.new.access_key_id, record, seen):
        return Move.LOST_NEW
    if record.step in _NEXT:
        return _NEXT[record.step]
    if not holds_new(record, seen):
        # The vault went back to an older state, or the step was noted before it was made.
        return Move.STORE
    if record.step is Step.STORED:
        return Move.DELIVER
    old = seen.listed.get(record.old.access_key_id)
    if old is None:
        return Move.CLOSE
    is_off = record.step is Step.DEACTIVATED and old.status != "Active"
    return Move.DELETE if is_off else Move.DEACTIVATE


_NEXT = {Step.CREATED: Move.VERIFY, Step.VERIFIED: Move.STORE}


def _back(record: Record, seen: Seen) -> Move:
    """Back to the old key: it works, then it is the vault's, and only then the new one goes."""
    old = seen.listed.get(record.old.access_key_id)
    new = seen.listed.get(record.new.access_key_id) if record.new else None
    if old is None:
        return Move.LOST_OLD
    if old.status != "Active":
        return Move.REACTIVATE
    if new is None:
        return Move.GIVE_UP if holds_old(record, seen) else Move.STORE_OLD
    if not seen.old_answers:
        return Move.VERIFY_OLD
    if not holds_old(record, seen):
        return Move.STORE_OLD
    return Move.DEACTIVATE_NEW if new.status == "Active" else Move.DELETE_NEW


def _is_gone(key_id: str, record: Record, seen: Seen) -> bool:
    """Whether a key that was made is no more; one that was made just now may not show yet."""
    if key_id in seen.listed:
        return False
    made = record.at.get(Step.CREATED, record.began)
    return seen.now - made > SPREADS


def holds_new(record: Record, seen: Seen) -> bool:
    """Whether every entry of the vault that was the old key is the new one. Entries that were released count no more."""
    return record.old.access_key_id not in _present(record, seen).values()


def holds_old(record: Record, seen: Seen) -> bool:
    """Whether no entry of the vault is the new key."""
    return record.new is None or record.new.access_key_id not in _present(record, seen).values()


def _present(record: Record, seen: Seen) -> Mapping[str, str]:
    return {
        name: key
        for name, key in seen.held.items()
        if name in record.entries or key == record.old.access_key_id
    }
