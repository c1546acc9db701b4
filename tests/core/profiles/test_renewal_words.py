"""The words about a renewal are true in every condition: a table, and a comparison with the schedule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from keyturn.model.profile import Delivery, Kind, Profile, Renew, Session, Snapshot, VaultState
from keyturn.profiles.renewal_policy import renewal_time
from keyturn.profiles.renewal_words import renewal_summary, renewal_words, why_not_renewed

NOW = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)
FRESH = Session("ASIA", NOW - timedelta(minutes=10), NOW + timedelta(minutes=50))
DUE = Session("ASIA", NOW - timedelta(minutes=50), NOW + timedelta(minutes=10))
EXPIRED = Session("ASIA", NOW - timedelta(hours=2), NOW - timedelta(hours=1))
ON = Snapshot(1, (), vault=VaultState.OPEN, agent=True)
USED = NOW - timedelta(hours=1)
UNUSED = NOW - timedelta(hours=25)


def row(**settings: Any) -> Profile:
    """Return a managed profile in use with a fresh session."""
    base = Profile(
        "ci", managed=True, kind=Kind.IAM_KEY, renew=Renew.AUTO, session=FRESH, last_use=USED,
        delivery=Delivery.CREDENTIAL_PROCESS,
    )  # fmt: skip
    return replace(base, **settings)


WILL_NOT = "so it will not renew"
FILE = Delivery.CREDENTIALS_FILE
#: Profile, snapshot, the words, the summary.
WORDS = [
    (row(), ON, "auto at 20m left", "auto at 20m left"),
    (row(session=DUE), ON, "auto, due now", "auto, due now"),
    (row(session=EXPIRED), ON, "auto, due now", "auto, due now"),
    (row(last_use=None), ON, f"auto, when used: not used in 24 h, {WILL_NOT}", "none: not used in 24 h"),
    (row(last_use=UNUSED), ON, f"auto, when used: not used in 24 h, {WILL_NOT}", "none: not used in 24 h"),
    (row(last_use=UNUSED, session=EXPIRED), ON, f"auto, when used: not used in 24 h, {WILL_NOT}",
     "none: not used in 24 h"),
    (row(last_use=None, delivery=FILE), ON, "auto at 20m left", "auto at 20m left"),
    (row(last_use=None, delivery=FILE, session=None), ON, f"auto, but it has no session, {WILL_NOT}",
     "none: it has no session"),
    (row(session=None), ON, f"auto, but it has no session, {WILL_NOT}", "none: it has no session"),
    (row(session=Session("A", None, None)), ON, f"auto, but its expiry is unknown, {WILL_NOT}",
     "none: its expiry is unknown"),
    (row(needs_person=True), ON, f"auto, but it needs an MFA code, {WILL_NOT}", "none: it needs an MFA code"),
    (row(problem="broken"), ON, f"auto, but its definition has a problem, {WILL_NOT}",
     "none: its definition has a problem"),
    (row(), replace(ON, paused=True), f"auto, but auto-renewal is paused, {WILL_NOT}",
     "none: auto-renewal is paused"),
    (row(), replace(ON, agent=False, vault=VaultState.LOCKED), f"auto, but the vault is locked, {WILL_NOT}",
     "none: the vault is locked"),
    (row(), replace(ON, agent=False, vault=VaultState.CLOSED), f"auto, but no agent is running, {WILL_NOT}",
     "none: no agent is running"),
    (row(), replace(ON, agent=False), f"auto, but no agent is running, {WILL_NOT}",
     "none: no agent is running"),
    (row(renew=Renew.OFF), ON, "off", "off"),
    (row(renew=Renew.ON_DEMAND), ON, "on demand", "on demand"),
    (row(renew=Renew.ON_DEMAND, needs_person=True), ON, "on demand, needs an MFA code",
     "on demand, needs an MFA code"),
    (row(credential_source="Environment"), ON, "on demand, with the caller's credentials",
     "on demand, with the caller's credentials"),
    (row(delivers_key=True), ON, None, None),
    (row(managed=False, renew=None), ON, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "snapshot", "words", "summary"), WORDS)
def test_words_of_a_renewal(
    profile: Profile, snapshot: Snapshot, words: str | None, summary: str | None
) -> None:
    assert renewal_words(profile, snapshot, NOW) == words
    assert renewal_summary(profile, snapshot, NOW) == summary
    assert len(summary or "") <= 40


def test_a_time_is_named_exactly_where_the_agent_has_one() -> None:
    sessions = (None, FRESH, DUE, EXPIRED, Session("A", None, None))
    for session, last_use, person, problem, delivery in product(
        sessions, (None, USED, UNUSED), (False, True), (None, "x"), (Delivery.CREDENTIAL_PROCESS, FILE)
    ):
        profile = row(
            session=session, last_use=last_use, needs_person=person, problem=problem, delivery=delivery
        )
        is_renewed = renewal_time(profile, NOW) is not None
        assert (why_not_renewed(profile, ON, NOW) is None) is is_renewed
        assert ("will not renew" in (renewal_words(profile, ON, NOW) or "")) is not is_renewed
