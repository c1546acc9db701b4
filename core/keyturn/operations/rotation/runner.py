"""A rotation gone on with, undone, finished: one act each time, chosen by the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from keyturn.model.errors import AwsRefused, KeyturnError, NeedsInteraction, RotationHalted
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.drift import KeyDrift, amiss
from keyturn.operations.rotation.journal import name_of
from keyturn.operations.rotation.observe import (
    caught_up,
    halted,
    journal_of,
    lock,
    look,
    record_of,
    record_of_user,
    waiting,
)
from keyturn.operations.rotation.previous_key import go_back
from keyturn.operations.rotation.progress import Progress, progress_of
from keyturn.operations.rotation.record import Record
from keyturn.operations.rotation.signer import UNKNOWN_KEY, KeySigner
from keyturn.operations.rotation.state_machine import NextStep, ObservedKeys, next_move, orphans
from keyturn.operations.rotation.steps import FIRST_WAIT, LONGEST_WAIT, RotationSteps


def advance(desk: Context, name: str, code: str | None) -> Progress:
    """Brings the rotation of a profile's key on by one act; an undoing one goes on back.

    :raises NotFound: there is none to go on with.
    :raises NeedsMfa: a policy asks for a code; nothing has changed.
    :raises KeyturnError: what the act raised; the record says how far it is.
    """
    return _act(desk, record_of(desk, name), code)


def undo(desk: Context, name: str, code: str | None) -> Progress:
    """Turns a rotation round, and makes the first act of the way back; :func:`advance` makes the others.

    :raises NotFound: there is none; what is done cannot be undone.
    """
    record = waiting(desk, name)
    if record is None:
        return go_back(desk, name, code)
    if not record.is_undoing:
        with lock(desk, record.user):
            record = again(desk, record)
            turned = replace(record, is_undoing=True)
            seen = looked(desk, record, KeySigner(desk, record.profile, code))
            if next_move(turned, seen) is NextStep.LOST_OLD:
                raise _no_way_back(record)
            record, code = record_store.step(desk, turned, record.step), None
    return _act(desk, record, code)


def again(desk: Context, record: Record) -> Record:
    """The record as it is now that the lock is held.

    :raises RotationHalted: another process has brought it to its end.
    """
    now = record_of_user(desk, record.user)
    if now is None or now.nonce != record.nonce or now.step.is_last:
        raise halted(
            record, "another process has ended it meanwhile", f"See: keyturn rotate {record.profile} --status"
        )
    caught = caught_up(desk, now)
    return now if caught is now else record_store.step(desk, caught, now.step)


def _act(desk: Context, record: Record, code: str | None) -> Progress:
    desk.require_open()
    signing = KeySigner(desk, record.profile, code)
    with desk.recording(record.profile, "rotate"), lock(desk, record.user):
        record = again(desk, record)
        progress = _moved(desk, record, signing)
        desk.forgive(record.profile, "rotate", "rotation")
        return progress


def looked(desk: Context, record: Record, signing: KeySigner) -> ObservedKeys:
    """:func:`look` for a rotation that waits.

    :raises RotationHalted: AWS knows neither key any more.
    :raises AwsRefused: AWS knows neither yet.
    """
    with _telling(record):
        try:
            return look(desk, record, signing)
        except AwsRefused as error:
            if error.code not in UNKNOWN_KEY or RotationSteps(desk, record, signing).is_young():
                raise
            raise _no_key_left(desk, record) from None


@contextmanager
def _telling(record: Record, found: KeyDrift | None = None) -> Iterator[None]:
    """Has whatever goes wrong say which keys there are and what to do.

    :param found: what is amiss at AWS.
    """
    try:
        yield
    except (NeedsInteraction, RotationHalted):
        raise
    except KeyturnError as error:
        error.hint = str(found) if found else progress_of(record).stands()
        raise


def _moved(desk: Context, record: Record, signing: KeySigner) -> Progress:
    moves = RotationSteps(desk, record, signing)
    try:
        seen = looked(desk, record, signing)
    except AwsRefused as error:
        if error.code not in UNKNOWN_KEY:
            raise
        return moves.later(error)
    with _telling(record, amiss(record, seen)):
        return _chosen(record, seen, replace(moves, listed=seen.listed))


def _chosen(record: Record, seen: ObservedKeys, moves: RotationSteps) -> Progress:
    """What the plan's move gives."""
    move = next_move(record, seen)
    if move is NextStep.VERIFY_OLD:
        refused = moves.answers(record.old)
        if refused is not None:
            return progress_of(
                record, wait=LONGEST_WAIT, note=f"the old key does not answer yet ({refused.why})"
            )
        move = next_move(record, replace(seen, old_answers=True))
    return _done(record, seen, move, moves)


