"""Words for what will happen to a profile's session: when it is renewed, or why it is not. Pure functions."""

from __future__ import annotations

from datetime import datetime

from keyturn.model.profile import Delivery, Profile, Renew, Snapshot, VaultState, due_at, in_use
from keyturn.model.text import span

#: The profile is not in use, as :func:`keyturn.model.profile.in_use` defines it.
UNUSED = "not used in 24 h"


def renewal_words(row: Profile, snapshot: Snapshot, now: datetime) -> str | None:
    """Return when a profile's session is renewed and why it will not be, or None if it has no renewal: a
    native profile, or one that delivers its long-term key.
    """
    obstacle = why_not_renewed(row, snapshot, now)
    policy = _policy(row)
    if policy is None or row.renew is not Renew.AUTO or row.credential_source:
        return policy
    if obstacle == UNUSED:
        return f"auto, when used: {UNUSED}, so it will not renew"
    if obstacle is not None:
        return f"auto, but {obstacle}, so it will not renew"
    return _time(row, now)


def renewal_summary(row: Profile, snapshot: Snapshot, now: datetime) -> str | None:
    """Return the same in about 30 characters."""
    obstacle = why_not_renewed(row, snapshot, now)
    policy = _policy(row)
    if policy is None or row.renew is not Renew.AUTO or row.credential_source:
        return policy
    return f"none: {obstacle}" if obstacle is not None else _time(row, now)


def why_not_renewed(row: Profile, snapshot: Snapshot, now: datetime) -> str | None:  # noqa: PLR0911  # one return for each obstacle
    """Return why the session of a profile with the policy `auto` will not be renewed, as a clause, or None.

    The obstacles are those of :func:`keyturn.profiles.renewal_policy.renewal_time`, and those of the agent,
    which alone renews.
    """
    if row.problem is not None:
        return "its definition has a problem"
    if row.delivery is Delivery.CREDENTIALS_FILE and row.session is None:
        return "it has no session"
    if not in_use(row, now):
        return UNUSED
    if row.session is None:
        return "it has no session"
    if row.session.expires is None:
        return "its expiry is unknown"
    if row.needs_person:
        return "it needs an MFA code"
    if not snapshot.agent:
        is_locked = snapshot.vault is VaultState.LOCKED
        return "the vault is locked" if is_locked else "no agent is running"
    return "auto-renewal is paused" if snapshot.paused else None


def _policy(row: Profile) -> str | None:
    """Return the policy in words; None if there is nothing to renew."""
    if not row.managed or row.delivers_key or row.renew is None:
        return None
    if row.renew is Renew.OFF:
        return "off"
    if row.credential_source:
        return "on demand, with the caller's credentials"
    if row.renew is Renew.ON_DEMAND:
        return "on demand, needs an MFA code" if row.needs_person else "on demand"
    return "auto"


def _time(row: Profile, now: datetime) -> str:
    session = row.session
    if session is None or session.expires is None:
        return "auto"
    due = due_at(session.issued, session.expires)
    return "auto, due now" if due <= now else f"auto at {span(session.expires - due)} left"
