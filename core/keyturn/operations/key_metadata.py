"""IAM metadata of access keys: user, age, status, last use and number of keys of the user."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.aws.api import Aws, ListedKey
from keyturn.model.errors import AwsError, KeyturnError
from keyturn.model.key_ids import is_long_term
from keyturn.model.profile import Credentials, Key
from keyturn.operations.context import Context
from keyturn.profiles.inventory import Inventory
from keyturn.storage import managed_profiles
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile

#: Metadata older than this is requested again at the next refresh.
REFRESH_EVERY = timedelta(hours=1)
#: Longest time that an operation waits for metadata.
WAIT_SECONDS = 4.0
#: Most keys whose metadata is requested at once. IAM throttles, and the agent gets the others later.
KEYS_AT_ONCE = 8


def refresh_key_metadata(
    context: Context,
    inventory: Inventory,
    profiles: list[tuple[ManagedProfile, Credentials | None]],
    *,
    wait: float = WAIT_SECONDS,
) -> None:
    """Update the index entries of the profiles' access keys, of at most :data:`KEYS_AT_ONCE` of them, as far
    as IAM permits.

    It runs in the background and waits for at most `wait` seconds. Failures are ignored, because the caller's
    operation has succeeded already. Nothing is asked at an endpoint that only the caller names.

    :param profiles: definitions, each with a session of the same user, which may carry the MFA that a policy
        requires.
    """
    now = context.clock()
    due = [
        (definition, session)
        for definition, session in profiles
        if definition.key and _is_due(inventory.index.keys.get(definition.key), now)
    ]
    if not due or context.foreign_names:
        return

    def task() -> None:
        for definition, session in due[:KEYS_AT_ONCE]:
            _refresh_key(context, definition, inventory, session, now)

    context.run_in_background(task, wait)


def refresh_due_key_metadata(context: Context, attempts: dict[str, datetime]) -> None:
    """Update the index entries of access keys in the vault whose metadata is older than `REFRESH_EVERY`, of
    at most :data:`KEYS_AT_ONCE` of them.

    :param attempts: time of the last attempt by key, kept by the caller, so that a denied request is not
        repeated at once.
    """
    now = context.clock()
    inventory = context.read()
    asked = 0
    for definition in inventory.definitions.values():
        if asked == KEYS_AT_ONCE:
            return
        if definition.key is None or not _is_due(inventory.index.keys.get(definition.key), now):
            continue
        key = inventory.index.keys.get(definition.key)
        attempt = f"{definition.key} {key.key_id if key else ''}"
        if attempt in attempts and timedelta(0) <= now - attempts[attempt] < REFRESH_EVERY:
            continue
        attempts[attempt] = now
        asked += 1
        _refresh_key(context, definition, inventory, None, now)


def _is_due(key: Key | None, now: datetime) -> bool:
    """Return True if a key's metadata is too old. A check in the future was made before the clock was set
    back."""
    return key is None or key.checked is None or not timedelta(0) <= now - key.checked < REFRESH_EVERY


def _refresh_key(
    context: Context,
    definition: ManagedProfile,
    inventory: Inventory,
    session: Credentials | None,
    now: datetime,
) -> None:
    entry = definition.key or definition.name
    previous = inventory.index.keys.get(entry)
    try:
        key = context.key(entry)
    except KeyturnError:
        return
    metadata = previous if previous and previous.key_id == key.access_key_id else Key(key.access_key_id)
    native = inventory.natives.get(definition.name)
    try:
        aws = context.aws(definition.name, native.region if native else None, short_timeouts=True)
        metadata = replace(metadata, user=metadata.user or aws.get_caller_identity(key).arn)
        listed_keys = _list_keys(aws, key, session, metadata.user or "")
    except KeyturnError:
        listed_keys = None
    if listed_keys is not None:
        own_key = next((listed for listed in listed_keys if listed.key_id == key.access_key_id), None)
        metadata = replace(
            metadata,
            created=own_key.created if own_key else None,
            status=own_key.status if own_key else None,
            slots_used=len(listed_keys),
        )
        metadata = _with_last_use(aws, metadata, key, session)

    def edit(index: Index) -> None:
        current = index.keys.get(entry)
        if current is None:
            # A lost index is filled again, but a key released in between is not added.
            definitions = managed_profiles.load(context.paths.profiles_file).values()
            is_same = any(managed.key == entry for managed in definitions)
        else:
            is_same = current.key_id == metadata.key_id
        if is_same:
            index.keys[entry] = replace(
                metadata, checked=now if listed_keys is not None or session is not None else None
            )

    context.update_index(edit)


def _with_last_use(aws: Aws, metadata: Key, key: Credentials, session: Credentials | None) -> Key:
    """Return the metadata with the key's last use, if AWS returns it."""
    signers = (key,) if session is None or session.session_token is None else (key, session)
    for signer in signers:
        try:
            use = aws.access_key_last_used(signer, key.access_key_id)
        except KeyturnError:
            continue
        return replace(metadata, last_used=use.at, last_used_by=use.where or None)
    return metadata


def _list_keys(
    aws: Aws, key: Credentials, session: Credentials | None, arn: str
) -> tuple[ListedKey, ...] | None:
    """Return the user's access keys, or None if IAM denies it.

    The call is signed with the key itself, or else with a session of the same user, which must pass the user
    name (IAM API reference, ListAccessKeys).
    """
    user = arn.rpartition("/")[2] if ":user/" in arn else None
    try:
        return aws.list_access_keys(key, user)
    except AwsError:
        if (
            session is None
            or session.session_token is None
            or user is None
            or is_long_term(session.access_key_id)
        ):
            return None
    try:
        return aws.list_access_keys(session, user)
    except AwsError:
        return None
