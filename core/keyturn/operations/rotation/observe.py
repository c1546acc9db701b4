"""Read the state that a rotation depends on: the vault's keys, the journal, and the user's keys at AWS."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

from keyturn.aws.api import Identity, ListedKey
from keyturn.model.errors import (
    AwsRefused,
    KeyturnError,
    NeedsUnlock,
    NotFound,
    RotationHalted,
    VaultCorrupt,
    VaultNewer,
)
from keyturn.model.profile import Credentials, Kind
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context, credentials_in, key_entry
from keyturn.operations.rotation.journal import Journal, record_name
from keyturn.operations.rotation.record import Record, Step, record_from_table
from keyturn.operations.rotation.signer import UNKNOWN_KEY_CODES, KeySigner
from keyturn.operations.rotation.state_machine import PROPAGATION_TIME, ObservedKeys
from keyturn.profiles.inventory import Inventory

#: Seconds to wait for another process that rotates the same key. It may take much longer.
LOCK_TIMEOUT = 2.0


def journal_of(context: Context) -> Journal:
    """Return the rotation journal of this user's vault."""
    return Journal(context.vault, context.paths.socket.parent)


def records(context: Context) -> Iterator[Record]:
    """Yield all readable records.

    :raises NeedsUnlock: if the vault is closed.
    """
    journal = journal_of(context)
    for name in journal.names():
        try:
            table = journal.read(name)
        except (VaultCorrupt, VaultNewer):
            continue  # reading that record by its user reports the error
        if table is not None:
            yield decode_record(table, name)


def decode_record(table: Mapping[str, Any], name: str) -> Record:
    """Return a record from its table in the journal.

    :raises VaultCorrupt: if the table is not a record.
    """
    try:
        return record_from_table(table)
    except ValueError as error:
        raise VaultCorrupt(
            f"Invalid record rotation/{name}.age", str(error), "Nothing was overwritten"
        ) from None


def require_pending_record(context: Context, name: str) -> Record:
    """Return the pending rotation of a profile's key.

    :raises NotFound: if there is none.
    """
    record = pending_record(context, name)
    if record is None:
        raise NotFound(f"No pending rotation of {name}", "", f"To start one: keyturn rotate {name}")
    return record


def pending_record(context: Context, name: str) -> Record | None:
    """Return the pending rotation of a profile's key, or None."""
    entry = _entry(context.read(), name) or name
    for record in records(context):
        if entry in record.entries and not record.step.is_last:
            return reconcile_with_vault(context, record)
    _require_readable(context, entry)
    return None


def _require_readable(context: Context, entry: str) -> None:
    """Require that the journal holds no unreadable record of an entry's key.

    :raises VaultCorrupt: or `VaultNewer`: if it does.
    """
    journal, summaries = journal_of(context), context.index.load().rotations
    for name in journal.names():
        if name not in summaries or entry in summaries[name].entries:
            with contextlib.suppress(NeedsUnlock):
                journal.read(name)


def reconcile_with_vault(context: Context, record: Record) -> Record:
    """Return the record, or the later record that the vault implies if later states were lost: an entry with
    the old key as `previous` holds the new key."""
    if record.step is not Step.INTENT:
        return record
    for name in record.entries:
        entry = context.vault.key(key_entry(name)) or {}
        previous = entry.get("previous")
        if isinstance(previous, dict) and previous.get("key_id") == record.old.access_key_id:
            now = context.clock()
            created = context.index.load().keys.get(name)
            new = replace(record, new=credentials_in(entry), created=created.created if created else None)
            return new.with_step(Step.CREATED, now).with_step(Step.STORED, now)
    return record


def record_of_user(context: Context, user: str) -> Record | None:
    """Return the last rotation of a user's key, pending or finished.

    :raises VaultCorrupt: if its record is unreadable, so that its content is unknown.
    """
    table = journal_of(context).read(record_name(user))
    return None if table is None else decode_record(table, record_name(user))


def fallback_note(context: Context, record: Record) -> str:
    """Return a warning if the only copy of a new key is in a folder that a restart empties, else an empty
    string."""
    journal = journal_of(context)
    if not journal.is_in_fallback(record_name(record.user)):
        return ""
    return f"the vault's disk refused the new key, so it is encrypted in {journal.fallback_dir}, which a restart empties: fix the disk first"


def user_lock(context: Context, user: str) -> AbstractContextManager[None]:
    """Return the lock for one step of a user's rotation. It excludes all processes of this system user.

    :raises FileBusy: if another process holds it.
    """
    return context.source_lock(
        "rotation-" + hashlib.sha256(user.encode("utf-8", "surrogateescape")).hexdigest()[:24], LOCK_TIMEOUT
    )


