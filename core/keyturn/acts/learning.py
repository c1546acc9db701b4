"""What IAM tells of a long-term key: its user, age, status, and how many of the two slots are taken."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from keyturn.acts.desk import Desk
from keyturn.aws.ports import Aws, ListedKey
from keyturn.definitions import Definition
from keyturn.errors import AwsError, KeyturnError
from keyturn.index import Index
from keyturn.model import Credentials, Key
from keyturn.reading import Reading

#: A key's facts are asked for again after this long, at the next refresh.
LEARN_EVERY = timedelta(hours=1)


def learn(desk: Desk, definition: Definition, reading: Reading, session: Credentials | None) -> None:
    """Brings the index up to date on the profile's long-term key, if it has one and IAM lets it look.

    A refusal is no failure of the act that came before: what is not known stays unknown.

    :param session: a session of the same user, which may carry the MFA that IAM insists on; None to use the key.
    """
    entry = definition.key
    if entry is None:
        return
    known = reading.index.keys.get(entry)
    now = desk.clock()
    if known is not None and known.created and known.checked and now - known.checked < LEARN_EVERY:
        return
    try:
        key = desk.key(entry)
        native = reading.natives.get(definition.name)
        aws = desk.aws(definition.name, native.region if native else None)
        arn = (
            known.user if known and known.key_id == key.access_key_id else None
        ) or aws.get_caller_identity(key).arn
    except KeyturnError:
        return
    facts = replace(known or Key(key.access_key_id), key_id=key.access_key_id, user=arn)
    listed = _listed(aws, key, session, arn)
    if listed is not None:
        mine = next((one for one in listed if one.key_id == key.access_key_id), None)
        facts = replace(
            facts,
            created=mine.created if mine else None,
            status=mine.status if mine else None,
            slots_used=len(listed),
            checked=now,
        )

    def edit(index: Index) -> None:
        index.keys[entry] = facts

    desk.index.change(edit)


def _listed(
    aws: Aws, key: Credentials, session: Credentials | None, arn: str
) -> tuple[ListedKey, ...] | None:
    """ListAccessKeys with the key itself, else with the session; the session must name the user (IAM API reference)."""
    user = arn.rpartition("/")[2] if ":user/" in arn else None
    try:
        return aws.list_access_keys(key, user)
    except AwsError:
        if session is None or session.session_token is None or user is None:
            return None
    try:
        return aws.list_access_keys(session, user)
    except AwsError:
        return None