def _done(record: Record, seen: ObservedKeys, move: NextStep, moves: RotationSteps) -> Progress:
    match move:
        case NextStep.WAIT:
            return progress_of(
                record, wait=5 * FIRST_WAIT, note="AWS may still show a key that was made unanswered"
            )
        case NextStep.ORPHAN:
            return progress_of(
                record, is_halted=True, orphans=tuple(key.key_id for key in orphans(record, seen))
            )
        case NextStep.DELETE | NextStep.NOTHING:
            return progress_of(record, is_halted=True)
        case NextStep.LOST_NEW:
            return _without_new(record, seen, moves)
        case NextStep.NEW_OFF if (found := amiss(record, seen)) is not None:
            raise halted(record, found.why, found.hint)
        case NextStep.LOST_OLD:
            raise _no_way_back(moves.forward_again())
        case _:
            return _PERFORM[move](moves)


_PERFORM: dict[NextStep, Callable[[RotationSteps], Progress]] = {
    NextStep.VERIFY: RotationSteps.verify,
    NextStep.STORE: RotationSteps.store,
    NextStep.DELIVER: RotationSteps.deliver,
    NextStep.DEACTIVATE: RotationSteps.deactivate,
    NextStep.NOTE_OFF: RotationSteps.note_off,
    NextStep.RESTAMP: RotationSteps.restamp,
    NextStep.CLOSE: RotationSteps.close,
    NextStep.GIVE_UP: RotationSteps.give_up,
    NextStep.REACTIVATE: RotationSteps.reactivate,
    NextStep.STORE_OLD: RotationSteps.store_old,
    NextStep.DEACTIVATE_NEW: RotationSteps.deactivate_new,
    NextStep.DELETE_NEW: RotationSteps.delete_new,
}


def _no_way_back(record: Record) -> RotationHalted:
    old = masked_key_id(record.old.access_key_id)
    why = f"{old} is gone at AWS, or in a state that it cannot be switched on from, so it cannot be gone back to"
    return halted(record, why, f"Go on with the new key: keyturn rotate {record.profile} --resume")


def _no_key_left(desk: Context, record: Record) -> RotationHalted:
    """AWS knows none of the keys that could sign."""
    keys = " nor ".join(
        masked_key_id(key.access_key_id) for key in (record.new, record.old) if key is not None
    )
    why = f"AWS takes neither {keys}: somebody deleted the one in use, or switched it off"
    file = journal_of(desk).place(name_of(record.user))
    hint = (
        f"Have one of them switched on in the console, then run: keyturn rotate {record.profile} --resume, or --undo. "
        f"If both are deleted for good, nothing is left to rotate: move {file} away, which ends it"
    )
    return halted(record, why, hint)


def _without_new(record: Record, seen: ObservedKeys, moves: RotationSteps) -> Progress:
    """Somebody deleted the new key at AWS: the old one is gone back to, as far as that works.

    :raises RotationHalted: the old one is switched off, so that no key is left that could switch it on.
    """
    new, old = (masked_key_id(key.access_key_id) for key in (record.new, record.old) if key is not None)
    present = seen.listed.get(record.old.access_key_id)
    if present is None or present.status != "Active":
        why = f"{new} was deleted at AWS, and {old} is {present.status.lower() if present else 'deleted too'}"
        hint = f"Have {old} switched on in the console, then run: keyturn rotate {record.profile} --undo"
        raise halted(record, why, hint)
    # Somebody took it back at AWS, as good as by --undo.
    undone = replace(moves, record=moves.stored_old()).turned().give_up()
    return replace(undone, note=f"{new} was deleted at AWS by somebody; {old} is in use again")
