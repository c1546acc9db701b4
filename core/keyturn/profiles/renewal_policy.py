"""Which sessions are renewed now, and when one that could not be is tried again. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.model.profile import Profile, Renew, Session, due_at, in_use

#: Sessions that were made together are not renewed together.
JITTER = timedelta(seconds=60)
#: After a failure; twice as long after each further one, up to `LONGEST_PAUSE`.
FIRST_PAUSE = timedelta(seconds=30)
MAX_PAUSE = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class RetryState:
    """What became of the last tries to renew one session."""

    session: Session
    """The session that was to be renewed; for another one this says nothing."""
    failures: int
    retry_at: datetime | None
    """When to try again, aware UTC; None where only a person can go on."""


def due(rows: Iterable[Profile], retries: Mapping[str, RetryState], now: datetime) -> tuple[str, ...]:
    """The profiles whose sessions are renewed at `now`, the one that ends first before the others.

    A session that was stopped, or never fetched, is none to renew. Nothing is remembered but setbacks, so a clock that
    jumps, or a machine that slept, changes the answer at the next look and nothing else.
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
    """A setback more."""
    failures = previous.failures + 1 if previous is not None and previous.session == session else 1
    pause = min(FIRST_PAUSE * 2 ** min(failures - 1, 10), MAX_PAUSE)
    return RetryState(session, failures, None if needs_person else now + pause)


def jitter(name: str, session: Session) -> timedelta:
    """Up to `JITTER`, another for each session and the same at each look."""
    digest = hashlib.sha256(f"{name}\0{session.expires}".encode("utf-8", "surrogateescape")).digest()
    return JITTER * (int.from_bytes(digest[:4], "big") / 2**32)


def renewal_time(row: Profile, now: datetime) -> datetime | None:
    """From when on the agent renews this session by itself, aware UTC; may lie in the past. None where it does not:
    the profile is not in use at `now`, wants a person, or is not to be renewed."""
    session = row.session
    if session is None or session.expires is None:
        return None
    if not row.managed or row.problem or row.delivers_key or row.credential_source or row.needs_person:
        return None
    if row.renew is not Renew.AUTO or not in_use(row, now):
        return None
    # A short session has less than a minute between due and over: the jitter takes a part of what is left, at most.
    due_from = due_at(session.issued, session.expires)
    return due_from + min(jitter(row.name, session), (session.expires - due_from) / 4)


def _may_be_tried(session: Session, retry: RetryState | None, now: datetime) -> bool:
    if retry is None or retry.session != session:
        return True
    if retry.retry_at is None:
        return False
    # Further away than any pause is only what a clock noted that has been set back since.
    return now >= retry.retry_at or retry.retry_at - now > MAX_PAUSE
