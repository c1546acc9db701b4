"""Handing a session to one program: the credentials of any profile, native ones too, with so much time left."""

from __future__ import annotations

from datetime import datetime, timedelta

from keyturn.acts import fetching, learning, refreshing
from keyturn.acts.desk import Desk
from keyturn.definitions import Definition
from keyturn.delivery import credential_process
from keyturn.errors import FileChanged, KeyturnError, NeedsPerson, UsageError
from keyturn.model import Renew, State, session_state
from keyturn.reading import Reading
from keyturn.sessions.stored import Fetched
from keyturn.text import span


def hand(desk: Desk, name: str, least: timedelta | None = None, code: str | None = None) -> str:
    """The credential_process document of a profile, managed or native; nothing is delivered anywhere.

    :param least: it must live so long at least; else what is fresh does, and where nothing new can be had, what is valid.
    :param code: an MFA code, for a new session.
    :raises NotFound: there is no such profile.
    :raises UsageError: no session of this profile lives as long as `least`.
    :raises NeedsPerson: a person must renew it first.
    """
    reading = desk.read()
    fetching.refuse_for_others(desk, reading, name)
    with desk.recording(name, "hand out"):
        row = reading.row(name)
        definition = reading.definitions.get(name)
        if definition is None:
            reading.require_definitions()
        if not row.credential_source:
            desk.require_open()
        account = None if row.account_derived else row.account
        if definition is not None and definition.delivers_key:
            refreshing.note_asked(desk, name, reading)
            return credential_process.document(desk.key(definition.key or name), account)
        refreshing.refuse_hopeless(row)
        refreshing.note_asked(desk, name, reading)
        found = _found(desk, reading, name, least, code)
        _require_length(name, found, least, desk.clock())
        return credential_process.document(found.issued.credentials, account)


def _found(desk: Desk, reading: Reading, name: str, least: timedelta | None, code: str | None) -> Fetched:
    refresher = fetching.refresher(desk, reading)
    definition = reading.definitions.get(name)
    cached = refresher.cached(name)
    now = desk.clock()
    if cached is not None and code is None and _will_do(cached, least, now):
        return cached
    fallback = cached if cached is not None and refreshing.is_valid(cached.issued.credentials, now) else None
    if definition is not None and definition.renew is Renew.OFF and code is None:
        if fallback is not None:
            return fallback
        raise NeedsPerson(f"session for {name}", "its renewal is off", f"Run: keyturn refresh {name}")
    try:
        fetched = refresher.fetch(name, code, only_if_due=least is None and code is None)
    except FileChanged:
        raise
    except (KeyturnError, OSError):
        if fallback is None or least is not None or code is not None:
            raise
        return fallback
    _learn(desk, reading, definition, fetched)
    return fetched


def _learn(desk: Desk, reading: Reading, definition: Definition | None, fetched: Fetched) -> None:
    if fetched.asked_aws and definition is not None:
        learning.learn(desk, reading, [(definition, fetched.issued.credentials)], wait=0)
        desk.record(definition.name, "refresh", "for a program")


def _will_do(one: Fetched, least: timedelta | None, now: datetime) -> bool:
    if least is None:
        return session_state(one.facts(), now) is State.FRESH
    return one.issued.credentials.expires is None or one.issued.credentials.expires - now >= least


def _require_length(name: str, one: Fetched, least: timedelta | None, now: datetime) -> None:
    expires = one.issued.credentials.expires
    if least is None or expires is None or expires - now >= least:
        return
    why = f"its session has {span(expires - now)} left, and {span(least)} were asked for"
    raise UsageError(f"session for {name}", why, f"Ask for less, or see: keyturn set {name} duration=...")
