"""What IAM tells of a long-term key: its user, age, status, and how many of the two slots are taken."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from keyturn.aws.api import Aws, ListedKey
from keyturn.model.errors import AwsError, KeyturnError
from keyturn.model.key_ids import is_long_term
from keyturn.model.profile import Credentials, Key
from keyturn.operations.context import Context
from keyturn.profiles.inventory import Inventory
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile

#: A key's facts are asked for again after this long, at the next refresh.
REFRESH_EVERY = timedelta(hours=1)
#: How long an act waits for facts that are nice to have.
WAIT_SECONDS = 4.0


def refresh_key_metadata(
    context: Context,
    inventory: Inventory,
    wanted: list[tuple[ManagedProfile, Credentials | None]],
    *,
    wait: float = WAIT_SECONDS,
) -> None:
    """Brings the index up to date on the long-term keys of profiles, as far as IAM lets it look.

    It runs beside what came before: a refusal is no failure of that, and a silent IAM keeps nobody waiting for longer
    than `wait` seconds. What is not known stays unknown.

    :param wanted: definitions, each with a session of the same user, which may carry the MFA that IAM insists on.
    """
    now = context.clock()
    due = [
        (one, session)
        for one, session in wanted
        if one.key and _is_due(inventory.index.keys.get(one.key), now)
    ]
    if not due:
        return

    def act() -> None:
        for definition, session in due:
            _refresh(context, definition, inventory, session, now)

    context.run_in_background(act, wait)


def refresh_due_key_metadata(context: Context, tried: dict[str, datetime]) -> None:
    """Brings the index up to date on every key that keyturn holds, for a thread with nothing better to do.

    :param tried: when each key was asked for last, by this process: what IAM refuses is not asked again at once.
    """
    now = context.clock()
    inventory = context.read()
    for one in inventory.definitions.values():
        if one.key is None or not _is_due(inventory.index.keys.get(one.key), now):
            continue
        known = inventory.index.keys.get(one.key)
        which = f"{one.key} {known.key_id if known else ''}"
        if which in tried and timedelta(0) <= now - tried[which] < REFRESH_EVERY:
            continue
        tried[which] = now
        _refresh(context, one, inventory, None, now)


def _is_due(known: Key | None, now: datetime) -> bool:
    return known is None or known.checked is None or now - known.checked >= REFRESH_EVERY


def _refresh(
    context: Context,
    definition: ManagedProfile,
    inventory: Inventory,
    session: Credentials | None,
    now: datetime,
) -> None:
    entry = definition.key or definition.name
    known = inventory.index.keys.get(entry)
    try:
        key = context.key(entry)
    except KeyturnError:
        return
    facts = known if known and known.key_id == key.access_key_id else Key(key.access_key_id)
    native = inventory.natives.get(definition.name)
    try:
        aws = context.aws(definition.name, native.region if native else None, short_timeouts=True)
        facts = replace(facts, user=facts.user or aws.get_caller_identity(key).arn)
        listed = _listed(aws, key, session, facts.user or "")
    except KeyturnError:
        listed = None
    if listed is not None:
        mine = next((one for one in listed if one.key_id == key.access_key_id), None)
        facts = replace(
            facts,
            created=mine.created if mine else None,
            status=mine.status if mine else None,
            slots_used=len(listed),
        )

        facts = _with_last_use(aws, facts, key, session)

    # An index that was lost is filled again; what was given back meanwhile stays away.
    is_managed = any(one.key == entry for one in context.read().definitions.values())

    def edit(index: Index) -> None:
        present = index.keys.get(entry)
        is_it = is_managed if present is None else present.key_id == facts.key_id
        if is_it:
            index.keys[entry] = replace(
                facts, checked=now if listed is not None or session is not None else None
            )

    context.update_index(edit)


def _with_last_use(aws: Aws, facts: Key, key: Credentials, session: Credentials | None) -> Key:
    """The facts with what AWS tells of the key's last use, where it tells."""
    signers = (key,) if session is None or session.session_token is None else (key, session)
    for signer in signers:
        try:
            use = aws.access_key_last_used(signer, key.access_key_id)
        except KeyturnError:
            continue
        by = ", ".join(each for each in (use.service, use.region) if each)
        return replace(facts, last_used=use.at, last_used_by=by or None)
    return facts


def _listed(
    aws: Aws, key: Credentials, session: Credentials | None, arn: str
) -> tuple[ListedKey, ...] | None:
    """ListAccessKeys with the key itself, else with a session of the same user, which must name it (IAM API reference)."""
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
