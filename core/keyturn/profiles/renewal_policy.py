"""Schedule of automatic renewals and their retries. Pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.model.profile import Profile, Renew, Session, due_at, in_use

#: Spreads the renewals of sessions that were created together.
JITTER = timedelta(seconds=60)
#: Pause after the first failure. It doubles with each further one, up to `MAX_PAUSE`.
FIRST_PAUSE = timedelta(seconds=30)
MAX_PAUSE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class RetryState:
    """Result of the last attempts to renew one session."""

    session: Session
    """The session to be renewed. The state does not apply to any other one."""
    failures: int
    retry_at: datetime | None
    """Time of the next attempt, aware UTC; None if it needs interaction."""


def due(rows: Iterable[Profile], retries: Mapping[str, RetryState], now: datetime) -> tuple[str, ...]:
    """Return the profiles whose sessions should be renewed at `now`, earliest expiry first.

    A session that was stopped or never fetched is not renewed. The result depends on `now` and the retries
    only, so a clock change or a sleep of the machine needs no special handling.
    """
    candidates = [
        (row.session.expires, row.name)
        for row in rows
        if row.session is not None and row.session.expires is not None
        if (renew_at := renewal_time(row, now)) is not None and renew_at <= now
        if _may_be_tried(row.session, retries.get(row.name), now)
    ]
    return tuple(name for _, name in sorted(candidates))


def after_failure(
    session: Session, previous: RetryState | None, now: datetime, *, needs_person: bool
) -> RetryState:
    """Return the retry state after one more failure."""
    failures = previous.failures + 1 if previous is not None and previous.session == session else 1
    pause = min(FIRST_PAUSE * 2 ** min(failures - 1, 10), MAX_PAUSE)
    return RetryState(session, failures, None if needs_person else now + pause)


def jitter(name: str, session: Session) -> timedelta:
    """Return a delay of up to `JITTER`, which is constant for a session and differs between sessions."""
    digest = hashlib.sha256(f"{name}\0{session.expires}".encode("utf-8", "surrogateescape")).digest()
    return JITTER * (int.from_bytes(digest[:4], "big") / 2**32)


def renewal_time(row: Profile, now: datetime) -> datetime | None:
    """Return the time from which the agent renews this session, aware UTC; may be in the past.

    Return None if it does not: the profile is not in use at `now`, needs interaction, or is not renewed
    automatically.
    """
    session = row.session
    if session is None or session.expires is None:
        return None
    if not row.managed or row.problem or row.delivers_key or row.credential_source or row.needs_person:
        return None
    if row.renew is not Renew.AUTO or not in_use(row, now):
        return None
    # A short session may expire within a minute after it is due, so the jitter is at most a quarter of that
    # time.
    due_from = due_at(session.issued, session.expires)
    return due_from + min(jitter(row.name, session), (session.expires - due_from) / 4)


def _may_be_tried(session: Session, retry: RetryState | None, now: datetime) -> bool:
    if retry is None or retry.session != session:
        return True
    if retry.retry_at is None:
        return False
    # A time further away than any pause was recorded before the clock was set back.
    return now >= retry.retry_at or retry.retry_at - now > MAX_PAUSE
