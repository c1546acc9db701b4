"""The due time of a session, the state of a row, the age of a key, and use. Tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest

from keyturn.model.profile import (
    DEFAULT_ROTATION_DAYS,
    Delivery,
    Key,
    Kind,
    Login,
    LoginState,
    Profile,
    Renew,
    Rotate,
    Rotation,
    RotationState,
    Session,
    State,
    VaultState,
    due_at,
    in_use,
    login_end,
    login_state,
    rotation_of,
    session_state,
    state_of,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))

#: Lifetime of a session, time before expiry at which it is due: 20 minutes or a tenth, a third of a short
#: one.
MARGINS = [
    (15 * MINUTE, 5 * MINUTE),
    (30 * MINUTE, 10 * MINUTE),
    (59 * MINUTE, 59 * MINUTE / 3),
    (HOUR, 20 * MINUTE),
    (200 * MINUTE, 20 * MINUTE),
    (210 * MINUTE, 21 * MINUTE),
    (12 * HOUR, 72 * MINUTE),
    (36 * HOUR, 216 * MINUTE),
]


@pytest.mark.parametrize(("life", "margin"), MARGINS, ids=str)
def test_a_session_is_due_before_its_end(life: timedelta, margin: timedelta) -> None:
    assert due_at(NOW, NOW + life) == NOW + life - margin


@pytest.mark.parametrize("issued", [None, NOW, NOW + HOUR], ids=["unknown", "its end", "after its end"])
def test_without_a_start_that_can_be_the_usual_margin_counts(issued: datetime | None) -> None:
    assert due_at(issued, NOW) == NOW - 20 * MINUTE


def test_a_session_that_ends_in_the_year_one_has_a_moment_when_it_was_due() -> None:
    first = datetime.min.replace(tzinfo=UTC)
    assert due_at(None, first) == first
    assert due_at(None, first + MINUTE) == first
    assert due_at(None, first + HOUR) == first + 40 * MINUTE


def session(left: timedelta | None, life: timedelta = HOUR) -> Session:
    ends = None if left is None else NOW + left
    return Session("ASIA", None if ends is None else ends - life, ends)


#: Session, its state.
STATES = [
    (None, State.NONE),
    (session(None), State.UNKNOWN),
    (session(HOUR), State.FRESH),
    (session(20 * MINUTE + SECOND), State.FRESH),
    (session(20 * MINUTE), State.SOON),
    (session(SECOND), State.SOON),
    (session(timedelta(0)), State.EXPIRED),
    (session(-SECOND), State.EXPIRED),
]


@pytest.mark.parametrize(("session", "state"), STATES, ids=range(len(STATES)))
def test_the_state_of_a_session(session: Session | None, state: State) -> None:
    assert session_state(session, NOW) is state


MANAGED = Profile("ci", managed=True)
#: Row, the state while the vault is locked, and while it is open.
ROWS = [
    (Profile("ci"), State.NONE, State.NONE),
    (replace(Profile("ci"), session=session(-HOUR)), State.EXPIRED, State.EXPIRED),
    (MANAGED, State.LOCKED, State.NONE),
    (replace(MANAGED, session=session(-HOUR)), State.LOCKED, State.EXPIRED),
    (replace(MANAGED, session=session(MINUTE)), State.SOON, State.SOON),
    (replace(MANAGED, session=session(HOUR)), State.FRESH, State.FRESH),
    (replace(MANAGED, session=session(None)), State.UNKNOWN, State.UNKNOWN),
    (replace(MANAGED, delivers_key=True), State.LONG_TERM, State.LONG_TERM),
    (Profile("ci", plaintext_key=True, session=session(-HOUR)), State.LONG_TERM, State.LONG_TERM),
    (replace(MANAGED, problem="x", session=session(HOUR)), State.BROKEN, State.BROKEN),
    (replace(MANAGED, problem="x", delivers_key=True), State.BROKEN, State.BROKEN),
]


@pytest.mark.parametrize(("row", "locked", "opened"), ROWS, ids=range(len(ROWS)))
def test_the_state_of_a_row(row: Profile, locked: State, opened: State) -> None:
    for vault in (VaultState.LOCKED, VaultState.BROKEN):
        assert state_of(row, vault, NOW) is locked
    for vault in (VaultState.OPEN, VaultState.CLOSED, VaultState.ABSENT):
        assert state_of(row, vault, NOW) is opened


def login(until: timedelta, renewable: timedelta | None = None, **changes: Any) -> Login:
    """Return a sign-in whose token ends at `until`, renewable until `renewable`, both from now."""
    made = Login("acme", Kind.SSO_ROLE, NOW + until)
    if renewable is not None:
        made = replace(made, is_renewable=True, renewable_until=NOW + renewable)
    return replace(made, **changes)


#: Sign-in, its state, and its end from now if that is known.
LOGINS = [
    (login(SECOND), LoginState.SIGNED_IN, SECOND),
    (login(timedelta(0)), LoginState.ENDED, timedelta(0)),
    (login(-DAY), LoginState.ENDED, -DAY),
    (login(HOUR, DAY), LoginState.SIGNED_IN, DAY),
    (login(timedelta(0), SECOND), LoginState.RENEWABLE, SECOND),
    (login(-DAY, SECOND), LoginState.RENEWABLE, SECOND),
    (login(-DAY, timedelta(0)), LoginState.ENDED, timedelta(0)),
    (login(-DAY, -HOUR), LoginState.ENDED, -HOUR),
    (login(HOUR, -HOUR), LoginState.SIGNED_IN, HOUR),
    (login(-SECOND, -HOUR), LoginState.ENDED, -SECOND),
    (login(HOUR, is_renewable=True), LoginState.SIGNED_IN, None),
    (login(-DAY, is_renewable=True), LoginState.RENEWABLE, None),
]


@pytest.mark.parametrize(("login", "state", "end"), LOGINS, ids=range(len(LOGINS)))
def test_the_state_of_a_sign_in(login: Login, state: LoginState, end: timedelta | None) -> None:
    assert login_state(login, NOW) is state
    assert login_end(login) == (None if end is None else NOW + end)


SIGNED_IN, RENEWABLE, ENDED = login(HOUR), login(-HOUR, DAY), login(-HOUR)
#: Session, sign-in, the state of their profile.
WITH_LOGIN = [
    (None, SIGNED_IN, State.NONE),
    (None, RENEWABLE, State.NONE),
    (None, ENDED, State.EXPIRED),
    (session(HOUR), SIGNED_IN, State.FRESH),
    (session(HOUR), RENEWABLE, State.FRESH),
    (session(HOUR), ENDED, State.FRESH),
    (session(MINUTE), RENEWABLE, State.SOON),
    (session(MINUTE), ENDED, State.SOON),
    (session(-MINUTE), SIGNED_IN, State.NONE),
    (session(-MINUTE), RENEWABLE, State.NONE),
    (session(-MINUTE), ENDED, State.EXPIRED),
    (session(None), ENDED, State.UNKNOWN),
]


@pytest.mark.parametrize(("session", "login", "state"), WITH_LOGIN, ids=range(len(WITH_LOGIN)))
def test_a_profile_is_expired_only_if_its_next_use_needs_a_sign_in(
    session: Session | None, login: Login, state: State
) -> None:
    row = Profile("dev", kind=Kind.SSO_ROLE, session=session, login=login)
    assert state_of(row, VaultState.ABSENT, NOW) is state
    assert state_of(replace(row, problem="x"), VaultState.ABSENT, NOW) is State.BROKEN
    locked = State.LOCKED if state in (State.NONE, State.EXPIRED) else state
    assert state_of(replace(row, managed=True), VaultState.LOCKED, NOW) is locked


#: Session of a role that another profile signs for, its sign-in, its state.
OF_A_CHAIN = [
    (None, SIGNED_IN, State.NONE),
    (None, ENDED, State.NONE),
    (session(HOUR), ENDED, State.FRESH),
    (session(-MINUTE), SIGNED_IN, State.NONE),
    (session(-MINUTE), RENEWABLE, State.NONE),
    (session(-MINUTE), ENDED, State.EXPIRED),
]


@pytest.mark.parametrize(("session", "login", "state"), OF_A_CHAIN, ids=range(len(OF_A_CHAIN)))
def test_a_role_may_outlive_the_sign_in_of_its_source(
    session: Session | None, login: Login, state: State
) -> None:
    row = Profile("role", kind=Kind.ROLE, session=session, login=login, chain=("dev",))
    assert state_of(row, VaultState.ABSENT, NOW) is state


def aged(days: float) -> Key:
    return Key("AKIA", created=NOW - days * DAY, last_used=NOW - HOUR)


#: Age in days, limit, state, displayed age and limit.
AGES = [
    (0, 90, RotationState.OK, 0, 90),
    (67.9, 90, RotationState.OK, 67, 90),
    (68, 90, RotationState.DUE, 68, 90),
    (3, 4, RotationState.DUE, 3, 4),
    (2, 4, RotationState.OK, 2, 4),
    (89.9, 90, RotationState.DUE, 89, 90),
    (90, 90, RotationState.OVERDUE, 90, 90),
    (400, 90, RotationState.OVERDUE, 400, 90),
    (-1, 90, RotationState.OK, 0, 90),
    (400, 0, RotationState.OFF, 400, None),
    (400, None, RotationState.OFF, 400, None),
]


@pytest.mark.parametrize(("days", "limit", "state", "age", "shown"), AGES, ids=range(len(AGES)))
def test_a_key_is_due_from_three_quarters_of_its_policy_on(
    days: float, limit: int | None, state: RotationState, age: int, shown: int | None
) -> None:
    assert rotation_of(aged(days), limit, NOW) == Rotation(state, age, shown, NOW - HOUR, None)


def test_the_age_of_a_key_that_iam_was_not_asked_about_is_unknown() -> None:
    assert rotation_of(Key("AKIA"), 90, NOW) == Rotation(RotationState.UNKNOWN, None, 90)
    assert rotation_of(Key("AKIA"), 0, NOW).state is RotationState.OFF


def test_where_there_is_no_key_there_is_no_rotation_unless_one_waits() -> None:
    assert rotation_of(None, 90, NOW) == Rotation(RotationState.NOT_APPLICABLE)
    assert rotation_of(None, 90, NOW, pending_step="stored") == Rotation(
        RotationState.IN_PROGRESS, pending_step="stored"
    )


def test_a_rotation_that_waits_comes_before_every_age() -> None:
    for key, limit in ((aged(400), 90), (aged(400), 0), (Key("AKIA"), 90)):
        found = rotation_of(key, limit, NOW, pending_step="stored")
        assert (found.state, found.pending_step) == (RotationState.IN_PROGRESS, "stored")


#: Row, True if it is in use.
USES = [
    (Profile("ci"), False),
    (Profile("ci", session=session(HOUR)), False),
    (Profile("ci", delivery=Delivery.CREDENTIALS_FILE), False),
    (Profile("ci", delivery=Delivery.CREDENTIALS_FILE, session=session(HOUR)), True),
    (Profile("ci", delivery=Delivery.CREDENTIALS_FILE, last_use=NOW), True),
    (Profile("ci", delivery=Delivery.CREDENTIAL_PROCESS, session=session(HOUR)), False),
    (Profile("ci", last_use=NOW), True),
    (Profile("ci", last_use=NOW - DAY + SECOND), True),
    (Profile("ci", last_use=NOW - DAY), False),
]


@pytest.mark.parametrize(("row", "used"), USES, ids=range(len(USES)))
def test_in_use_is_what_is_delivered_or_was_asked_for_within_a_day(row: Profile, used: bool) -> None:
    assert in_use(row, NOW) is used


#: The words of `list --json`, `vault status` and `profiles.toml`, which scripts and files depend on.
WORDS: list[tuple[type[StrEnum], str]] = [
    (
        Kind,
        (
            "iam-key role sso-role saml-role web-identity console-login process mfa-session static-session "
            "unknown"
        ),
    ),
    (State, "fresh soon expired unknown none long-term broken locked"),
    (LoginState, "signed-in renewable ended"),
    (Delivery, "credential-process credentials-file nowhere native"),
    (RotationState, "ok due overdue in-progress off unknown n/a"),
    (Renew, "auto on-demand off"),
    (Rotate, "ask auto"),
    (VaultState, "absent locked closed open broken"),
]


@pytest.mark.parametrize(("words", "documented"), WORDS, ids=[words.__name__ for words, _ in WORDS])
def test_words_are_those_that_are_documented(words: type[StrEnum], documented: str) -> None:
    assert [str(word) for word in words] == documented.split()


def test_a_key_has_ninety_days_by_default() -> None:
    assert DEFAULT_ROTATION_DAYS == 90