def entry_of(inventory: Inventory, name: str) -> str:
    """Return the vault entry of the access key that a rotation of the profile would replace.

    :raises NotFound: if there is no such profile.
    :raises KeyturnError: if the profile has no access key of its own in the vault. The hint says what to do.
    """
    row, what = inventory.row(name), f"Could not rotate {name}"
    entry = _entry(inventory, name)
    if entry is not None:
        return entry
    if row.managed:
        source = row.source if row.source and not row.credential_source else None
        hint = f"Rotate its source: keyturn rotate {source}" if source else f"Run: keyturn show {name}"
        raise KeyturnError(what, "it has no access key of its own", hint)
    if row.plaintext_key:
        why = "its key is a plaintext key in the shared files, where a new one could get lost"
        raise KeyturnError(what, why, f"Adopt it first: keyturn adopt {name}")
    inventory.require_definitions()
    if row.kind is Kind.ROLE and row.source:
        raise KeyturnError(what, "it has no access key of its own", f"Rotate its source, {row.source}")
    raise KeyturnError(what, "the vault has no access key for it", "Run: keyturn list")


def _entry(inventory: Inventory, name: str) -> str | None:
    profile = inventory.definitions.get(name)
    return profile.key if profile is not None else None


def copies_of(inventory: Inventory, key: Credentials) -> list[str]:
    """Return the native profiles that hold this key as a plaintext key in the shared files."""
    return [
        row.name
        for row in inventory.natives.values()
        if row.plaintext_key and row.key is not None and row.key.key_id == key.access_key_id
    ]


def keys_in_vault(context: Context) -> dict[str, Credentials]:
    """Return all access keys in the vault by entry name. Reads the vault's file once."""
    prefix = key_entry("")
    keys: dict[str, Credentials] = {}
    for name, entry in context.vault.keys().items():
        if name.startswith(prefix):
            keys[name.removeprefix(prefix)] = credentials_in(entry)
    return keys


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
    is_propagated = now - record.step_times.get(Step.CREATED, record.started) > PROPAGATION_TIME
    candidates = (record.new, record.old) if record.is_undoing or is_propagated else (record.new,)
    return tuple(key for key in candidates if key.secret_access_key)


def list_keys_and_vault(context: Context, record: Record, key_signer: KeySigner) -> ObservedKeys:
    """Return the user's keys at AWS and the keys in the vault.

    :raises NeedsMfa: if AWS lists the keys only with an MFA code.
    :raises AwsError: if AWS refuses or does not respond.
    """
    listed = list_keys(key_signer, record.user_name, signers(record, context.clock()))
    in_vault = {name: key.access_key_id for name, key in keys_in_vault(context).items()}
    used_entries = frozenset(profile.key for profile in context.read().definitions.values() if profile.key)
    return ObservedKeys(listed, in_vault, used_entries, context.clock())


def list_keys(key_signer: KeySigner, user_name: str, keys: tuple[Credentials, ...]) -> dict[str, ListedKey]:
    """Return the user's keys at AWS, by key id."""
    listed = key_signer.call(keys, lambda aws, signer: aws.list_access_keys(signer, user_name))
    return {key.key_id: key for key in listed}


def identity_of(key_signer: KeySigner, key: Credentials, name: str) -> Identity:
    """Return the identity that a key belongs to.

    :raises KeyturnError: if it is not an IAM user's, or AWS does not know the key any more.
    """
    what = f"Could not rotate {name}"
    try:
        identity = key_signer.aws().get_caller_identity(key)
    except AwsRefused as refusal:
        if refusal.code not in UNKNOWN_KEY_CODES:
            raise
        why = f"AWS does not accept {masked_key_id(key.access_key_id)} any more: it is inactive or deleted, or was rotated elsewhere"
        hint = f"To store the current key: keyturn release {name}, correct the file, keyturn adopt {name}"
        if _has_previous_key(key_signer.context, key):
            hint = f"The vault holds the previous key. To return to it: keyturn rotate {name} --undo"
        raise KeyturnError(what, why, hint) from None
    if ":user/" not in identity.arn:
        root = identity.arn.endswith(":root")
        why = "it belongs to the root user" if root else f"{identity.arn} is not an IAM user"
        hint = (
            "Delete the root user's access keys in the console; nothing should use them"
            if root
            else "Only access keys of IAM users can be rotated"
        )
        raise KeyturnError(what, why, hint)
    return identity


def _has_previous_key(context: Context, key: Credentials) -> bool:
    return any(
        name.startswith(key_entry("")) and entry.get("key_id") == key.access_key_id and "previous" in entry
        for name, entry in context.vault.keys().items()
    )


def rotation_halted(record: Record, why: str, hint: str) -> RotationHalted:
    """Return the error for a rotation that waits for the user."""
    return RotationHalted(f"Rotation of {record.profile} stopped", why, hint)
