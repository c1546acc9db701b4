"""What a rotation looks at before it acts: the vault's keys, the journal, the user's keys at AWS."""

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

#: Another process that rotates is at it for longer than anybody wants to wait.
LOCK_TIMEOUT = 2.0


def journal_of(context: Context) -> Journal:
    """The rotation journal of this person's vault."""
    return Journal(context.vault, context.paths.socket.parent)


def records(context: Context) -> Iterator[Record]:
    """All records that can be read.

    :raises NeedsUnlock: the vault is closed.
    """
    journal = journal_of(context)
    for name in journal.names():
        try:
            table = journal.read(name)
        except (VaultCorrupt, VaultNewer):
            continue  # whoever needs that very record reads it by its user, and is told
        if table is not None:
            yield decode_record(table, name)


def decode_record(table: Mapping[str, Any], name: str) -> Record:
    """A record as the journal holds it.

    :raises VaultCorrupt: it is none.
    """
    try:
        return record_from_table(table)
    except ValueError as error:
        raise VaultCorrupt(f"rotation/{name}.age", str(error), "Nothing was written over") from None


def require_pending_record(context: Context, name: str) -> Record:
    """The rotation of a profile's key that waits to be gone on with.

    :raises NotFound: there is none.
    """
    record = pending_record(context, name)
    if record is None:
        raise NotFound(f"rotation of {name}", "none waits", f"Begin one: keyturn rotate {name}")
    return record


def pending_record(context: Context, name: str) -> Record | None:
    """The rotation of a profile's key that is not over; None if there is none."""
    entry = _entry(context.read(), name) or name
    for record in records(context):
        if entry in record.entries and not record.step.is_last:
            return reconcile_with_vault(context, record)
    _require_readable(context, entry)
    return None


def _require_readable(context: Context, entry: str) -> None:
    """Makes sure that no record of an entry's key is there and cannot be read.

    :raises VaultCorrupt: or `VaultNewer`: there is.
    """
    journal, summaries = journal_of(context), context.index.load().rotations
    for name in journal.names():
        if name not in summaries or entry in summaries[name].entries:
            with contextlib.suppress(NeedsUnlock):
                journal.read(name)


def reconcile_with_vault(context: Context, record: Record) -> Record:
    """The record, or what it would say if its later states were not lost: the vault's entry tells of the new key."""
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
    """The last rotation of a user's key, over or not.

    :raises VaultCorrupt: its record cannot be read, so that nobody knows what it holds.
    """
    table = journal_of(context).read(record_name(user))
    return None if table is None else decode_record(table, record_name(user))


def fallback_note(context: Context, record: Record) -> str:
    """What to say where the only copy of a new key lies in a folder that a restart of the machine empties."""
    journal = journal_of(context)
    if not journal.is_in_fallback(record_name(record.user)):
        return ""
    return f"the vault's disk refused the new key, so it is sealed in {journal.fallback_dir}, which a restart empties: see to the disk"


def user_lock(context: Context, user: str) -> AbstractContextManager[None]:
    """Held for as long as one step of a user's rotation takes, in all processes of this person.

    :raises FileBusy: another process is at it.
    """
    return context.source_lock(
        "rotation-" + hashlib.sha256(user.encode("utf-8", "surrogateescape")).hexdigest()[:24], LOCK_TIMEOUT
    )


def entry_of(inventory: Inventory, name: str) -> str:
    """The vault's name of the long-term key that rotating a profile would replace.

    :raises NotFound: there is no such profile.
    :raises KeyturnError: it has no key of its own here, with what to do.
    """
    row, what = inventory.row(name), f"rotation of {name}"
    entry = _entry(inventory, name)
    if entry is not None:
        return entry
    if row.managed:
        source = row.source if row.source and not row.credential_source else None
        hint = (
            f"Rotate the key that it rests on: keyturn rotate {source}"
            if source
            else f"See: keyturn show {name}"
        )
        raise KeyturnError(what, "it has no long-term key of its own", hint)
    if row.plaintext_key:
        why = "its key stands in the shared files in clear, where a new one could get lost"
        raise KeyturnError(what, why, f"Adopt it first: keyturn adopt {name}")
    inventory.require_definitions()
    if row.kind is Kind.ROLE and row.source:
        raise KeyturnError(what, "it has no long-term key of its own", f"Rotate the key of {row.source}")
    raise KeyturnError(what, "there is no long-term key that keyturn keeps for it", "See: keyturn list")


