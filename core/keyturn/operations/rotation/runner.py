"""Continue or undo a rotation: one step per call, chosen by the state machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from keyturn.model.errors import AwsRefused, KeyturnError, NeedsInteraction, RotationHalted
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.drift import KeyDrift, find_drift
from keyturn.operations.rotation.journal import record_name
from keyturn.operations.rotation.observe import (
    journal_of,
    list_keys_and_vault,
    pending_record,
    reconcile_with_vault,
    record_of_user,
    require_pending_record,
    rotation_halted,
    user_lock,
)
from keyturn.operations.rotation.previous_key import restore_previous_key
from keyturn.operations.rotation.progress import Progress, progress_of
from keyturn.operations.rotation.record import Record
from keyturn.operations.rotation.signer import UNKNOWN_KEY_CODES, KeySigner
from keyturn.operations.rotation.state_machine import NextStep, ObservedKeys, next_step, orphans
from keyturn.operations.rotation.steps import FIRST_WAIT, LONGEST_WAIT, RotationSteps


@operation("rotate-step")
def advance(context: Context, name: str, code: str | None = None) -> Progress:
    """Perform the next step of a profile's rotation, in the direction that it has (forward or undo).

    :raises NotFound: if no rotation is pending.
    :raises NeedsMfa: if a policy requires an MFA code. Nothing has changed.
    :raises KeyturnError: if the step fails. The record says how far the rotation is.
    """
    return _advance_once(context, require_pending_record(context, name), code)


@operation("rotate-undo")
def undo(context: Context, name: str, code: str | None = None) -> Progress:
    """Reverse a rotation and perform the first step of the undo. :func:`advance` performs the others.

    :raises NotFound: if no rotation is pending. A finished rotation cannot be undone.
    """
    record = pending_record(context, name)
    if record is None:
        return restore_previous_key(context, name, code)
    if not record.is_undoing:
        with user_lock(context, record.user):
            record = reload_record(context, record)
            undoing = replace(record, is_undoing=True)
            observed = observe(context, record, KeySigner(context, record.profile, code))
            if next_step(undoing, observed) is NextStep.OLD_UNUSABLE:
                raise _undo_impossible(record)
            record, code = record_store.save_step(context, undoing, record.step), None
    return _advance_once(context, record, code)


def reload_record(context: Context, record: Record) -> Record:
    """Return the current record, now that the lock is held.

    :raises RotationHalted: if another process has finished the rotation.
    """
    current = record_of_user(context, record.user)
    if current is None or current.nonce != record.nonce or current.step.is_last:
        raise rotation_halted(
            record, "another process has finished it", f"Run: keyturn rotate {record.profile} --status"
        )
    reconciled = reconcile_with_vault(context, current)
    return current if reconciled is current else record_store.save_step(context, reconciled, current.step)


def _advance_once(context: Context, record: Record, code: str | None) -> Progress:
    context.require_open()
    key_signer = KeySigner(context, record.profile, code)
    with context.log_failure(record.profile, "rotate"), user_lock(context, record.user):
        record = reload_record(context, record)
        progress = _perform(context, record, key_signer)
        context.clear_failure(record.profile, "rotate", "rotation", "Rotation")
        return progress


def observe(context: Context, record: Record, key_signer: KeySigner) -> ObservedKeys:
    """Call :func:`~keyturn.operations.rotation.observe.list_keys_and_vault` for a pending rotation.

    :raises RotationHalted: if AWS accepts neither key any more.
    :raises AwsRefused: if AWS accepts neither key yet.
    """
    with _with_summary_hint(record):
        try:
            return list_keys_and_vault(context, record, key_signer)
        except AwsRefused as error:
            if (
                error.code not in UNKNOWN_KEY_CODES
                or RotationSteps(context, record, key_signer).is_propagating()
            ):
                raise
            raise _no_working_key(context, record) from None


@contextmanager
def _with_summary_hint(record: Record, drift: KeyDrift | None = None) -> Iterator[None]:
    """Replace the hint of every error with the drift, or with the keys that exist and the next command."""
    try:
        yield
    except (NeedsInteraction, RotationHalted):
        raise
    except KeyturnError as error:
        error.hint = str(drift) if drift else progress_of(record).summary()
        raise


def _perform(context: Context, record: Record, key_signer: KeySigner) -> Progress:
    steps = RotationSteps(context, record, key_signer)
    try:
        observed = observe(context, record, key_signer)
    except AwsRefused as error:
        if error.code not in UNKNOWN_KEY_CODES:
            raise
        return steps.wait_for_propagation(error)
    with _with_summary_hint(record, find_drift(record, observed)):
        return _verify_and_perform(record, observed, replace(steps, listed=observed.listed))


def _verify_and_perform(record: Record, observed: ObservedKeys, steps: RotationSteps) -> Progress:
    """Perform the step that the state machine chooses, after a verification of the old key if that is needed."""
    step = next_step(record, observed)
    if step is NextStep.VERIFY_OLD:
        error = steps.verification_error(record.old)
        if error is not None:
            return progress_of(
                record, wait=LONGEST_WAIT, note=f"AWS does not accept the old key yet ({error.why})"
            )
        step = next_step(record, replace(observed, is_old_accepted=True))
    return _perform_step(record, observed, step, steps)


def _perform_step(record: Record, observed: ObservedKeys, step: NextStep, steps: RotationSteps) -> Progress:
    match step:
        case NextStep.WAIT:
            return progress_of(record, wait=5 * FIRST_WAIT, note="a new key may still appear in AWS's list")
        case NextStep.ORPHAN:
            return progress_of(
                record, is_halted=True, orphans=tuple(key.key_id for key in orphans(record, observed))
            )
        case NextStep.DELETE | NextStep.NOTHING:
            return progress_of(record, is_halted=True)
        case NextStep.NEW_DELETED:
            return _undo_without_new(record, observed, steps)
        case NextStep.NEW_INACTIVE if (drift := find_drift(record, observed)) is not None:
            raise rotation_halted(record, drift.why, drift.hint)
        case NextStep.OLD_UNUSABLE:
            raise _undo_impossible(steps.cancel_undo())
        case _:
            return _ACTIONS[step](steps)


_ACTIONS: dict[NextStep, Callable[[RotationSteps], Progress]] = {
    NextStep.VERIFY: RotationSteps.verify,
    NextStep.STORE: RotationSteps.store,
    NextStep.DELIVER: RotationSteps.deliver,
    NextStep.DEACTIVATE: RotationSteps.deactivate,
    NextStep.RECORD_DEACTIVATED: RotationSteps.record_deactivated,
    NextStep.RESTART_WAIT: RotationSteps.restart_wait,
    NextStep.CLOSE: RotationSteps.close,
    NextStep.GIVE_UP: RotationSteps.give_up,
    NextStep.REACTIVATE: RotationSteps.reactivate,
    NextStep.STORE_OLD: RotationSteps.store_old,
    NextStep.DEACTIVATE_NEW: RotationSteps.deactivate_new,
    NextStep.DELETE_NEW: RotationSteps.delete_new,
}


def _undo_impossible(record: Record) -> RotationHalted:
    old = masked_key_id(record.old.access_key_id)
    why = f"{old} is deleted at AWS or cannot be reactivated, so the rotation cannot be undone"
    return rotation_halted(
        record, why, f"To continue with the new key: keyturn rotate {record.profile} --resume"
    )


def _no_working_key(context: Context, record: Record) -> RotationHalted:
    """Return the error for AWS accepting none of the keys that could sign."""
    keys = " nor ".join(
        masked_key_id(key.access_key_id) for key in (record.new, record.old) if key is not None
    )
    why = f"AWS accepts neither {keys}: the key in use was deleted or deactivated"
    file = journal_of(context).path_of(record_name(record.user))
    hint = (
        f"Reactivate one of them in the console, then run: keyturn rotate {record.profile} --resume, or --undo. "
        f"If both are deleted, move {file} away to end the rotation"
    )
    return rotation_halted(record, why, hint)


def _undo_without_new(record: Record, observed: ObservedKeys, steps: RotationSteps) -> Progress:
    """Return to the old key after the new one was deleted at AWS.

    :raises RotationHalted: if the old key is not active, because then no key is left that could reactivate
        it.
    """
    new, old = (masked_key_id(key.access_key_id) for key in (record.new, record.old) if key is not None)
    old_key = observed.listed.get(record.old.access_key_id)
    if old_key is None or old_key.status != "Active":
        why = f"{new} was deleted at AWS, and {old} is {old_key.status.lower() if old_key else 'deleted too'}"
        hint = f"Reactivate {old} in the console, then run: keyturn rotate {record.profile} --undo"
        raise rotation_halted(record, why, hint)
    # The deletion at AWS has the same effect as --undo.
    undone = replace(steps, record=steps.revert_to_old()).as_undo().give_up()
    return replace(undone, note=f"{new} was deleted at AWS, outside keyturn; {old} is in use again")
