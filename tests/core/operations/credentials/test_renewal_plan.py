"""Renewal times as a function of rows, retry states and the present time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.model.profile import Delivery, Kind, Profile, Renew, Session, due_at
from keyturn.profiles import renewal_policy
from keyturn.profiles.renewal_policy import FIRST_PAUSE, JITTER, MAX_PAUSE, RetryState

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def row(left: timedelta, life: timedelta = HOUR, **other: Any) -> Profile:
    session = Session("ASIAEXAMPLE00000001", NOW + left - life, NOW + left)
    plain = Profile(
        "ci", managed=True, kind=Kind.ROLE, session=session, renew=Renew.AUTO,
        delivery=Delivery.CREDENTIAL_PROCESS, last_use=NOW - HOUR
    )  # fmt: skip
    return replace(plain, **other)


def due(
    *rows: Profile, setbacks: dict[str, RetryState] | None = None, now: datetime = NOW
) -> tuple[str, ...]:
    return renewal_policy.due(rows, setbacks or {}, now)


def test_what_is_in_use_and_due_is_renewed() -> None:
    assert due(row(timedelta(minutes=10))) == ("ci",)
    assert due(row(-HOUR)) == ("ci",), "a machine that slept goes on when it wakes"


@pytest.mark.parametrize(
    "other",
    [
        {"managed": False}, {"session": None}, {"last_use": None}, {"last_use": NOW - timedelta(hours=25)},
        {"renew": Renew.OFF},
        {"renew": Renew.ON_DEMAND}, {"needs_person": True}, {"delivers_key": True},
        {"credential_source": "Environment"}, {"problem": "x"},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_what_nobody_uses_wants_or_can_renew_unasked_is_left(other: dict[str, Any]) -> None:
    assert due(row(timedelta(minutes=10), **other)) == ()


@given(
    st.timedeltas(timedelta(seconds=900), timedelta(hours=36)),
    st.timedeltas(timedelta(hours=-36), timedelta(hours=36)),
)
def test_what_is_planned_is_what_is_done(life: timedelta, left: timedelta) -> None:
    session = row(left, life)
    planned = renewal_policy.renewal_time(session, NOW)
    assert planned is not None
    assert (due(session) == ("ci",)) is (planned <= NOW)


def test_what_ends_first_is_renewed_first() -> None:
    rows = [row(timedelta(minutes=left), name=f"in {left}") for left in (9, 3, 12, 6)]
    assert due(*rows) == ("in 3", "in 6", "in 9", "in 12")


@given(
    st.timedeltas(timedelta(seconds=900), timedelta(hours=36)),
    st.timedeltas(timedelta(0), timedelta(hours=36)),
    st.text(max_size=20),
)
def test_nothing_is_renewed_before_it_is_due_nor_a_minute_after_nor_too_late(
    life: timedelta, passed: timedelta, name: str
) -> None:
    profile = row(life - passed, life, name=name)
    assert profile.session is not None
    assert profile.session.expires is not None
    begins = due_at(profile.session.issued, profile.session.expires)
    found = bool(due(profile))
    if begins > NOW:
        assert not found
    if begins + JITTER < NOW:
        assert found
    if begins + (profile.session.expires - begins) / 4 < NOW:
        assert found, "there is always most of the margin left to try again in"


def test_sessions_of_one_moment_are_not_all_renewed_at_one_moment() -> None:
    session = row(timedelta(minutes=10)).session
    assert session is not None
    spread = {renewal_policy.jitter(f"p{number}", session) for number in range(200)}
    assert len(spread) > 190
    assert min(spread) < JITTER / 10
    assert JITTER * 0.9 < max(spread) <= JITTER


def test_pauses_double_up_to_a_quarter_of_an_hour_and_a_person_ends_them() -> None:
    profile = row(timedelta(minutes=10))
    assert profile.session is not None
    setback, pauses = None, []
    for _ in range(9):
        setback = renewal_policy.after_failure(profile.session, setback, NOW, needs_person=False)
        assert setback.retry_at is not None
        pauses.append(setback.retry_at - NOW)
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert pauses[-1] == MAX_PAUSE
    stopped = renewal_policy.after_failure(profile.session, setback, NOW, needs_person=True)
    for later in (timedelta(0), HOUR, timedelta(days=30)):
        assert due(profile, setbacks={"ci": stopped}, now=NOW + later) == ()


def test_a_setback_of_another_session_is_none_of_this() -> None:
    profile = row(timedelta(minutes=10))
    assert profile.session is not None
    stopped = renewal_policy.after_failure(profile.session, None, NOW, needs_person=True)
    fresh_one = row(timedelta(minutes=9))
    assert due(fresh_one, setbacks={"ci": stopped}) == ("ci",)


def test_a_clock_that_is_set_back_does_not_put_a_try_off_for_longer_than_any_pause() -> None:
    profile = row(timedelta(minutes=10))
    assert profile.session is not None
    later = NOW + timedelta(days=3)
    setback = renewal_policy.after_failure(profile.session, None, later, needs_person=False)
    assert due(profile, setbacks={"ci": setback}) == ("ci",)
    assert due(profile, setbacks={"ci": setback}, now=later) == ()
