"""The filter language: the meaning of a word, and the rows that match. Tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.model.profile import Failure, Kind, Profile, Rotation, RotationState, Session, VaultState
from keyturn.profiles.filter import Query, Term, haystack, parse, state_words, types

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

#: Text, its terms as field, value, negated.
QUERIES = [
    ("", []),
    ("   ", []),
    ("prod", [("", "prod", False)]),
    ("PROD  Admin", [("", "prod", False), ("", "admin", False)]),
    ("type:SSO", [("type", "sso", False)]),
    ("state:expired", [("state", "expired", False)]),
    ("acct:4444", [("acct", "4444", False)]),
    ("!state:expired", [("state", "expired", True)]),
    ("!prod", [("", "prod", True)]),
    ("state:", []),
    ("!state:", []),
    ("!", []),
    ("!!x", [("", "!x", True)]),
    ("arn:aws", [("", "arn:aws", False)]),
    ("type:a:b", [("type", "a:b", False)]),
    ("type", [("", "type", False)]),
    (":x", [("", ":x", False)]),
    ("a! b", [("", "a!", False), ("", "b", False)]),
]


@pytest.mark.parametrize(("text", "terms"), QUERIES)
def test_a_filter_is_parsed_into_terms(text: str, terms: list[tuple[str, str, bool]]) -> None:
    assert parse(text) == Query(tuple(Term(*term) for term in terms))
    assert bool(parse(text)) is bool(terms)


ROW = Profile(
    "Prod-Admin", managed=True, kind=Kind.ROLE, source="ci-deploy", account="444455556666",
    role="arn:aws:iam::444455556666:role/Admin", region="eu-west-1", mfa_serial="arn:aws:iam::1:mfa/Alice",
    session=Session("ASIA", NOW - timedelta(hours=2), NOW - timedelta(hours=1)),
    rotation=Rotation(RotationState.IN_PROGRESS),
)  # fmt: skip
#: Filter, True if the row matches.
SHOWN = [
    ("", True),
    ("prod", True),
    ("admin", True),
    ("ci-deploy", True),
    ("444455556666", True),
    ("role/admin", True),
    ("eu-west", True),
    ("mfa/alice", True),
    ("nothing", False),
    ("!nothing", True),
    ("!prod", False),
    ("prod nothing", False),
    ("nothing prod", False),
    ("prod eu-west", True),
    ("expired", True),
    ("expire", False),
    ("managed", True),
    ("manage", False),
    ("type:role", True),
    ("type:assumed", True),
    ("type:sso", False),
    ("!type:sso", True),
    ("acct:4444", True),
    ("acct:5555666", True),
    ("acct:9", False),
    ("state:expired", True),
    ("state:exp", True),
    ("state:xpired", False),
    ("state:in-progress", True),
    ("state:managed", True),
    ("state:native", False),
    ("state:failed", False),
    ("!state:failed", True),
]


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_a_row_is_shown_if_every_term_holds(text: str, shown: bool) -> None:
    assert parse(text).shows(ROW, VaultState.OPEN, NOW) is shown


@pytest.mark.parametrize(("text", "shown"), [("acct:4", False), ("!acct:4", True), ("prod", False)])
def test_what_a_row_does_not_have_is_not_found(text: str, shown: bool) -> None:
    assert parse(text).shows(Profile("ci"), VaultState.OPEN, NOW) is shown


def test_states_are_worked_out_only_where_a_term_needs_them() -> None:
    def never() -> str:
        raise AssertionError("the clock is not needed")

    assert parse("type:role acct:4 !type:sso prod").matches("prod", "role", "444", never)
    assert parse("x y").matches("x", "", "", lambda: "y")


def test_parts_of_a_row_are_not_found_across_each_other() -> None:
    assert haystack(replace(ROW, source=None, region="")) == (
        "prod-admin\n444455556666\narn:aws:iam::444455556666:role/admin\narn:aws:iam::1:mfa/alice"
    )


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_its_words(kind: Kind) -> None:
    found = types(Profile("ci", kind=kind))
    assert found.startswith(f"{kind} ")
    assert found == found.lower()
    assert len(found.split()) > 1


#: Row, vault, its words.
WORDS = [
    (Profile("ci"), VaultState.OPEN, {"none", "n/a", "native"}),
    (Profile("ci", managed=True), VaultState.OPEN, {"none", "n/a", "managed"}),
    (Profile("ci", managed=True), VaultState.LOCKED, {"locked", "n/a", "managed"}),
    (Profile("ci", failure=Failure(NOW, "x")), VaultState.OPEN, {"none", "n/a", "native", "failed"}),
    (Profile("ci", problem="x"), VaultState.OPEN, {"broken", "n/a", "native"}),
    (ROW, VaultState.OPEN, {"expired", "in-progress", "managed"}),
]


@pytest.mark.parametrize(("row", "vault", "words"), WORDS, ids=range(len(WORDS)))
def test_the_states_of_a_row_in_words(row: Profile, vault: VaultState, words: set[str]) -> None:
    assert set(state_words(row, vault, NOW).split()) == words
