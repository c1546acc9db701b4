"""Observe the keys of a rotation: at AWS, in the vault, and copies in the shared files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from keyturn.model.errors import AwsRefused, KeyturnError, NeedsInteraction, RotationHalted
from keyturn.model.profile import Credentials
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context
from keyturn.operations.rotation.drift import KeyDrift
from keyturn.operations.rotation.journal import record_name
from keyturn.operations.rotation.key_signer import UNKNOWN_KEY_CODES, KeySigner
from keyturn.operations.rotation.progress import progress_of, rotation_halted
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.record_store import journal_of
from keyturn.operations.rotation.state_machine import PROPAGATION_TIME, ObservedKeys
from keyturn.operations.rotation.vault_keys import keys_in_vault
from keyturn.profiles.inventory import Inventory


def copies_of(inventory: Inventory, key: Credentials) -> list[str]:
    """Return the native profiles that hold this key as a plaintext key in the shared files."""
    return [
        row.name
        for row in inventory.natives.values()
        if row.plaintext_key and row.key is not None and row.key.key_id == key.access_key_id
    ]


def signers(record: Record, now: datetime) -> tuple[Credentials, ...]:
    """Return the keys that may sign calls about the user, the one in use first.

    From the step `stored` on, the old key signs nothing, because its last use at AWS must show the use by
    others. The exceptions are an undo, and a new key that AWS should know by now: there the old key is the
    fallback.
    """
    if record.new is None:
        return (record.old,)
    if not record.step.is_at_least(Step.STORED):
        return (record.old, record.new)
    is_propagated = record.new_key_age(now) > PROPAGATION_TIME
    candidates = (record.new, record.old) if record.is_undoing or is_propagated else (record.new,)
    return tuple(key for key in candidates if key.secret_access_key)


def list_keys_and_vault(context: Context, record: Record, key_signer: KeySigner) -> ObservedKeys:
    """Return the user's keys at AWS and the keys in the vault.

    :raises NeedsMfa: if AWS lists the keys only with an MFA code.
    :raises AwsError: if AWS refuses or does not respond.
    """
    listed = key_signer.list_keys(signers(record, context.clock()), record.user_name)
    in_vault = {name: key.access_key_id for name, key in keys_in_vault(context).items()}
    used_entries = frozenset(profile.key for profile in context.read().definitions.values() if profile.key)
    return ObservedKeys(listed, in_vault, used_entries, context.clock())


def observe(context: Context, record: Record, key_signer: KeySigner) -> ObservedKeys:
    """Return the same as :func:`list_keys_and_vault`; its errors name the keys and the next command.

    :raises RotationHalted: if AWS accepts neither key any more.
    :raises AwsRefused: if AWS accepts neither key yet.
    """
    with summary_as_hint(record):
        try:
            return list_keys_and_vault(context, record, key_signer)
        except AwsRefused as error:
            is_propagating = record.new_key_age(context.clock()) < PROPAGATION_TIME
            if error.code not in UNKNOWN_KEY_CODES or is_propagating:
                raise
            raise _no_working_key(context, record) from None


@contextmanager
def summary_as_hint(record: Record, drift: KeyDrift | None = None) -> Iterator[None]:
    """Replace the hint of every error with the drift, or with the keys that exist and the next command."""
    try:
        yield
    except (NeedsInteraction, RotationHalted):
        raise
    except KeyturnError as error:
        error.hint = str(drift) if drift else progress_of(record).summary()
        raise


def _no_working_key(context: Context, record: Record) -> RotationHalted:
    """Return the error for AWS accepting none of the keys that could sign."""
    keys = " nor ".join(masked_key_id(key_id) for key_id in record.keys)
    why = f"AWS accepts neither {keys}: the key in use was deleted or deactivated"
    file = journal_of(context).path_of(record_name(record.user))
    hint = (
        f"Reactivate one of them in the console, then run: keyturn rotate {record.profile} --resume, or --undo. "
        f"If both are deleted, move {file} away to end the rotation"
    )
    return rotation_halted(record, why, hint)