def _entry(inventory: Inventory, name: str) -> str | None:
    profile = inventory.definitions.get(name)
    return profile.key if profile is not None else None


def copies_of(inventory: Inventory, key: Credentials) -> list[str]:
    """The native profiles whose key in clear in the shared files is this one."""
    return [
        row.name
        for row in inventory.natives.values()
        if row.plaintext_key and row.key is not None and row.key.key_id == key.access_key_id
    ]


def keys_in_vault(context: Context) -> dict[str, Credentials]:
    """Every long-term key in the vault, by the name of its entry; opens the vault's file once."""
    prefix = key_entry("")
    keys: dict[str, Credentials] = {}
    for name, entry in context.vault.keys().items():
        if name.startswith(prefix):
            keys[name.removeprefix(prefix)] = credentials_in(entry)
    return keys


def signers(record: Record, now: datetime) -> tuple[Credentials, ...]:
    """The user's keys, the one first that is in use. The old one is left in peace once the new one is stored: its use is
    what tells whether something still has it. Only where the new one must be gone is it asked again."""
    if record.new is None:
        return (record.old,)
    if not record.step.is_at_least(Step.STORED):
        return (record.old, record.new)
    is_propagated = now - record.step_times.get(Step.CREATED, record.started) > PROPAGATION_TIME
    candidates = (record.new, record.old) if record.is_undoing or is_propagated else (record.new,)
    return tuple(key for key in candidates if key.secret_access_key)


def list_keys_and_vault(context: Context, record: Record, key_signer: KeySigner) -> ObservedKeys:
    """What there is now, at AWS and in the vault.

    :raises NeedsMfa: AWS lists the keys only with a code.
    :raises AwsError: AWS said no, or nothing.
    """
    listed = list_keys(key_signer, record.user_name, signers(record, context.clock()))
    in_vault = {name: key.access_key_id for name, key in keys_in_vault(context).items()}
    used_entries = frozenset(profile.key for profile in context.read().definitions.values() if profile.key)
    return ObservedKeys(listed, in_vault, used_entries, context.clock())


def list_keys(key_signer: KeySigner, user_name: str, keys: tuple[Credentials, ...]) -> dict[str, ListedKey]:
    """The user's keys at AWS, by id."""
    listed = key_signer.call(keys, lambda aws, signer: aws.list_access_keys(signer, user_name))
    return {key.key_id: key for key in listed}


def identity_of(key_signer: KeySigner, key: Credentials, name: str) -> Identity:
    """Whose key it is.

    :raises KeyturnError: not an IAM user's, or one that AWS does not know any more.
    """
    what = f"rotation of {name}"
    try:
        identity = key_signer.aws().get_caller_identity(key)
    except AwsRefused as refusal:
        if refusal.code not in UNKNOWN_KEY_CODES:
            raise
        why = f"AWS does not know {masked_key_id(key.access_key_id)} any more: it is inactive or deleted, or was rotated elsewhere"
        hint = f"Put the present key in: keyturn release {name}, correct it, keyturn adopt {name}"
        if _has_previous_key(key_signer.context, key):
            hint = f"The vault keeps the user's other key; to go back to it: keyturn rotate {name} --undo"
        raise KeyturnError(what, why, hint) from None
    if ":user/" not in identity.arn:
        root = identity.arn.endswith(":root")
        why = "it is the root user's key" if root else f"{identity.arn} is no IAM user"
        hint = (
            "Delete root's keys in the console; nothing should use them"
            if root
            else "Only an IAM user's key can be rotated"
        )
        raise KeyturnError(what, why, hint)
    return identity


def _has_previous_key(context: Context, key: Credentials) -> bool:
    return any(
        name.startswith(key_entry("")) and entry.get("key_id") == key.access_key_id and "previous" in entry
        for name, entry in context.vault.keys().items()
    )


def rotation_halted(record: Record, why: str, hint: str) -> RotationHalted:
    """A rotation that stops here."""
    return RotationHalted(f"rotation of {record.profile}", why, hint)
