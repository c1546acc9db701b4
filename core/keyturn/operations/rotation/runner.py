"""A rotation gone on with, undone, finished: one act each time, chosen by the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from keyturn.model.errors import AwsRefused, KeyturnError, NeedsPerson, RotationHalted
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Desk
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.drift import Amiss, amiss
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
from keyturn.operations.rotation.signer import UNKNOWN_KEY, Signing
from keyturn.operations.rotation.state_machine import Move, Seen, next_move, orphans
from keyturn.operations.rotation.steps import FIRST_WAIT, LONGEST_WAIT, Moves


def advance(desk: Desk, name: str, code: str | None) -> Progress:
    """Brings the rotation of a profile's key on by one act; an undoing one goes on back.

    :raises NotFound: there is none to go on with.
    :raises NeedsMfa: a policy asks for a code; nothing has changed.
    :raises KeyturnError: what the act raised; the record says how far it is.
    """
    return _act(desk, record_of(desk, name), code)


def undo(desk: Desk, name: str, code: str | None) -> Progress:
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
            seen = looked(desk, record, Signing(desk, record.profile, code))
            if next_move(turned, seen) is Move.LOST_OLD:
                raise _no_way_back(record)
            record, code = record_store.step(desk, turned, record.step), None
    return _act(desk, record, code)


def again(desk: Desk, record: Record) -> Record:
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


def _act(desk: Desk, record: Record, code: str | None) -> Progress:
    desk.require_open()
    signing = Signing(desk, record.profile, code)
    with desk.recording(record.profile, "rotate"), lock(desk, record.user):
        record = again(desk, record)
        progress = _moved(desk, record, signing)
        desk.forgive(record.profile, "rotate", "rotation")
        return progress


def looked(desk: Desk, record: Record, signing: Signing) -> Seen:
    """:func:`look` for a rotation that waits.

    :raises RotationHalted: AWS knows neither key any more.
    :raises AwsRefused: AWS knows neither yet.
    """
    with _telling(record):
        try:
            return look(desk, record, signing)
        except AwsRefused as error:
            if error.code not in UNKNOWN_KEY or Moves(desk, record, signing).is_young():
                raise
            raise _no_key_left(desk, record) from None


@contextmanager
def _telling(record: Record, found: Amiss | None = None) -> Iterator[None]:
    """Has whatever goes wrong say which keys there are and what to do.

    :param found: what is amiss at AWS.
    """
    try:
        yield
    except (NeedsPerson, RotationHalted):
        raise
    except KeyturnError as error:
        error.hint = str(found) if found else progress_of(record).stands()
        raise


def _moved(desk: Desk, record: Record, signing: Signing) -> Progress:
    moves = Moves(desk, record, signing)
    try:
        seen = looked(desk, record, signing)
    except AwsRefused as error:
        if error.code not in UNKNOWN_KEY:
            raise
        return moves.later(error)
    with _telling(record, amiss(record, seen)):
        return _chosen(record, seen, replace(moves, listed=seen.listed))


def _chosen(record: Record, seen: Seen, moves: Moves) -> Progress:
    """What the plan's move gives."""
    move = next_move(record, seen)
    if move is Move.VERIFY_OLD:
        refused = moves.answers(record.old)
        if refused is not None:
            return progress_of(
                record, wait=LONGEST_WAIT, note=f"the old key does not answer yet ({refused.why})"
            )
        move = next_move(record, replace(seen, old_answers=True))
    return _done(record, seen, move, moves)


def _done(record: Record, seen: Seen, move: Move, moves: Moves) -> Progress:
    match move:
        case Move.WAIT:
            return progress_of(
                record, wait=5 * FIRST_WAIT, note="AWS may still show a key that was made unanswered"
            )
        case Move.ORPHAN:
            return progress_of(
                record, is_halted=True, orphans=tuple(key.key_id for key in orphans(record, seen))
            )
        case Move.DELETE | Move.NOTHING:
            return progress_of(record, is_halted=True)
        case Move.LOST_NEW:
            return _without_new(record, seen, moves)
        case Move.NEW_OFF if (found := amiss(record, seen)) is not None:
            raise halted(record, found.why, found.hint)
        case Move.LOST_OLD:
            raise _no_way_back(moves.forward_again())
        case _:
            return _PERFORM[move](moves)


_PERFORM: dict[Move, Callable[[Moves], Progress]] = {
    Move.VERIFY: Moves.verify,
    Move.STORE: Moves.store,
    Move.DELIVER: Moves.deliver,
    Move.DEACTIVATE: Moves.deactivate,
    Move.NOTE_OFF: Moves.note_off,
    Move.RESTAMP: Moves.restamp,
    Move.CLOSE: Moves.close,
    Move.GIVE_UP: Moves.give_up,
    Move.REACTIVATE: Moves.reactivate,
    Move.STORE_OLD: Moves.store_old,
    Move.DEACTIVATE_NEW: Moves.deactivate_new,
    Move.DELETE_NEW: Moves.delete_new,
}


def _no_way_back(record: Record) -> RotationHalted:
    old = masked_key_id(record.old.access_key_id)
    why = f"{old} is gone at AWS, or in a state that it cannot be switched on from, so it cannot be gone back to"
    return halted(record, why, f"Go on with the new key: keyturn rotate {record.profile} --resume")


def _no_key_left(desk: Desk, record: Record) -> RotationHalted:
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


def _without_new(record: Record, seen: Seen, moves: Moves) -> Progress:
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
