"""The sessions to renew at a moment, and the time of the next attempt: the boundaries. Tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.model.profile import Delivery, Kind, Profile, Renew, Session, due_at
from keyturn.profiles.renewal_policy import MAX_PAUSE, RetryState, after_failure, due, jitter, renewal_time

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SESSION = Session("ASIA", NOW - HOUR, NOW + MINUTE)
ROW = Profile(
    "ci",
    managed=True,
    kind=Kind.ROLE,
    session=SESSION,
    renew=Renew.AUTO,
    delivery=Delivery.NOWHERE,
    last_use=NOW,
)


#: A change to a row that would be renewed.
LEFT: list[dict[str, Any]] = [
    {"session": None}, {"session": Session("ASIA", NOW - HOUR, None)}, {"managed": False}, {"problem": "x"},
    {"delivers_key": True}, {"credential_source": "Environment"}, {"needs_person": True},
    {"renew": Renew.OFF},
    {"renew": Renew.ON_DEMAND}, {"renew": None}, {"last_use": None}, {"last_use": NOW - timedelta(hours=24)},
]  # fmt: skip


@pytest.mark.parametrize("change", LEFT, ids=lambda change: next(iter(change)))
def test_what_is_not_renewed_by_itself_has_no_plan(change: dict[str, Any]) -> None:
    row = replace(ROW, **change)
    assert renewal_time(row, NOW) is None
    assert due([row], {}, NOW) == ()


def test_a_delivered_session_is_in_use_though_nobody_asked() -> None:
    assert due([replace(ROW, last_use=None, delivery=Delivery.CREDENTIALS_FILE)], {}, NOW) == ("ci",)


def test_it_is_renewed_from_the_planned_moment_on() -> None:
    long = replace(ROW, session=Session("ASIA", NOW, NOW + 12 * HOUR))
    begins = renewal_time(long, NOW)
    assert begins is not None
    assert due([replace(long, last_use=begins)], {}, begins) == ("ci",)
    assert due([replace(long, last_use=begins)], {}, begins - timedelta(microseconds=1)) == ()


def test_the_plan_is_the_due_moment_and_the_jitter() -> None:
    long = Session("ASIA", NOW, NOW + 12 * HOUR)
    assert renewal_time(replace(ROW, session=long), NOW) == due_at(NOW, NOW + 12 * HOUR) + jitter("ci", long)


def test_of_a_very_short_session_the_jitter_takes_a_quarter_of_what_is_left_at_most() -> None:
    short = Session("ASIA", NOW, NOW + 30 * SECOND)
    begins = [renewal_time(replace(ROW, name=f"p{number}", session=short), NOW) for number in range(20)]
    assert max(row for row in begins if row is not None) == NOW + 22.5 * SECOND
    assert all(row is not None and row >= NOW + 20 * SECOND for row in begins)


def test_the_jitter_spreads_over_a_minute_and_no_more() -> None:
    found = [jitter(f"p{number}", SESSION) for number in range(500)]
    assert timedelta(0) <= min(found) < SECOND
    assert 59 * SECOND < max(found) < MINUTE


def test_the_jitter_is_another_for_each_session_and_the_same_at_each_look() -> None:
    found = {jitter(name, Session("ASIA", None, end)) for name in "abc" for end in (NOW, NOW + SECOND)}
    assert len(found) == 6
    assert jitter("a", Session("ASIA", None, NOW)) == jitter("a", Session("OTHER", NOW, NOW))
    assert jitter("\udcff", SESSION) >= timedelta(0)


def test_what_ends_first_comes_first_and_names_break_a_tie() -> None:
    rows = [replace(ROW, name=name) for name in "ca"]
    rows.append(replace(ROW, name="z", session=replace(SESSION, expires=NOW + SECOND)))
    rows.append(replace(ROW, name="n", session=None))
    assert due(rows, {}, NOW) == ("z", "a", "c")


#: Seconds until the next attempt (None: a user must act), True if it is due now.
TRIES = [
    (timedelta(0), True),
    (-SECOND, True),
    (SECOND, False),
    (MAX_PAUSE, False),
    (MAX_PAUSE + SECOND, True),
    (None, False),
]


@pytest.mark.parametrize(("wait", "is_due"), TRIES, ids=str)
def test_a_session_is_tried_again_after_its_pause(wait: timedelta | None, is_due: bool) -> None:
    setback = RetryState(SESSION, 1, None if wait is None else NOW + wait)
    assert due([ROW], {"ci": setback}, NOW) == (("ci",) if is_due else ())
    assert due([ROW], {"other": setback}, NOW) == ("ci",)
    assert due([ROW], {"ci": replace(setback, session=replace(SESSION, key_id="OTHER"))}, NOW) == ("ci",)


#: Failures before, the pause after one more: 30 s, doubled each time, up to 15 minutes.
PAUSES = [(0, 30), (1, 60), (2, 120), (3, 240), (4, 480), (5, 900), (6, 900), (1000, 900)]


@pytest.mark.parametrize(("failures", "seconds"), PAUSES)
def test_pauses_double_from_half_a_minute_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    before = RetryState(SESSION, failures, NOW) if failures else None
    after = RetryState(SESSION, failures + 1, NOW + seconds * SECOND)
    assert after_failure(SESSION, before, NOW, needs_person=False) == after
    assert after_failure(SESSION, before, NOW, needs_person=True) == replace(after, retry_at=None)


def test_failures_of_another_session_do_not_count() -> None:
    before = RetryState(replace(SESSION, key_id="OTHER"), 5, NOW)
    assert after_failure(SESSION, before, NOW, needs_person=False) == RetryState(
        SESSION, 1, NOW + 30 * SECOND
    )
