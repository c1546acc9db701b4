"""Permission of a profile to hand out its long-term key.

`session = "none"` in `profiles.toml` asks for it, but that file is not authenticated. The user's consent is
an entry of the vault, written where the vault is open and the user was asked. Both are needed; the line alone
gives temporary sessions. The index repeats the entry for display.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from keyturn.model.errors import KeyturnError
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


def hands_out_key(context: Context, inventory: Inventory, definition: ManagedProfile) -> bool:
    """Return True if a profile hands out its long-term key: its definition says so, and the vault holds the
    consent. The index is updated if it says otherwise. A consent that the definition no longer asks for is
    removed, so that it asks the user again.

    :raises NeedsUnlock: if the vault is locked.
    """
    name, state = definition.name, inventory.index.of(definition.name)
    if not definition.session_none or not definition.key or state.consent_ended:
        if state.key_consent or state.consent_ended:
            with contextlib.suppress(KeyturnError):  # without the consent or with it, it hands out sessions
                _write_consent(context, definition, given=False)
        return False
    given = context.vault.key(consent_entry(name)) == consent_of(definition)
    if state.key_consent != given:
        context.update_index(lambda index: index.update(name, key_consent=given))
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
    definition = context.managed_profile(context.read(), name)
    if given:
        settings.apply(definition, {"session": "none"})
    context.require_open()
    _write_consent(context, definition, given=given)
    return True


def _write_consent(context: Context, definition: ManagedProfile, *, given: bool) -> None:
    with context.state_lock():
        generation = context.vault.change_keys(lambda entries: set_consent(entries, definition, given=given))

        def edit(index: Index) -> Index:
            index.update(definition.name, key_consent=given, consent_ended=False)
            return index.with_generation(generation)

        context.update_index(edit)


def end_consent(context: Context, name: str) -> None:
    """Note in the index that the consent of a profile is to be removed, where the vault is locked."""
    context.index.change(lambda index: index.update(name, key_consent=False, consent_ended=True))


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
        if definition.session_none and not inventory.index.of(definition.name).consent_ended
    }
    stale = _stale(entries, asking)
    if stale:
        with context.state_lock():
            generation = context.vault.change_keys(lambda entries: _remove(entries, stale))
            context.update_index(lambda index: _without_ended(index).with_generation(generation))
    given = {
        name: entries.get(consent_entry(name)) == consent_of(definition)
        for name, definition in asking.items()
    }
    if any(inventory.index.of(name).key_consent != value for name, value in given.items()):

        def edit(index: Index) -> None:
            for name, value in given.items():
                index.update(name, key_consent=value)

        context.update_index(edit)


def _without_ended(index: Index) -> Index:
    """Return the index without notes of consents to remove, which are removed."""
    for name, state in list(index.profiles.items()):
        if state.consent_ended:
            index.update(name, consent_ended=False, key_consent=False)
    return index


def _stale(entries: Mapping[str, Any], asking: Iterable[str]) -> list[str]:
    wanted = {consent_entry(name) for name in asking}
    return [name for name in entries if name.startswith(consent_entry("")) and name not in wanted]


def _remove(entries: Entries, names: Iterable[str]) -> None:
    for name in names:
        entries.pop(name, None)
