"""Recover a previous key without a rotation record. During a rotation the vault stores the old key as
`previous` beside the new one. If the record is lost (another machine, damaged journal), these functions return
to it or forget it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from keyturn.aws.api import ListedKey
from keyturn.model.errors import ChangeRefused, NotFound, RotationHalted
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context
from keyturn.operations.rotation.key_signer import KeySigner
from keyturn.operations.rotation.progress import Progress, progress_of
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.record_store import user_lock
from keyturn.operations.rotation.step_actions import StepActions
from keyturn.operations.rotation.vault_keys import entry_of, forget_previous_key, previous_keys


def require_no_previous_key(context: Context, entry: str, name: str) -> None:
    """Require that a vault entry has no `previous` key, because a release would lose the only copy of it.

    :raises ChangeRefused: if it has one.
    """
    previous = previous_keys(context).get(entry)
    if previous is None:
        return
    other = masked_key_id(previous.access_key_id)
    why = f"the vault also holds {other} of the same user, from a rotation without a record, and it would be lost"
    hint = (
        f"If only {other} works, return to it: keyturn rotate {name} --undo; "
        f"else delete it: keyturn rotate {name} --drop {previous.access_key_id[-4:]}"
    )
    raise ChangeRefused(f"Could not release {name}", why, hint)


def restore_previous_key(context: Context, name: str, code: str | None) -> Progress:
    """Replace the key in use, which AWS does not know any more, with the `previous` key.

    :raises NotFound: if the vault entry has no `previous` key.
    :raises RotationHalted: if the key in use works, or the previous one does not.
    """
    context.require_open()
    entry = entry_of(context.read(), name)
    key, previous = context.key(entry), previous_keys(context).get(entry)
    if previous is None:
        raise NotFound(f"No pending rotation of {name}", "", f"To start one: keyturn rotate {name}")
    key_signer = KeySigner(context, name, code)
    current_id, previous_id = (masked_key_id(each.access_key_id) for each in (key, previous))
    what, command = f"Could not undo the rotation of {name}", f"keyturn rotate {name}"
    drop_command = f"{command} --drop {previous.access_key_id[-4:]}"
    if key_signer.is_known(key):
        why = f"{current_id} works and is in use, and there is no rotation record"
        raise RotationHalted(what, why, f"To delete {previous_id}: {drop_command}")
    if not key_signer.is_known(previous):
        hint = (
            f"Reactivate one of them in the console, then run: {command} --undo. If both are deleted, remove "
            f"{previous_id} from the vault: {drop_command}"
        )
        raise RotationHalted(what, f"AWS accepts neither {current_id} nor {previous_id}", hint)
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
    with context.log_failure(name, "rotate"), user_lock(context, record.user):
        actions = StepActions(context, record, key_signer)
        error = actions.verification_error(previous)
        if error is not None:
            why = f"AWS does not accept {previous_id} every time ({error.why})"
            raise RotationHalted(what, why, f"Try again: {command} --undo")
        actions.restore_old()
        if key.access_key_id not in key_signer.list_keys((previous,), record.user_name):
            forget_previous_key(context, key.access_key_id)
    message = f"AWS does not accept {current_id} any more; the vault uses {previous_id} again"
    context.log_success(name, "rotate", message)
    return replace(progress_of(record.with_step(Step.UNDONE, context.clock())), is_undoing=True, note=message)


def forget_deleted_key(context: Context, last_four: str, listed: Mapping[str, ListedKey]) -> str | None:
    """Remove a `previous` key that AWS does not list any more from the vault. Return what was done, or None.

    :param last_four: the key's last four characters.
    """
    for previous in previous_keys(context).values():
        key_id = previous.access_key_id
        if key_id[-4:] == last_four and key_id not in listed:
            forget_previous_key(context, key_id)
            return f"{masked_key_id(key_id)} is deleted at AWS; removed it from the vault"
    return None


def forget_unknown_key(context: Context, key_signer: KeySigner, name: str, last_four: str) -> str | None:
    """Remove the `previous` key from the vault if AWS knows neither it nor the key in use. Return what was
    done, or None."""
    entry = entry_of(context.read(), name)
    key, previous = context.key(entry), previous_keys(context).get(entry)
    if previous is None or previous.access_key_id[-4:] != last_four:
        return None
    if key_signer.is_known(key) or key_signer.is_known(previous):
        return None
    forget_previous_key(context, previous.access_key_id)
    return f"AWS does not accept {masked_key_id(previous.access_key_id)}; removed it from the vault"
