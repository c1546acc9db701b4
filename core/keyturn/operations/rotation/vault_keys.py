"""Access keys that keyturn holds: find them, and edit the vault entries that a rotation changes.

During a rotation an entry holds the old key as `previous` beside the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from keyturn.model.errors import ChangeRefused, KeyturnError, Remedy
from keyturn.model.profile import Credentials, Key
from keyturn.model.text import masked_key_id
from keyturn.operations.context import Context, credentials_in, key_entry
from keyturn.operations.rotation.record import Record, Step, key_table
from keyturn.operations.rotation.record_store import records
from keyturn.operations.rotation.state_machine import required_entries
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.status import Refusal, why_not_rotatable
from keyturn.storage.index import Index

Entries = dict[str, dict[str, Any]]

_SEEN_INACTIVE = "seen_inactive"


def entry_of(inventory: Inventory, name: str) -> str:
    """Return the vault entry of the access key that a rotation of the profile would replace.

    :raises NotFound: if there is no such profile.
    :raises KeyturnError: if the profile has no access key of its own in the vault. The hint says what to do.
    """
    row, profile = inventory.row(name), inventory.definitions.get(name)
    if profile is not None and profile.key is not None:
        return profile.key
    if not row.managed and not row.plaintext_key:
        inventory.require_definitions()
    refusal = why_not_rotatable(row) or Refusal("it has no access key of its own", Remedy("show", name))
    raise KeyturnError(f"Could not rotate {name}", refusal.why, refusal.hint)


# -- read ----------------------------------------------------------------------------------------------------


def key_entries(entries: Entries) -> Entries:
    """Return the entries that hold an access key, by entry name without the prefix."""
    prefix = key_entry("")
    return {name.removeprefix(prefix): item for name, item in entries.items() if name.startswith(prefix)}


def keys_in_vault(context: Context) -> dict[str, Credentials]:
    """Return all access keys in the vault by entry name. Reads the vault's file once."""
    return {name: credentials_in(name, entry) for name, entry in key_entries(context.vault.keys()).items()}


def previous_keys(context: Context) -> dict[str, Credentials]:
    """Return all `previous` keys in the vault by entry name. Reads the vault's file once."""
    return {
        name: credentials_in(name, entry["previous"])
        for name, entry in key_entries(context.vault.keys()).items()
        if isinstance(entry.get("previous"), dict)
    }


def copies_of(inventory: Inventory, key: Credentials) -> list[str]:
    """Return the native profiles that hold this key as a plaintext key in the shared files."""
    return [
        row.name
        for row in inventory.natives.values()
        if row.plaintext_key and row.key is not None and row.key.key_id == key.access_key_id
    ]


def require_no_previous_key(context: Context, entry: str, name: str) -> None:
    """Require that a vault entry has no `previous` key, because a release would lose the only copy of it.

    :raises ChangeRefused: if it has one.
    """
    previous = previous_keys(context).get(entry)
    if previous is None:
        return
    other = masked_key_id(previous.access_key_id)
    raise ChangeRefused(
        f"Could not release {name}",
        f"the vault also holds {other} of the same user, from a rotation without a record, "
        "and it would be lost",
        (
            f"If only {other} works, return to it: ",
            Remedy("rotate", name, "--undo"),
            "; else delete it: ",
            Remedy("rotate", name, f"--drop {previous.access_key_id[-4:]}"),
        ),
    )


# -- edit ----------------------------------------------------------------------------------------------------


def replace_key(
    context: Context, record: Record, old_key: Credentials, new_key: Credentials, created: datetime | None
) -> None:
    """Replace `old_key` with `new_key` in every vault entry that holds it, keep it as `previous`, and read
    the entries back.

    :param created: creation time of `new_key`, or None if it is unknown.
    :raises KeyturnError: if the vault refuses, or returns another value.
    """
    new_entry = {**key_table(new_key), "previous": key_table(old_key)}
    changed: list[str] = []

    def edit(entries: Entries) -> None:
        stale = [
            name
            for name, entry in key_entries(entries).items()
            if entry.get("key_id") == old_key.access_key_id
        ]
        # A restored vault may hold another key or none in these entries. Both keys of the user are known.
        stale += [
            name
            for name in required
            if entries.get(key_entry(name), {}).get("key_id") != new_key.access_key_id
        ]
        changed.extend(dict.fromkeys(stale))
        # Other fields of an entry belong to its profile, not to the key.
        entries.update(
            {key_entry(name): {**entries.get(key_entry(name), {}), **new_entry} for name in changed}
        )

    def edit_index(index: Index) -> Index:
        for name in changed:
            index.keys[name] = Key(new_key.access_key_id, user=record.user, created=created, status="Active")
        return index.with_generation(generation)

    with context.state_lock():
        required = required_entries(record, {profile.key for profile in context.read().definitions.values()})
        generation = context.vault.change_keys(edit)
        stored_entries = [context.vault.key(key_entry(name)) or {} for name in changed]
        if any(not new_entry.items() <= entry.items() for entry in stored_entries):
            raise KeyturnError(
                f"Rotation of {record.profile} stopped",
                "the vault did not return the key that was written",
                Remedy("vault status"),
            )
        context.update_index(edit_index)


def forget_previous_key(context: Context, key_id: str) -> None:
    """Remove a key that is deleted at AWS from the vault entries that hold it as `previous`."""
    remove_previous(context, lambda entry: _is_previous(entry, key_id))


def first_seen_inactive(context: Context, key_id: str) -> datetime:
    """Return the time at which keyturn first saw a `previous` key inactive, which is now if it never did. It
    is stored with the key, because AWS does not report when a key was deactivated.
    """
    now = context.clock()
    times = [now]

    def edit(entries: Entries) -> None:
        for entry in key_entries(entries).values():
            if _is_previous(entry, key_id):
                seen = _time(entry["previous"].get(_SEEN_INACTIVE))
                if seen is None or seen > now:
                    entry["previous"][_SEEN_INACTIVE] = now.isoformat()
                else:
                    times.append(seen)

    with context.state_lock():
        generation = context.vault.change_keys(edit)
    context.update_index(lambda index: index.with_generation(generation))
    return min(times)


def _is_previous(entry: Mapping[str, Any], key_id: str) -> bool:
    previous = entry.get("previous")
    return isinstance(previous, dict) and previous.get("key_id") == key_id


def _time(text: object) -> datetime | None:
    """Return a stored time, or None if it is none with a zone."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None


def remove_previous(context: Context, is_obsolete: Callable[[Mapping[str, Any]], bool]) -> None:
    """Remove the `previous` key from the vault entries for which `is_obsolete` returns True."""

    def edit(entries: Entries) -> None:
        for entry in key_entries(entries).values():
            if is_obsolete(entry):
                entry.pop("previous", None)

    with context.state_lock():
        generation = context.vault.change_keys(edit)
    context.update_index(lambda index: index.with_generation(generation))


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

    def edit(entries: Entries) -> None:
        for name, key in current_keys.items():
            if entries.get(name, {}).get("key_id") != key.access_key_id:
                others = {
                    field: value for field, value in entries.get(name, {}).items() if field != "previous"
                }
                entries[name] = {**others, **key_table(key)}
                changed.append(name.removeprefix(key_entry("")))

    if current_keys:
        generation = context.vault.change_keys(edit)
        context.update_index(lambda index: index.with_generation(generation))
    return tuple(changed)


def _current_key(record: Record) -> Credentials | None:
    """Return the key that clients must get according to the record, or None if the record lacks it."""
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
