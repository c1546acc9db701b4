"""Continue or undo a rotation: one step per call, chosen by the state machine."""

from __future__ import annotations

from dataclasses import replace

from keyturn.model.errors import THEN_RUN, AwsRefused, NotFound, Remedy, RotationHalted
from keyturn.model.text import masked_key_id
from keyturn.operations import write_check
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.drift import find_drift
from keyturn.operations.rotation.key_signer import UNKNOWN_KEY_CODES, KeySigner, summary_as_hint
from keyturn.operations.rotation.progress import Progress, progress_of, rotation_halted
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.state_machine import NextStep, ObservedKeys, next_step, orphans
from keyturn.operations.rotation.step_actions import ACTIONS, FIRST_WAIT, LONGEST_WAIT, StepActions


@operation("rotate-step")
def advance(context: Context, name: str, code: str | None = None) -> Progress:
    """Perform the next step of a profile's rotation, in the direction that it has (forward or undo).

    :raises NotFound: if no rotation is pending.
    :raises NeedsMfa: if a policy requires an MFA code. Nothing has changed.
    :raises KeyturnError: if the step fails. The record says how far the rotation is.
    """
    write_check.require_index_and_history(context, f"Could not rotate {name}")
    return _advance_once(context, record_store.require_pending_record(context, name), code)


@operation("rotate-undo")
def undo(context: Context, name: str, code: str | None = None) -> Progress:
    """Reverse a rotation and perform the first step of the undo. :func:`advance` performs the others.

    :raises NotFound: if no rotation is pending. A finished rotation cannot be undone.
    """
    write_check.require_index_and_history(context, f"Could not undo the rotation of {name}")
    record = record_store.pending_record(context, name)
    if record is None:
        return _restore_previous_key(context, name, code)
    if not record.is_undoing:
        with record_store.user_lock(context, record.user):
            record = record_store.reload_record(context, record)
            undoing = replace(record, is_undoing=True)
            _require_reversible(undoing, KeySigner(context, record.profile, code))
            record, code = record_store.save_step(context, undoing, record.step), None
    return _advance_once(context, record, code)


def _require_reversible(undoing: Record, key_signer: KeySigner) -> None:
    """Require that the old key exists. The undo itself waits while AWS knows neither key.

    :raises RotationHalted: if it is deleted or cannot be reactivated.
    """
    try:
        observed = key_signer.observe(undoing)
    except AwsRefused as refusal:
        if refusal.code not in UNKNOWN_KEY_CODES:
            raise
        return
    step = next_step(undoing, observed)
    if step is NextStep.OLD_UNUSABLE:
        raise _undo_impossible(undoing, observed)
    if step is NextStep.KEYS_LOST:
        raise _drift_halt(undoing, observed)


def _restore_previous_key(context: Context, name: str, code: str | None) -> Progress:
    """Replace the key in use, which AWS does not know any more, with the `previous` key.

    :raises NotFound: if the vault entry has no `previous` key.
    :raises RotationHalted: if the key in use works, or the previous one does not.
    """
    context.require_open()
    entry = vault_keys.entry_of(context.read(), name)
    key, previous = context.key(entry), vault_keys.previous_keys(context).get(entry)
    if previous is None:
        raise NotFound(f"No pending rotation of {name}", "", ("To start one: ", Remedy("rotate", name)))
    key_signer = KeySigner(context, name, code)
    current_id, previous_id = (masked_key_id(each.access_key_id) for each in (key, previous))
    what, undo = f"Could not undo the rotation of {name}", Remedy("rotate", name, "--undo")
    drop = Remedy("rotate", name, f"--drop {previous.access_key_id[-4:]}")
    if key_signer.is_known(key):
        why = f"{current_id} works and is in use, and there is no rotation record"
        raise RotationHalted(what, why, (f"To delete {previous_id}: ", drop))
    if not key_signer.is_known(previous):
        raise RotationHalted(
            what,
            f"AWS accepts neither {current_id} nor {previous_id}",
            (
                "Reactivate one of them in the console, then ", THEN_RUN, undo,
                f". If both are deleted, remove {previous_id} from the vault: ", drop,
            ),
        )  # fmt: skip
    record = Record(
        nonce="",
        profile=name,
        entries=(entry,),
        user=key_signer.user_of(previous),
        old=previous,
        new=key,
        step=Step.STORED,
        started=context.clock(),
    )
    with context.log_failure(name, "rotate"), record_store.user_lock(context, record.user):
        actions = StepActions(context, record, key_signer)
        error = actions.verification_error(previous)
        if error is not None:
            why = f"AWS does not accept {previous_id} every time ({error.why})"
            raise RotationHalted(what, why, ("Try again: ", undo))
        actions.restore_old()
        if key.access_key_id not in key_signer.list_keys((previous,), record.user_name):
            vault_keys.forget_previous_key(context, key.access_key_id)
    message = f"AWS does not accept {current_id} any more; the vault uses {previous_id} again"
    context.log_success(name, "rotate", message)
    return replace(progress_of(record.with_step(Step.UNDONE, context.clock())), is_undoing=True, note=message)


