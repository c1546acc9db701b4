"""Credentials for one program: a session of any profile, managed or native, with a minimum time left."""

from __future__ import annotations

from datetime import datetime, timedelta

from keyturn.delivery import credential_process
from keyturn.model.errors import THEN_RUN, Remedy, UsageError
from keyturn.model.profile import State, session_state
from keyturn.model.text import span
from keyturn.operations.context import Context
from keyturn.operations.credentials import refresh, session_cache
from keyturn.operations.credentials.refresh import RECORD_USE_EVERY
from keyturn.operations.key_delivery import hands_out_key
from keyturn.operations.operation import operation
from keyturn.profiles.inventory import Inventory
from keyturn.providers.base import FetchedSession


@operation("hand", min_left="least_seconds")
def get_credentials(
    context: Context, name: str, min_left: timedelta | None = None, code: str | None = None
) -> str:
    """Return the credential document of a profile, managed or native. Nothing is delivered elsewhere.

    :param min_left: minimum time left. Without it a fresh session is returned, or a valid one if it cannot be
        renewed.
    :param code: an MFA code for a new session.
    :raises NotFound: if there is no such profile.
    :raises UsageError: if no session of this profile lasts as long as `min_left`.
    :raises NeedsInteraction: if a person must renew it first.
    """
    return credential_document(context, name, min_left, code, is_remote=False)


def credential_document(
    context: Context, name: str, min_left: timedelta | None, code: str | None, *, is_remote: bool
) -> str:
    """Return the document for :func:`get_credentials` or a forwarded socket.

    :param is_remote: the caller is another machine. No `mfa_command` is run for it, and it cannot make
        keyturn call AWS repeatedly.
    """
    inventory = context.begin()
    session_cache.require_own_environment(context, inventory, name)
    with context.log_failure(name, "hand out"):
        row = inventory.row(name)
        definition = inventory.definitions.get(name)
        if definition is None:
            inventory.require_definitions()
        context.require_open_for(row)
        account = None if row.account_derived else row.account
        if definition is not None and hands_out_key(context, inventory, definition):
            refresh.record_use(context, name, inventory)
            return credential_process.document(context.key(definition.key or name), account)
        refresh.require_refreshable(row)
        refresh.record_use(context, name, inventory)
        fetched = _find_session(context, inventory, name, min_left, code, is_remote=is_remote)
        _require_min_left(name, fetched, min_left, context.clock())
        return credential_process.document(fetched.issued.credentials, account)


def _find_session(
    context: Context,
    inventory: Inventory,
    name: str,
    min_left: timedelta | None,
    code: str | None,
    *,
    is_remote: bool,
) -> FetchedSession:
    refresher = session_cache.refresher(context, inventory, has_commands=not is_remote)
    cached = refresher.cached(name)
    if cached is not None and code is None and _is_long_enough(cached, min_left, context.clock()):
        return cached
    if is_remote and cached is not None and min_left is not None:
        _require_lifetime(name, cached, min_left)
    return refresh.renewed_session(
        context, inventory, refresher, name, cached,
        for_whom="a program", code=code, may_use_cached=min_left is None and code is None,
    )  # fmt: skip


def _require_lifetime(name: str, cached: FetchedSession, min_left: timedelta) -> None:
    """Check that a new session would last for `min_left`, judged by the lifetime of the cached one."""
    expires = cached.issued.credentials.expires
    if expires is not None and expires - cached.requested_at - RECORD_USE_EVERY < min_left:
        raise _too_short(name, min_left, expires - cached.requested_at)


def _is_long_enough(fetched: FetchedSession, min_left: timedelta | None, now: datetime) -> bool:
    if min_left is None:
        return session_state(fetched.facts(), now) is State.FRESH
    return fetched.issued.credentials.expires is None or fetched.issued.credentials.expires - now >= min_left


def _require_min_left(name: str, fetched: FetchedSession, min_left: timedelta | None, now: datetime) -> None:
    expires = fetched.issued.credentials.expires
    if min_left is not None and expires is not None and expires - now < min_left:
        raise _too_short(name, min_left, expires - now)


def _too_short(name: str, min_left: timedelta, left: timedelta) -> UsageError:
    return UsageError(
        f"Could not get credentials of {name}",
        f"its session has {span(left)} left, {span(min_left)} were requested",
        ("Request less, or ", THEN_RUN, Remedy("set", name, "duration=DURATION")),
    )
