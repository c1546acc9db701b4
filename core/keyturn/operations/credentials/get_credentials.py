"""Handing a session to one program: the credentials of any profile, native ones too, with so much time left."""

from __future__ import annotations

from datetime import datetime, timedelta

from keyturn.delivery import credential_process
from keyturn.model.errors import FileChanged, KeyturnError, NeedsInteraction, UsageError
from keyturn.model.profile import Renew, State, session_state
from keyturn.model.text import span
from keyturn.operations import key_metadata
from keyturn.operations.context import Context
from keyturn.operations.credentials import refresh, session_cache
from keyturn.operations.credentials.refresh import RECORD_USE_EVERY
from keyturn.profiles.inventory import Inventory
from keyturn.providers.cached_session import FetchedSession
from keyturn.storage.managed_profiles import ManagedProfile


def get_credentials(
    context: Context,
    name: str,
    least: timedelta | None = None,
    code: str | None = None,
    *,
    is_far: bool = False,
) -> str:
    """The credential_process document of a profile, managed or native; nothing is delivered anywhere.

    :param least: it must live so long at least; else what is fresh does, and where nothing new can be had, what is valid.
    :param code: an MFA code, for a new session.
    :param is_far: another machine asks: no program of the person's is run for it, and it cannot have AWS asked again and again.
    :raises NotFound: there is no such profile.
    :raises UsageError: no session of this profile lives as long as `least`.
    :raises NeedsPerson: a person must renew it first.
    """
    inventory = context.read()
    session_cache.require_own_environment(context, inventory, name)
    with context.log_failure(name, "hand out"):
        row = inventory.row(name)
        definition = inventory.definitions.get(name)
        if definition is None:
            inventory.require_definitions()
        if not row.credential_source:
            context.require_open()
        account = None if row.account_derived else row.account
        if definition is not None and definition.delivers_key:
            refresh.record_use(context, name, inventory)
            return credential_process.document(context.key(definition.key or name), account)
        refresh.require_refreshable(row)
        refresh.record_use(context, name, inventory)
        found = _find_session(context, inventory, name, least, code, is_far=is_far)
        _require_length(name, found, least, context.clock())
        return credential_process.document(found.issued.credentials, account)


def _find_session(
    context: Context,
    inventory: Inventory,
    name: str,
    least: timedelta | None,
    code: str | None,
    *,
    is_far: bool,
) -> FetchedSession:
    refresher = session_cache.refresher(context, inventory, has_commands=not is_far)
    definition = inventory.definitions.get(name)
    cached = refresher.cached(name)
    now = context.clock()
    if cached is not None and code is None and _is_long_enough(cached, least, now):
        return cached
    if is_far and cached is not None and least is not None:
        _require_life(name, cached, least)
    fallback = cached if cached is not None and refresh.is_valid(cached.issued.credentials, now) else None
    if definition is not None and definition.renew is Renew.OFF and code is None:
        if fallback is not None:
            return fallback
        raise NeedsInteraction(f"session for {name}", "its renewal is off", f"Run: keyturn refresh {name}")
    try:
        fetched = refresher.fetch(name, code, only_if_due=least is None and code is None)
    except FileChanged:
        raise
    except (KeyturnError, OSError):
        if fallback is None or least is not None or code is not None:
            raise
        return fallback
    _learn(context, inventory, definition, fetched)
    return fetched


def _learn(
    context: Context, inventory: Inventory, definition: ManagedProfile | None, fetched: FetchedSession
) -> None:
    if fetched.asked_aws and definition is not None:
        key_metadata.refresh_key_metadata(
            context, inventory, [(definition, fetched.issued.credentials)], wait=0
        )
        context.log_success(definition.name, "refresh", "for a program")


def _require_life(name: str, cached: FetchedSession, least: timedelta) -> None:
    """Makes sure that a new session would do for a while, by how long the last one was given."""
    expires = cached.issued.credentials.expires
    if expires is not None and expires - cached.at - RECORD_USE_EVERY < least:
        raise _too_short(name, least, expires - cached.at)


def _is_long_enough(one: FetchedSession, least: timedelta | None, now: datetime) -> bool:
    if least is None:
        return session_state(one.facts(), now) is State.FRESH
    return one.issued.credentials.expires is None or one.issued.credentials.expires - now >= least


def _require_length(name: str, one: FetchedSession, least: timedelta | None, now: datetime) -> None:
    expires = one.issued.credentials.expires
    if least is None or expires is None or expires - now >= least:
        return
    raise _too_short(name, least, expires - now)


def _too_short(name: str, least: timedelta, left: timedelta) -> UsageError:
    why = f"its session has {span(left)} left, and {span(least)} were asked for"
    return UsageError(f"session for {name}", why, f"Ask for less, or see: keyturn set {name} duration=...")
