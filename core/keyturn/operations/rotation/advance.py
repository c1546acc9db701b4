"""Continue or undo a rotation: one step per call, chosen by the state machine."""

from __future__ import annotations

from dataclasses import replace

from keyturn.model.errors import AwsRefused, RotationHalted
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.operations.rotation.drift import find_drift
from keyturn.operations.rotation.key_signer import UNKNOWN_KEY_CODES, KeySigner
from keyturn.operations.rotation.observed_keys import observe, summary_as_hint
from keyturn.operations.rotation.previous_key import restore_previous_key
from keyturn.operations.rotation.progress import Progress, progress_of, rotation_halted
from keyturn.operations.rotation.record import Record
from keyturn.operations.rotation.record_store import (
    pending_record,
    reload_record,
    require_pending_record,
    save_step,
    user_lock,
)
from keyturn.operations.rotation.state_machine import NextStep, ObservedKeys, next_step, orphans
from keyturn.operations.rotation.step_actions import ACTIONS, FIRST_WAIT, LONGEST_WAIT, StepActions


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
            record, code = save_step(context, undoing, record.step), None
    return _advance_once(context, record, code)


def _advance_once(context: Context, record: Record, code: str | None) -> Progress:
    context.require_open()
    key_signer = KeySigner(context, record.profile, code)
    with context.log_failure(record.profile, "rotate"), user_lock(context, record.user):
        record = reload_record(context, record)
        progress = _perform(StepActions(context, record, key_signer))
        context.clear_failure(record.profile, "rotate", "rotation", "Rotation")
        return progress


def _perform(actions: StepActions) -> Progress:
    """Perform the step that the state machine chooses, after a verification of the old key if that is needed."""
    record = actions.record
    try:
        observed = observe(actions.context, record, actions.key_signer)
    except AwsRefused as refusal:
        if refusal.code not in UNKNOWN_KEY_CODES:
            raise
        return actions.wait_for_propagation(refusal)
    with summary_as_hint(record, find_drift(record, observed)):
        step = next_step(record, observed)
        if step is NextStep.VERIFY_OLD:
            error = actions.verification_error(record.old)
            if error is not None:
                note = f"AWS does not accept the old key yet ({error.why})"
                return progress_of(record, wait=LONGEST_WAIT, note=note)
            step = next_step(record, replace(observed, is_old_accepted=True))
        return _perform_step(step, replace(actions, listed=observed.listed), observed)


def _perform_step(step: NextStep, actions: StepActions, observed: ObservedKeys) -> Progress:
    record = actions.record
    match step:
        case NextStep.WAIT:
            return progress_of(record, wait=5 * FIRST_WAIT, note="a new key may still appear in AWS's list")
        case NextStep.ORPHAN:
            orphan_ids = tuple(key.key_id for key in orphans(record, observed))
            return progress_of(record, is_halted=True, orphans=orphan_ids)
        case NextStep.DELETE | NextStep.NOTHING:
            return progress_of(record, is_halted=True)
        case NextStep.NEW_DELETED:
            return _undo_without_new(actions, observed)
        case NextStep.NEW_INACTIVE if (drift := find_drift(record, observed)) is not None:
            raise rotation_halted(record, drift.why, drift.hint)
        case NextStep.OLD_UNUSABLE:
            forward = replace(record, is_undoing=False, is_reactivated=False)
            raise _undo_impossible(save_step(actions.context, forward, record.step))
        case _:
            return ACTIONS[step](actions)


def _undo_impossible(record: Record) -> RotationHalted:
    why = (
        f"{record.masked_old_id} is deleted at AWS or cannot be reactivated, so the rotation cannot be undone"
    )
    hint = f"To continue with the new key: keyturn rotate {record.profile} --resume"
    return rotation_halted(record, why, hint)


def _undo_without_new(actions: StepActions, observed: ObservedKeys) -> Progress:
    """Return to the old key after the new one was deleted at AWS.

    :raises RotationHalted: if the old key is not active, because then no key is left that could reactivate
        it.
    """
    record = actions.record
    new, old = record.masked_new_id, record.masked_old_id
    old_key = observed.listed.get(record.old.access_key_id)
    if old_key is None or old_key.status != "Active":
        why = f"{new} was deleted at AWS, and {old} is {old_key.status.lower() if old_key else 'deleted too'}"
        hint = f"Reactivate {old} in the console, then run: keyturn rotate {record.profile} --undo"
        raise rotation_halted(record, why, hint)
    note = f"{new} was deleted at AWS, outside keyturn; {old} is in use again"
    return replace(actions.undo_without_new(), note=note)
