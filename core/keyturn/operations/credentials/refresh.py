"""Refresh: get a new session for one profile, store and deliver it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from keyturn.delivery import credential_process
from keyturn.model.errors import FileChanged, KeyturnError, NeedsInteraction, Remedy
from keyturn.model.labels import consent_command
from keyturn.model.profile import Credentials, Delivery, Kind, Profile, Refreshed, Renew, State, session_state
from keyturn.model.text import span
from keyturn.operations import deliver, key_metadata
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache
from keyturn.operations.key_delivery import hands_out_key
from keyturn.operations.operation import operation
from keyturn.profiles.inventory import Inventory
from keyturn.providers.base import FetchedSession
from keyturn.providers.refresher import Refresher

#: Sessions with less time left are not returned, because a client could not use them.
MIN_LEFT = timedelta(seconds=60)
#: Shortest interval between two records of use, because otherwise every request would write the index.
RECORD_USE_EVERY = timedelta(minutes=5)


def require_refreshable(row: Profile) -> None:
    """Check that a profile has sessions that can be refreshed.

    :raises KeyturnError: if it has none.
    """
    what = f"Could not refresh {row.name}"
    if row.problem and not row.managed:
        raise KeyturnError(what, row.problem, "Correct the profile in the shared files")
    if row.delivers_key:
        raise KeyturnError(what, "it delivers its long-term key, which does not expire")
    if row.managed:
        return
    if row.plaintext_key:
        why = "it is a plaintext long-term key, which does not expire"
        raise KeyturnError(what, why, ("Adopt it to get sessions: ", Remedy("adopt", row.name)))
    if row.kind in (Kind.MFA_SESSION, Kind.STATIC_SESSION):
        why = "its temporary keys were written by another tool"
        raise KeyturnError(what, why, "Run that tool again, or configure a role or a key instead")


def check(context: Context, name: str, _code: str | None = None) -> None:
    """Check that :func:`refresh` can refresh a profile. Raises as that does."""
    require_refreshable(context.begin().row(name))


@operation("refresh", check=check)
def refresh(context: Context, name: str, code: str | None = None) -> Refreshed:
    """Get a new session for a profile and deliver it.

    :raises NotFound: if there is no such profile.
    :raises NeedsMfa: if a code is required; nothing has changed.
    :raises KeyturnError: if the profile cannot be refreshed, or AWS refused; a delivered session stays.
    """
    inventory = context.begin()
    session_cache.require_own_environment(context, inventory, name)
    with context.log_failure(name, "refresh"):
        return _refresh(context, inventory, name, code)


def _refresh(context: Context, inventory: Inventory, name: str, code: str | None) -> Refreshed:
    row = inventory.row(name)
    if not row.managed:
        inventory.require_definitions()
    require_refreshable(row)
    context.require_open_for(row)
    started = time.monotonic()
    fetched = _fetch_and_deliver(context, inventory, name, code)
    context.log_success(name, "refresh", success_words(fetched))
    return refreshed(context, row, fetched, time.monotonic() - started)


def success_words(fetched: FetchedSession) -> str:
    """Return the result of a refresh for the activity log."""
    expires = fetched.issued.credentials.expires
    return f"until {expires:%H:%M:%S} UTC" if expires else "done"


def refreshed(context: Context, row: Profile, fetched: FetchedSession, seconds: float) -> Refreshed:
    """Return the result of a refresh for the front ends.

    :param seconds: how long it took.
    """
    name, note, delivery = row.name, fetched.note, row.delivery
    if row.credential_source and delivery is not Delivery.CREDENTIALS_FILE:
        note = f"not cached: uses the caller's {row.credential_source} credentials"
    elif context.runs_own_process:
        note = "not cached: its credential_process runs in the shell that asks"
    elif context.foreign_names:
        note = f"for callers with the same {', '.join(context.foreign_names)} only; it is not renewed"
    elif delivery is Delivery.NATIVE:
        note = "cached by keyturn only; adopt the profile to have its sessions delivered"
    elif row.lacks_consent:
        note = f"session = none is not confirmed. To deliver the key, run: {consent_command(name)}"
    elif context.vault.has_unsaved_sessions:
        note = "the vault's folder is read-only, so the session is kept in memory only"
    elif accepted_seconds := context.profile_state(name).accepted_seconds:
        note = note or f"AWS allows at most {span(timedelta(seconds=accepted_seconds))} for this role"
    return Refreshed(profile=name, session=fetched.facts(), seconds=seconds, delivered=delivery, note=note)


def renew(context: Context, name: str) -> None:
    """Renew and deliver the session of a managed profile, unless another process just did.

    :raises KeyturnError: as :func:`refresh`; a delivered session stays until it expires.
    """
    inventory = context.read()
    with context.log_failure(name, "refresh"):
        inventory.require_definitions()
        context.require_open()
        fetched = _fetch_and_deliver(context, inventory, name, only_if_due=True)
        if fetched.asked_aws:
            context.log_success(name, "refresh", "automatic")


def _fetch_and_deliver(
    context: Context, inventory: Inventory, name: str, code: str | None = None, *, only_if_due: bool = False
) -> FetchedSession:
    """Get a session, deliver it as its profile requires, and update its key's metadata.

    :raises KeyturnError: as :func:`refresh`, and after the delivery if the vault could not store the session.
    """
    definition = inventory.definitions.get(name)
    if definition is not None and definition.delivery is Delivery.CREDENTIALS_FILE:
        with session_cache.fetch_to_deliver(
            context, inventory, name, code, only_if_due=only_if_due
        ) as undelivered:
            deliver.write_session(context, undelivered)
        fetched = undelivered.fetched
    else:
        fetched = session_cache.refresher(context, inventory).fetch(name, code, only_if_due=only_if_due)
    if definition is not None and definition.key is not None:
        key_metadata.refresh_key_metadata(context, inventory, [(definition, fetched.issued.credentials)])
    if fetched.not_stored is not None:
        raise fetched.not_stored
    return fetched


@operation("document")
def document(context: Context, name: str) -> str:
    """Return the credential document of a managed profile. AWS is called only if the cached session is due.

    A valid session is returned if it cannot be renewed now.

    :raises NotFound: if the profile is not managed by keyturn.
    :raises NeedsInteraction: if only a person can renew it, and no valid session is left.
    """
    inventory = context.begin()
    session_cache.require_own_environment(context, inventory, name)
    with context.log_failure(name, "credential-process"):
        return _document(context, inventory, name)


def _document(context: Context, inventory: Inventory, name: str) -> str:
    definition = context.managed_profile(inventory, name)
    row = inventory.row(name)
    context.require_open_for(row)
    record_use(context, name, inventory)
    account = None if row.account_derived else row.account
    if hands_out_key(context, inventory, definition):
        return credential_process.document(context.key(definition.key or name), account)
    refresher = session_cache.refresher(context, inventory)
    cached = refresher.cached(name)
    if cached is None or session_state(cached.facts(), context.clock()) is not State.FRESH:
        cached = renewed_session(
            context, inventory, refresher, name, cached, for_whom="a client", event="credential-process"
        )
    return credential_process.document(cached.issued.credentials, account)


def renewed_session(
    context: Context,
    inventory: Inventory,
    refresher: Refresher,
    name: str,
    cached: FetchedSession | None,
    *,
    for_whom: str,
    event: str | None = None,
    code: str | None = None,
    may_use_cached: bool = True,
) -> FetchedSession:
    """Return a new session, or the cached one if it is valid and cannot be renewed now for any reason.

    :param for_whom: for the activity log.
    :param event: records a failure under this event if the cached session is returned.
    :param may_use_cached: False if only a new session will do.
    """
    definition = inventory.definitions.get(name)
    valid = cached if cached is not None and is_valid(cached.issued.credentials, context.clock()) else None
    if definition is not None and definition.renew is Renew.OFF and code is None:
        if valid is not None:
            return valid
        raise NeedsInteraction(
            f"Could not get credentials of {name}", "its renewal is off", Remedy("refresh", name)
        )
    try:
        fetched = refresher.fetch(name, code, only_if_due=may_use_cached)
    except FileChanged:
        # The cached session belongs to the old definition, or was stopped.
        raise
    except (KeyturnError, OSError) as error:
        if valid is None or not may_use_cached:
            raise
        if event and isinstance(error, KeyturnError) and not isinstance(error, NeedsInteraction):
            context.record_failure(name, event, error)
        return valid
    if fetched.asked_aws and definition is not None:
        key_metadata.refresh_key_metadata(
            context, inventory, [(definition, fetched.issued.credentials)], wait=0
        )
        context.log_success(name, "refresh", f"for {for_whom}")
    return fetched


def is_valid(credentials: Credentials, now: datetime) -> bool:
    """Return True if a client can still use the credentials."""
    return credentials.expires is None or credentials.expires - now > MIN_LEFT


def record_use(context: Context, name: str, inventory: Inventory) -> None:
    """Record that a profile is in use, at most once per `RECORD_USE_EVERY`."""
    now, state = context.clock(), inventory.index.of(name)
    if state.last_use is None or now - state.last_use > RECORD_USE_EVERY:
        context.update_index(lambda index: index.update(name, last_use=now))
