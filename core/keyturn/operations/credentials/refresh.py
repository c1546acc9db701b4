"""Refresh: a new session for one profile, sealed, noted and delivered."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.delivery import credential_process
from keyturn.model.errors import FileChanged, KeyturnError, NeedsInteraction, NotFound
from keyturn.model.profile import Credentials, Delivery, Kind, Profile, Refreshed, Renew, State, session_state
from keyturn.model.text import span
from keyturn.operations import deliver, key_metadata
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache
from keyturn.operations.operation import operation
from keyturn.profiles.inventory import Inventory
from keyturn.providers.cached_session import FetchedSession
from keyturn.storage.managed_profiles import ManagedProfile

#: A session with less left than this is not handed out: a client could not use it any more.
MIN_LEFT = timedelta(seconds=60)
#: How often "asked for" is written down again; every request would be a write.
RECORD_USE_EVERY = timedelta(minutes=5)


@operation("refresh")
def refresh(context: Context, name: str, code: str | None = None) -> Refreshed:
    """Gets a new session for `name` and delivers it.

    :raises NotFound: there is no such profile.
    :raises NeedsMfa: a code is needed; nothing has changed.
    :raises KeyturnError: the profile has nothing that could be refreshed, or AWS said no; what was delivered stays.
    """
    inventory = context.read()
    session_cache.require_own_environment(context, inventory, name)
    with context.log_failure(name, "refresh"):
        return _refresh(context, inventory, name, code)


def _refresh(context: Context, inventory: Inventory, name: str, code: str | None) -> Refreshed:
    row = inventory.row(name)
    if not row.managed:
        inventory.require_definitions()
    require_refreshable(row)
    if not row.credential_source:
        context.require_open()
    started = time.monotonic()
    fetched = session_cache.refresher(context, inventory).fetch(name, code)
    delivery = _deliver_session(context, inventory, name, fetched)
    if fetched.not_stored is not None:
        raise fetched.not_stored
    seconds = time.monotonic() - started
    session = fetched.facts()
    context.log_success(
        name, "refresh", f"until {session.expires:%H:%M:%S} UTC" if session.expires else "done"
    )
    note = fetched.note
    if row.credential_source and delivery is not Delivery.CREDENTIALS_FILE:
        note = (
            f"kept nowhere: it rests on {row.credential_source} of whoever asks, and is made anew each time"
        )
    elif delivery is Delivery.NATIVE:
        note = "kept in keyturn's cache only, its files are as they were; adopt it to have it delivered"
    elif accepted_seconds := context.profile_state(name).accepted_seconds:
        note = note or f"AWS allows {span(timedelta(seconds=accepted_seconds))} at most for this role"
    return Refreshed(profile=name, session=session, seconds=seconds, delivered=delivery, note=note)


def renew(context: Context, name: str) -> None:
    """Gets a new session for a managed profile, unless another process just did, and delivers it.

    :raises KeyturnError: as :func:`refresh`; what was delivered stays until it ends.
    """
    inventory = context.read()
    with context.log_failure(name, "refresh"):
        inventory.require_definitions()
        context.require_open()
        fetched = session_cache.refresher(context, inventory).fetch(name, only_if_due=True)
        _deliver_session(context, inventory, name, fetched)
        if fetched.not_stored is not None:
            raise fetched.not_stored
        if fetched.asked_aws:
            context.log_success(name, "refresh", "by itself")


def require_known_profile(context: Context, name: str) -> None:
    """Says why there is nothing to refresh for `name`, before anybody is asked for a passphrase.

    :raises KeyturnError: the reason; nothing is raised for a profile that can be refreshed.
    """
    require_refreshable(context.read().row(name))


def _deliver_session(context: Context, inventory: Inventory, name: str, fetched: FetchedSession) -> Delivery:
    """Puts a fetched session where its profile wants it, and learns about its key."""
    definition = inventory.definitions.get(name)
    if definition is None:
        return Delivery.NATIVE
    if definition.delivery is Delivery.CREDENTIALS_FILE:
        with context.state_lock():
            deliver.write_session(context, inventory, name, fetched)
    key_metadata.refresh_key_metadata(context, inventory, [(definition, fetched.issued.credentials)])
    return definition.delivery


def require_refreshable(row: Profile) -> None:
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


@operation("document")
def document(context: Context, name: str) -> str:
    """The credential_process document for a managed profile; asks AWS only when what is cached is due.

    What is still valid is handed out where it cannot be renewed now.

    :raises NotFound: keyturn does not manage such a profile.
    :raises NeedsPerson: only a person can renew it, and nothing valid is left.
    """
    inventory = context.read()
    session_cache.require_own_environment(context, inventory, name)
    with context.log_failure(name, "credential-process"):
        return _document(context, inventory, name)


def _document(context: Context, inventory: Inventory, name: str) -> str:
    inventory.require_definitions()
    definition = inventory.definitions.get(name)
    if definition is None:
        why = "keyturn does not manage one by that name"
        raise NotFound(f"managed profile {name}", why, _hint(inventory, name))
    row = inventory.row(name)
    if not row.credential_source:
        context.require_open()
    record_use(context, name, inventory)
    account = None if row.account_derived else row.account
    if definition.delivers_key:
        return credential_process.document(context.key(definition.key or name), account)
    refresher = session_cache.refresher(context, inventory)
    cached = refresher.cached(name)
    if cached is None or session_state(cached.facts(), context.clock()) is not State.FRESH:
        cached = _document_after_renewal(context, inventory, definition, cached)
    return credential_process.document(cached.issued.credentials, account)


def _hint(inventory: Inventory, name: str) -> str:
    native = inventory.natives.get(name)
    if native is None:
        return "Run: keyturn list"
    if is_keyturn_process_line(str(inventory.settings(name).get("credential_process", "")), name):
        return f"If the vault still holds it, this gives it back to the files: keyturn release {name}"
    return f"Run: keyturn adopt {name}"


def _document_after_renewal(
    context: Context, inventory: Inventory, definition: ManagedProfile, cached: FetchedSession | None
) -> FetchedSession:
    """A new session, or the one that is still valid where none can be had now, whatever keeps it from being had."""
    name = definition.name
    valid = cached is not None and is_valid(cached.issued.credentials, context.clock())
    if definition.renew is Renew.OFF:
        if cached is not None and valid:
            return cached
        raise NeedsInteraction(f"session for {name}", "its renewal is off", f"Run: keyturn refresh {name}")
    try:
        fetched = session_cache.refresher(context, inventory).fetch(name, only_if_due=True)
    except FileChanged:
        # What is cached is of what the profile was before, or was stopped.
        raise
    except (KeyturnError, OSError) as error:
        if cached is None or not valid:
            raise
        if isinstance(error, KeyturnError) and not isinstance(error, NeedsInteraction):
            context.record_failure(name, "credential-process", error)
        return cached
    if fetched.asked_aws:
        key_metadata.refresh_key_metadata(
            context, inventory, [(definition, fetched.issued.credentials)], wait=0
        )
        context.log_success(name, "refresh", "for a client")
    return fetched


def is_valid(credentials: Credentials, now: datetime) -> bool:
    """Whether a client could still use them."""
    return credentials.expires is None or credentials.expires - now > MIN_LEFT


def record_use(context: Context, name: str, inventory: Inventory) -> None:
    """Notes that a profile is in use, but not again and again."""
    now, state = context.clock(), inventory.index.of(name)
    if state.last_use is None or now - state.last_use > RECORD_USE_EVERY:
        context.update_index(lambda index: index.update(name, last_use=now))
