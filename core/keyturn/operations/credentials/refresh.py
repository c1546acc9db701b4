"""Refresh: a new session for one profile, sealed, noted and delivered."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from keyturn.awsconfig.process_line import is_ours
from keyturn.delivery import credential_process
from keyturn.model.errors import FileChanged, KeyturnError, NeedsInteraction, NotFound
from keyturn.model.profile import Credentials, Delivery, Kind, Profile, Refreshed, Renew, State, session_state
from keyturn.model.text import span
from keyturn.operations import deliver, key_metadata
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache
from keyturn.profiles.inventory import Inventory
from keyturn.providers.cached_session import FetchedSession
from keyturn.storage.managed_profiles import ManagedProfile

#: A session with less left than this is not handed out: a client could not use it any more.
LEAST_LEFT = timedelta(seconds=60)
#: How often "asked for" is written down again; every request would be a write.
ASKED_EVERY = timedelta(minutes=5)


def refresh(desk: Context, name: str, code: str | None = None) -> Refreshed:
    """Gets a new session for `name` and delivers it.

    :raises NotFound: there is no such profile.
    :raises NeedsMfa: a code is needed; nothing has changed.
    :raises KeyturnError: the profile has nothing that could be refreshed, or AWS said no; what was delivered stays.
    """
    reading = desk.read()
    session_cache.refuse_for_others(desk, reading, name)
    with desk.recording(name, "refresh"):
        return _refresh(desk, reading, name, code)


def _refresh(desk: Context, reading: Inventory, name: str, code: str | None) -> Refreshed:
    row = reading.row(name)
    if not row.managed:
        reading.require_definitions()
    refuse_hopeless(row)
    if not row.credential_source:
        desk.require_open()
    begun = time.monotonic()
    fetched = session_cache.refresher(desk, reading).fetch(name, code)
    delivered = _delivered(desk, reading, name, fetched)
    if fetched.unkept is not None:
        raise fetched.unkept
    seconds = time.monotonic() - begun
    session = fetched.facts()
    desk.record(name, "refresh", f"until {session.expires:%H:%M:%S} UTC" if session.expires else "done")
    note = fetched.note
    if row.credential_source and delivered is not Delivery.CREDENTIALS_FILE:
        note = (
            f"kept nowhere: it rests on {row.credential_source} of whoever asks, and is made anew each time"
        )
    elif delivered is Delivery.NATIVE:
        note = "kept in keyturn's cache only, its files are as they were; adopt it to have it delivered"
    elif known := desk.known(name).accepted_seconds:
        note = note or f"AWS allows {span(timedelta(seconds=known))} at most for this role"
    return Refreshed(name, session, seconds, delivered, note)


def renew(desk: Context, name: str) -> None:
    """Gets a new session for a managed profile, unless another process just did, and delivers it.

    :raises KeyturnError: as :func:`refresh`; what was delivered stays until it ends.
    """
    reading = desk.read()
    with desk.recording(name, "refresh"):
        reading.require_definitions()
        desk.require_open()
        fetched = session_cache.refresher(desk, reading).fetch(name, only_if_due=True)
        _delivered(desk, reading, name, fetched)
        if fetched.unkept is not None:
            raise fetched.unkept
        if fetched.asked_aws:
            desk.record(name, "refresh", "by itself")


def check(desk: Context, name: str) -> None:
    """Says why there is nothing to refresh for `name`, before anybody is asked for a passphrase.

    :raises KeyturnError: the reason; nothing is raised for a profile that can be refreshed.
    """
    refuse_hopeless(desk.read().row(name))


def _delivered(desk: Context, reading: Inventory, name: str, fetched: FetchedSession) -> Delivery:
    """Puts a fetched session where its profile wants it, and learns about its key."""
    definition = reading.definitions.get(name)
    if definition is None:
        return Delivery.NATIVE
    if definition.delivery is Delivery.CREDENTIALS_FILE:
        with desk.exclusive():
            deliver.put(desk, reading, name, fetched)
    key_metadata.learn(desk, reading, [(definition, fetched.issued.credentials)])
    return definition.delivery


def refuse_hopeless(row: Profile) -> None:
    """Says why there is nothing to refresh, for the kinds where that is so."""
    what = f"refresh of {row.name}"
    if row.problem and not row.managed:
        raise KeyturnError(what, row.problem, "Correct the profile in the shared files")
    if row.delivers_key:
        raise KeyturnError(what, "it delivers the long-term key itself, which does not expire")
    if row.managed:
        return
    if row.plaintext_key:
        why = "it is a long-term key in clear, which does not expire"
        raise KeyturnError(what, why, f"Adopt it, then it gets sessions: keyturn adopt {row.name}")
    if row.kind in (Kind.MFA_SESSION, Kind.STATIC_SESSION):
        why = "its temporary keys were put into the file by another tool"
        raise KeyturnError(what, why, "Run that tool again, or define the profile by a role or a key")


def document(desk: Context, name: str) -> str:
    """The credential_process document for a managed profile; asks AWS only when what is cached is due.

    What is still valid is handed out where it cannot be renewed now.

    :raises NotFound: keyturn does not manage such a profile.
    :raises NeedsPerson: only a person can renew it, and nothing valid is left.
    """
    reading = desk.read()
    session_cache.refuse_for_others(desk, reading, name)
    with desk.recording(name, "credential-process"):
        return _document(desk, reading, name)


def _document(desk: Context, reading: Inventory, name: str) -> str:
    reading.require_definitions()
    definition = reading.definitions.get(name)
    if definition is None:
        why = "keyturn does not manage one by that name"
        raise NotFound(f"managed profile {name}", why, _where_to_go(reading, name))
    row = reading.row(name)
    if not row.credential_source:
        desk.require_open()
    note_asked(desk, name, reading)
    account = None if row.account_derived else row.account
    if definition.delivers_key:
        return credential_process.document(desk.key(definition.key or name), account)
    refresher = session_cache.refresher(desk, reading)
    cached = refresher.cached(name)
    if cached is None or session_state(cached.facts(), desk.clock()) is not State.FRESH:
        cached = _renewed(desk, reading, definition, cached)
    return credential_process.document(cached.issued.credentials, account)


def _where_to_go(reading: Inventory, name: str) -> str:
    native = reading.natives.get(name)
    if native is None:
        return "Run: keyturn list"
    if is_ours(str(reading.settings(name).get("credential_process", "")), name):
        return f"If the vault still holds it, this gives it back to the files: keyturn release {name}"
    return f"Run: keyturn adopt {name}"


def _renewed(
    desk: Context, reading: Inventory, definition: ManagedProfile, cached: FetchedSession | None
) -> FetchedSession:
    """A new session, or the one that is still valid where none can be had now, whatever keeps it from being had."""
    name = definition.name
    valid = cached is not None and is_valid(cached.issued.credentials, desk.clock())
    if definition.renew is Renew.OFF:
        if cached is not None and valid:
            return cached
        raise NeedsInteraction(f"session for {name}", "its renewal is off", f"Run: keyturn refresh {name}")
    try:
        fetched = session_cache.refresher(desk, reading).fetch(name, only_if_due=True)
    except FileChanged:
        # What is cached is of what the profile was before, or was stopped.
        raise
    except (KeyturnError, OSError) as error:
        if cached is None or not valid:
            raise
        if isinstance(error, KeyturnError) and not isinstance(error, NeedsInteraction):
            desk.record_failure(name, "credential-process", error)
        return cached
    if fetched.asked_aws:
        key_metadata.learn(desk, reading, [(definition, fetched.issued.credentials)], wait=0)
        desk.record(name, "refresh", "for a client")
    return fetched


def is_valid(credentials: Credentials, now: datetime) -> bool:
    """Whether a client could still use them."""
    return credentials.expires is None or credentials.expires - now > LEAST_LEFT


def note_asked(desk: Context, name: str, reading: Inventory) -> None:
    """Notes that a profile is in use, but not again and again."""
    now, known = desk.clock(), reading.index.of(name)
    if known.asked is None or now - known.asked > ASKED_EVERY:
        desk.note(lambda index: index.update(name, asked=now))