def _advance_once(context: Context, record: Record, code: str | None) -> Progress:
    context.require_open()
    key_signer = KeySigner(context, record.profile, code)
    with context.log_failure(record.profile, "rotate"), record_store.user_lock(context, record.user):
        record = record_store.reload_record(context, record)
        if record.is_new_key_in_future(context.clock()):
            record = record_store.save_step(context, record.with_new_key_at(context.clock()), record.step)
        progress = _perform(StepActions(context, record, key_signer))
        context.clear_failure(record.profile, "rotate")
        return progress


def _perform(actions: StepActions) -> Progress:
    """Perform the step that the state machine chooses, after a verification of the old key if that is
    needed."""
    record = actions.record
    try:
        observed = actions.key_signer.observe(record)
    except AwsRefused as refusal:
        if refusal.code not in UNKNOWN_KEY_CODES:
            raise
        return actions.wait_for_propagation(refusal)
    with summary_as_hint(record, find_drift(record, observed)):
        step = next_step(record, observed)
        if step is NextStep.VERIFY_OLD:
            error = actions.verification_error(record.old)
            if error is not None:
                return progress_of(
                    record, wait=LONGEST_WAIT, note=f"AWS does not accept the old key yet ({error.why})"
                )
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
        case NextStep.NEW_DELETED if observed.status(record.old) == "Active":
            note = f"{record.masked_new_id} was deleted at AWS, outside keyturn"
            return replace(actions.undo_without_new(), note=f"{note}; {record.masked_old_id} is in use again")
        case NextStep.NEW_DELETED | NextStep.NEW_INACTIVE | NextStep.KEYS_LOST:
            raise _drift_halt(record, observed)
        case NextStep.OLD_UNUSABLE:
            forward = replace(record, is_undoing=False, is_reactivated=False)
            record_store.save_step(actions.context, forward, record.step)
            raise _undo_impossible(record, observed)
        case NextStep.GIVE_UP if record.new is not None:
            note = f"{record.masked_new_id} is already deleted at AWS"
            return replace(actions.give_up(), note=f"{note}; {record.masked_old_id} is in use again")
        case _:
            return ACTIONS[step](actions)


def _drift_halt(record: Record, observed: ObservedKeys) -> RotationHalted:
    """Return the error for a rotation that cannot continue because its keys were changed at AWS."""
    drift = find_drift(record, observed)
    if drift is None:
        raise ValueError("a rotation without drift does not stop for it")
    return rotation_halted(record, drift.why, drift.hint)


def _undo_impossible(undoing: Record, observed: ObservedKeys) -> RotationHalted:
    old = undoing.masked_old_id
    why = f"{old} is deleted at AWS or cannot be reactivated, so the rotation cannot be undone"
    drift = find_drift(undoing, observed)
    resume = Remedy("rotate", undoing.profile, "--resume")
    return rotation_halted(undoing, why, drift.hint if drift else ("To continue with the new key: ", resume))
