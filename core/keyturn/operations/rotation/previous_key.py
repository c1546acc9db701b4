"""Recover a previous key without a rotation record. During a rotation the vault stores the old key as
`previous` beside the new one. If the record is lost (another machine, damaged journal), these functions find,
restore or delete it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from keyturn.aws.api import ListedKey
from keyturn.model.errors import AwsRefused, ChangeRefused, NotFound, RotationHalted
from keyturn.model.profile import Credentials, Key
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context, credentials_in, key_entry
from keyturn.operations.rotation.journal import record_name
from keyturn.operations.rotation.observe import (
    entry_of,
    identity_of,
    journal_of,
    keys_in_vault,
    list_keys,
    records,
    user_lock,
)
from keyturn.operations.rotation.progress import Progress, progress_of
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.signer import UNKNOWN_KEY_CODES, KeySigner
from keyturn.operations.rotation.steps import RotationSteps
from keyturn.storage.index import Index


def previous_key(context: Context, entry: str) -> Credentials | None:
    """Return the `previous` key of a vault entry, or None."""
    stored = context.vault.key(key_entry(entry))
    previous = stored.get("previous") if stored is not None else None
    return credentials_in(previous) if isinstance(previous, dict) else None


def require_no_previous_key(context: Context, entry: str, name: str) -> None:
    """Require that a vault entry has no `previous` key, because a release would lose the only copy of it.

    :raises ChangeRefused: if it has one.
    """
    previous = previous_key(context, entry)
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
    key, previous = context.key(entry), previous_key(context, entry)
    if previous is None:
        raise NotFound(f"No pending rotation of {name}", "", f"To start one: keyturn rotate {name}")
    key_signer = KeySigner(context, name, code)
    current_id, previous_id = (masked_key_id(each.access_key_id) for each in (key, previous))
    what, command = f"Could not undo the rotation of {name}", f"keyturn rotate {name}"
    if is_known_to_aws(key_signer, key):
        why, last_four = (
            f"{current_id} works and is in use, and there is no rotation record",
            previous.access_key_id[-4:],
        )
        raise RotationHalted(what, why, f"To delete {previous_id}: {command} --drop {last_four}")
    if not is_known_to_aws(key_signer, previous):
        hint = (
            f"Reactivate one of them in the console, then run: {command} --undo. If both are deleted, remove "
            f"{previous_id} from the vault: {command} --drop {previous.access_key_id[-4:]}"
        )
        raise RotationHalted(what, f"AWS accepts neither {current_id} nor {previous_id}", hint)
    user = identity_of(key_signer, previous, name).arn
    record = Record(
        nonce="", profile=name, entries=(entry,), user=user, old=previous, new=key, step=Step.STORED, started=context.clock()
    )  # fmt: skip
    with context.log_failure(name, "rotate"), user_lock(context, user):
        steps = RotationSteps(context, record, key_signer)
        error = steps.verification_error(previous)
        if error is not None:
            raise RotationHalted(
                what,
                f"AWS does not accept {previous_id} every time ({error.why})",
                f"Try again: {command} --undo",
            )
        steps.restore_old()
        if key.access_key_id not in list_keys(key_signer, record.user_name, (previous,)):
            forget_previous_key(context, key.access_key_id)
    message = f"AWS does not accept {current_id} any more; the vault uses {previous_id} again"
    context.log_success(name, "rotate", message)
    return replace(progress_of(record.with_step(Step.UNDONE, context.clock())), is_undoing=True, note=message)


def forget_deleted_key(context: Context, last_four: str, listed: Mapping[str, ListedKey]) -> str | None:
    """Remove a `previous` key that AWS does not list any more from the vault. Return what was done, or None.

    :param last_four: the key's last four characters.
    """
    for name in keys_in_vault(context):
        previous = previous_key(context, name)
        if (
            previous is not None
            and previous.access_key_id[-4:] == last_four
            and previous.access_key_id not in listed
        ):
            forget_previous_key(context, previous.access_key_id)
            return f"{masked_key_id(previous.access_key_id)} is deleted at AWS; removed it from the vault"
    return None


def forget_previous_key(context: Context, key_id: str) -> None:
    """Remove a key that is deleted at AWS from the vault entries that hold it as `previous`."""

    def edit(entries: dict[str, Any]) -> None:
        for name, entry in entries.items():
            previous = entry.get("previous") if name.startswith(key_entry("")) else None
            if isinstance(previous, dict) and previous.get("key_id") == key_id:
                entry.pop("previous")

    with context.state_lock():
        generation = context.vault.change_keys(edit)
    context.update_index(
        lambda index: replace(index, vault_generation=max(index.vault_generation, generation))
    )


def is_known_to_aws(key_signer: KeySigner, key: Credentials) -> bool:
    """Return True if AWS accepts a key."""
    try:
        key_signer.aws().get_caller_identity(key)
    except AwsRefused as refusal:
        if refusal.code not in UNKNOWN_KEY_CODES:
            raise
        return False
    return True


def restore_rotated_keys(context: Context) -> tuple[str, ...]:
    """Write the current key of each rotation to the entries that a profile uses, after an older vault was
    restored. The keys of the older vault are inactive or deleted at AWS.

    :returns: the changed entries.
    """
    used_entries = {one.key for one in context.read().definitions.values()}
    current_keys = {
        key_entry(name): key
        for record in records(context)
        if (key := _current_key(record)) is not None
        for name in record.entries
        if name in used_entries
    }
    changed: list[str] = []

    def edit(entries: dict[str, Any]) -> None:
        for name, key in current_keys.items():
            if entries.get(name, {}).get("key_id") != key.access_key_id:
                entries[name] = {"key_id": key.access_key_id, "secret": key.secret_access_key.reveal()}
                changed.append(name.removeprefix(key_entry("")))

    if current_keys:
        generation = context.vault.change_keys(edit)
        context.update_index(
            lambda index: replace(index, vault_generation=max(index.vault_generation, generation))
        )
    return tuple(changed)


def _current_key(record: Record) -> Credentials | None:
    """Return the key that clients must get according to the record, or None if the record does not hold it."""
    if record.step is Step.UNDONE or not record.step.is_at_least(Step.STORED):
        return record.old if record.old.secret_access_key else None
    return record.new


def index_vault_keys(context: Context) -> None:
    """Write the ids of the vault's keys to the index. A restored vault may hold other keys, of which only the
    id is known."""
    in_vault = keys_in_vault(context)

    def edit(index: Index) -> None:
        for entry, key in in_vault.items():
            indexed = index.keys.get(entry)
            if indexed is None or indexed.key_id != key.access_key_id:
                index.keys[entry] = Key(key.access_key_id)

    context.update_index(edit)


def forget_finished_rotations(context: Context, names: list[str]) -> None:
    """Delete the records of finished rotations for entries that are removed or added, because the same entry
    name holds another key afterwards."""
    for record in list(records(context)):
        if record.step.is_last and set(record.entries) & set(names):
            journal_of(context).remove(record_name(record.user))
