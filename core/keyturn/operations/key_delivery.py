"""Permission of a profile to hand out its long-term key.

`session = "none"` in `profiles.toml` asks for it, but that file is not authenticated. The user's consent is
an entry of the vault, written where the vault is open and the user was asked. Both are needed; the line alone
gives temporary sessions. The index repeats the entry for display.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keyturn.operations import deliver
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.profiles import settings
from keyturn.profiles.inventory import Inventory
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile

Entries = dict[str, Any]


def consent_entry(name: str) -> str:
    """Return the name of the vault entry that lets a profile hand out its key."""
    return f"session-none/{name}"


def consent_of(definition: ManagedProfile) -> dict[str, str]:
    """Return the content of that entry: the key that was consented to."""
    return {"key": definition.key or ""}


def set_consent(entries: Entries, definition: ManagedProfile, *, given: bool) -> None:
    """Write or remove the consent of a profile in the entries of the vault."""
    if given and definition.key:
        entries[consent_entry(definition.name)] = consent_of(definition)
    else:
        entries.pop(consent_entry(definition.name), None)


def hands_out_key(context: Context, definition: ManagedProfile) -> bool:
    """Return True if a profile hands out its long-term key: its definition says so, and the vault holds the
    consent. The index is updated if it says otherwise.

    :raises NeedsUnlock: if the vault is locked.
    """
    if not definition.delivers_key or not definition.key:
        return False
    given = context.vault.key(consent_entry(definition.name)) == consent_of(definition)
    if context.profile_state(definition.name).delivers_key != given:
        context.update_index(lambda index: index.update(definition.name, delivers_key=given))
    return given


@operation("allow-key-delivery")
def allow(context: Context, name: str) -> bool:
    """Let a profile hand out its long-term key, once its definition says so too. The user has confirmed it.
    Return True.

    :raises NotFound: if the profile is not managed by keyturn.
    :raises UsageError: if the profile has no key that could be delivered.
    :raises NeedsUnlock: if the vault is locked.
    """
    return _change(context, name, given=True)


@operation("forbid-key-delivery")
def forbid(context: Context, name: str) -> bool:
    """Take the permission of :func:`allow` back. Return True.

    :raises NeedsUnlock: if the vault is locked.
    """
    return _change(context, name, given=False)


def _change(context: Context, name: str, *, given: bool) -> bool:
    definition = deliver.managed_profile(context.read(), name)
    if given:
        settings.apply(definition, {"session": "none"})
    context.require_open()
    with context.state_lock():
        generation = context.vault.change_keys(lambda entries: set_consent(entries, definition, given=given))

        def edit(index: Index) -> Index:
            index.update(name, delivers_key=given)
            return index.with_generation(generation)

        context.update_index(edit)
    return True


def synchronize(context: Context, inventory: Inventory) -> None:
    """Remove the consent of profiles whose definition no longer asks for it, so that a later line in
    `profiles.toml` is not enough, and repeat the rest in the index. Needs the open vault.
    """
    if inventory.managed_profiles_error is not None:
        return
    entries = context.vault.keys()
    asking = {
        definition.name: definition
        for definition in inventory.definitions.values()
        if definition.delivers_key
    }
    stale = _stale(entries, asking)
    if stale:
        with context.state_lock():
            generation = context.vault.change_keys(lambda entries: _remove(entries, stale))
            context.update_index(lambda index: index.with_generation(generation))
    given = {
        name: entries.get(consent_entry(name)) == consent_of(definition)
        for name, definition in asking.items()
    }
    if any(inventory.index.of(name).delivers_key != value for name, value in given.items()):

        def edit(index: Index) -> None:
            for name, value in given.items():
                index.update(name, delivers_key=value)

        context.update_index(edit)


def _stale(entries: Mapping[str, Any], asking: Iterable[str]) -> list[str]:
    wanted = {consent_entry(name) for name in asking}
    return [name for name in entries if name.startswith(consent_entry("")) and name not in wanted]


def _remove(entries: Entries, names: Iterable[str]) -> None:
    for name in names:
        entries.pop(name, None)
