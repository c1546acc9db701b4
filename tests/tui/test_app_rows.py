"""The list as a pure function: filter language, orders, groups, and the words in the cells."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from keyturn.model.labels import REACHED_WORDS, WAITING_WORDS
from keyturn.model.profile import (
    Delivery,
    Failure,
    FileProblem,
    Kind,
    Login,
    LoginState,
    Profile,
    Rotation,
    RotationState,
    Session,
    Snapshot,
    State,
    VaultState,
)
from keyturn.model.text import ASCII, UNICODE
from keyturn.operations.rotation.record import Step
from keyturn.profiles.filter import Query, parse
from keyturn_tui.rendering.profile_cells import View, fit, left_text, rotation_cell, state_glyph
from keyturn_tui.rendering.profile_detail import describe, profile_summary
from keyturn_tui.rendering.profile_rows import (
    Entry,
    Group,
    Problem,
    Row,
    Sort,
    catalog,
    count,
    deadlines,
    filter_rows,
    sort_rows,
)
from tests.tui.sample_profiles import NOW, believable

SNAPSHOT = Snapshot(1, tuple(believable()), vault=VaultState.OPEN)


def rows_for(
    snapshot: Snapshot, now: datetime, query: Query, sort: Sort, *, backwards: bool = False
) -> tuple[Row, ...]:
    """Return the rows for a snapshot, as the main screen makes them."""
    view = View(snapshot, now)
    return filter_rows(sort_rows(catalog(snapshot), view, sort, backwards=backwards), query, view, sort)


def names(text: str, sort: Sort = Sort.NAME, snapshot: Snapshot = SNAPSHOT) -> list[str]:
    rows = rows_for(snapshot, NOW, parse(text), sort)
    return [row.profile.name for row in rows if isinstance(row, Entry)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme prod", ["acme-prod-readonly"]),
        ("ACME PROD", ["acme-prod-readonly"]),
        ("type:sso", ["acme-dev-admin", "acme-dev-readonly", "acme-prod-readonly", "acme-sandbox"]),
        ("type:sso !dev", ["acme-prod-readonly", "acme-sandbox"]),
        ("state:expired", ["ci-deploy-mfa", "terraform"]),
        ("state:expired type:role", ["terraform"]),
        ("!state:expired ci-", ["ci-audit", "ci-deploy"]),
        ("state:overdue", ["ci-deploy"]),
        ("state:broken", ["old-vpn"]),
        ("acct:4444", ["acme-prod-readonly", "ci-deploy", "ci-deploy-mfa", "legacy-import", "terraform"]),
        ("acct:4444 !type:role", ["ci-deploy", "ci-deploy-mfa", "legacy-import"]),
        ("auditor:x", []),
        ("state: terra", ["terraform"]),
        ("! terra", ["terraform"]),
        ("arn:aws:iam::123412341234", ["ci-audit"]),
    ],
)
def test_filter(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_an_empty_filter_shows_all() -> None:
    assert len(names("")) == len(believable())
    assert not parse("   ")


def test_rows_are_grouped_by_what_expires_together() -> None:
    rows = rows_for(SNAPSHOT, NOW, parse(""), Sort.SOURCE)
    shown = [row.label if isinstance(row, Group) else row.key[1] for row in rows]
    assert shown[:6] == [
        "acme-corp (SSO)",
        "acme-dev-admin",
        "acme-dev-readonly",
        "acme-prod-readonly",
        "acme-sandbox",
        "ci-deploy (IAM user, access key)",
    ]
    assert shown[6] == "ci-deploy", "the key's own profile comes first in its group"
    assert shown[shown.index("Standalone") + 1 :] == ["backup", "legacy-import", "old-vpn", "personal"]


def test_a_group_without_rows_has_no_heading() -> None:
    rows = rows_for(SNAPSHOT, NOW, parse("terraform"), Sort.SOURCE)
    assert [type(row).__name__ for row in rows] == ["Group", "Entry"]


def test_attention_puts_what_wants_a_person_first() -> None:
    order = names("", Sort.ATTENTION)
    assert order[0] == "old-vpn"
    assert order[1:3] == ["ci-deploy-mfa", "terraform"], "expired while in use"
    assert order[3] == "ci-deploy", "an overdue key"
    assert order[4] == "acme-prod-readonly", "soon"
    assert order[-1] == "acme-sandbox", "never used"


def test_time_left_puts_the_next_to_end_first_and_reverse_turns_it_round() -> None:
    forward = rows_for(SNAPSHOT, NOW, parse(""), Sort.LEFT)
    backward = rows_for(SNAPSHOT, NOW, parse(""), Sort.LEFT, backwards=True)
    assert forward[0].key == ("profile", "ci-deploy-mfa")
    assert list(reversed(forward)) == list(backward)


def test_unreadable_files_come_first_and_pass_every_filter() -> None:
    broken = replace(SNAPSHOT, problems=(FileProblem("/home/jo/.aws/config", 3, "no header"),))
    rows = rows_for(broken, NOW, parse("nothing-like-it"), Sort.ATTENTION)
    assert [type(row) for row in rows] == [Problem]


def profile(**fields: object) -> Profile:
    return replace(Profile("p", managed=True), **fields)  # type: ignore[arg-type]  # rows of the tables below


def ends_in(seconds: float, life: float = 3600) -> Session:
    end = NOW + timedelta(seconds=seconds)
    return Session("ASIAEXAMPLE00000001", end - timedelta(seconds=life), end)


def signed_in(seconds: float, **changes: Any) -> Login:
    """Return a sign-in whose token expires in `seconds`."""
    return replace(Login("acme", Kind.SSO_ROLE, NOW + timedelta(seconds=seconds)), **changes)


@pytest.mark.parametrize(
    ("fields", "glyph", "left"),
    [
        ({"session": ends_in(3120)}, "●", "52m"),
        ({"session": ends_in(271)}, "◐", "4m 31s"),
        ({"session": ends_in(9)}, "◐", "09s"),
        ({"session": ends_in(0)}, "○", "expired"),
        ({"session": ends_in(86400 * 400, 86400 * 500)}, "●", "400d 0h"),
        ({}, "-", "none"),
        ({"session": Session("ASIAX", None, None)}, "?", "unknown"),
        ({"plaintext_key": True}, "■", "key"),
        ({"plaintext_key": True, "rotation": Rotation(RotationState.OK, 12, 90)}, "■", "key 12d"),
        ({"delivers_key": True, "rotation": Rotation(RotationState.OK, 1234, 0)}, "■", "key 1234d"),
        ({"problem": "no"}, "✗", "broken"),
        ({"login": signed_in(60)}, "-", "signed in"),
        ({"login": signed_in(60), "session": ends_in(-5)}, "-", "signed in"),
        ({"login": signed_in(60), "session": ends_in(3120)}, "●", "52m"),
        ({"login": signed_in(-60, is_renewable=True)}, "-", "renewable"),
        ({"login": signed_in(-60, is_renewable=True), "session": ends_in(-5)}, "-", "renewable"),
        ({"login": signed_in(-60)}, "○", "expired"),
        ({"login": signed_in(-60), "chain": ("sso",)}, "-", "none"),
        ({"login": signed_in(-60), "chain": ("sso",), "session": ends_in(-5)}, "○", "expired"),
        ({"login": signed_in(-60), "session": ends_in(3120)}, "●", "52m"),
    ],
)
def test_left_cell(fields: dict[str, object], glyph: str, left: str) -> None:
    view = View(Snapshot(1, (), vault=VaultState.OPEN), NOW)
    chosen = profile(**fields)
    assert state_glyph(chosen, view)[0] == glyph
    assert left_text(chosen, view) == left
    assert len(left) <= 9


def test_a_locked_vault_shows_only_where_it_is_in_the_way() -> None:
    view = View(Snapshot(1, (), vault=VaultState.LOCKED), NOW)
    assert left_text(profile(), view) == "locked"
    assert left_text(profile(session=ends_in(-5)), view) == "locked"
    assert left_text(profile(session=ends_in(1800)), view) == "30m"
    assert left_text(profile(managed=False), view) == "none"


def test_working_shows_while_an_operation_is_in_flight() -> None:
    view = View(Snapshot(1, ()), NOW, working=frozenset({"p"}))
    assert (state_glyph(profile(), view)[0], left_text(profile(), view)) == ("↻", "working")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rotation": Rotation(RotationState.OK, 12, 90)}, "ok, due 78d"),
        ({"rotation": Rotation(RotationState.DUE, 71, 90)}, "▲ due 19d"),
        ({"rotation": Rotation(RotationState.OVERDUE, 94, 90)}, "▲ overdue 4d"),
        ({"rotation": Rotation(RotationState.IN_PROGRESS, 94, 90, pending_step="created")}, "new created"),
        (
            {
                "rotation": Rotation(RotationState.IN_PROGRESS, 94, 90, pending_step="stored"),
                "failure": Failure(NOW, "no"),
            },
            "new stored",
        ),
        ({"rotation": Rotation(RotationState.UNKNOWN, None, 90)}, "unknown"),
        ({"rotation": Rotation(RotationState.OFF, 94)}, "off"),
        ({}, "auto"),
        ({"managed": False}, "native"),
        ({"problem": "no"}, "-"),
        ({"failure": Failure(NOW, "refresh of p: no")}, "✗ failed 14:05"),
    ],
)
def test_rotation_cell(fields: dict[str, object], words: str) -> None:
    view = View(Snapshot(1, ()), NOW)
    text, _ = rotation_cell(profile(**fields), view)
    assert text == words
    assert cell_len(text) <= 14


def test_every_step_that_a_rotation_waits_at_has_words_short_enough_for_a_row() -> None:
    steps = {str(step) for step in Step if not step.is_last} | {"undoing"}
    assert set(REACHED_WORDS) == set(WAITING_WORDS) == steps
    assert max(map(cell_len, REACHED_WORDS.values())) <= 11


def test_every_state_has_a_sign_of_its_own_in_both_sets() -> None:
    for glyphs in (UNICODE, ASCII):
        signs = (
            glyphs.fresh,
            glyphs.soon,
            glyphs.expired,
            glyphs.none,
            glyphs.long_term,
            glyphs.unknown,
            glyphs.broken,
        )
        assert len(set(signs)) == len(signs)
        assert all(cell_len(sign) == 1 for sign in signs)


@pytest.mark.parametrize(
    "text", ["short", "x" * 300, "日本語" * 40, "a\u202eb\x1b[31m", "", "e\u0301" * 30, "❤\ufe0f" * 20]
)
def test_fit_gives_exactly_the_cells_asked_for(text: str) -> None:
    for width in (1, 2, 7, 23, 64):
        assert cell_len(fit(text, width)) == width
        assert "\x1b" not in fit(text, width)


def test_counts() -> None:
    counts = count(SNAPSHOT.profiles, View(SNAPSHOT, NOW))
    assert (counts.total, counts.overdue) == (12, 1)
    assert counts.by_state == {
        State.FRESH: 4, State.SOON: 1, State.EXPIRED: 2, State.NONE: 1, State.LONG_TERM: 2, State.BROKEN: 1,
        State.LOCKED: 0, State.UNKNOWN: 1,
    }  # fmt: skip


def test_deadlines_are_the_moments_at_which_states_change() -> None:
    one = profile(session=ends_in(3600, 3600))
    assert deadlines([one]) == [NOW + timedelta(minutes=40), NOW + timedelta(hours=1)]
    assert deadlines([profile(), profile(session=Session("ASIAX", None, None))]) == []
    renewable = signed_in(60, is_renewable=True, renewable_until=NOW + timedelta(days=1))
    assert deadlines([profile(login=renewable)]) == [NOW + timedelta(minutes=1), NOW + timedelta(days=1)]
    assert deadlines([profile(login=signed_in(60))]) == [NOW + timedelta(minutes=1)]


#: Fields of a native profile, what its details tell of its state and of its sign-in, the summary's last line.
DETAILS: list[tuple[dict[str, object], str, str, str]] = [
    (
        {"login": signed_in(3600)},
        "- none: no valid session cached",
        "signed in, 1h 00m left",
        "login signed in, 1h 00m left",
    ),
    (
        {"login": signed_in(-60, is_renewable=True)},
        "- none: no valid session cached",
        "renews on use, while its portal session lasts",
        "login renews on use, while its portal session lasts",
    ),
    (
        {"login": signed_in(-86400)},
        "○ expired: sign in again",
        "ended 24h ago; sign in again: aws sso login --profile p",
        "login ended 24h ago; sign in again: aws sso login --profile p",
    ),
    (
        {"login": signed_in(-60), "chain": ("r", "my sso"), "kind": Kind.ROLE},
        "- none: no valid session cached",
        "ended 1m ago; sign in again: aws sso login --profile 'my sso'",
        "login ended 1m ago; sign in again: aws sso login --profile 'my sso'",
    ),
    (
        {"login": signed_in(-60, kind=Kind.CONSOLE_LOGIN), "kind": Kind.CONSOLE_LOGIN},
        "○ expired: sign in again",
        "ended 1m ago; sign in again: aws login --profile p",
        "login ended 1m ago; sign in again: aws login --profile p",
    ),
    (
        {"session": Session("ASIAX", None, None), "kind": Kind.STATIC_SESSION},
        "? temporary credentials, expiry unknown",
        "",
        "native: resolved by the AWS CLI and SDKs",
    ),
]


@pytest.mark.parametrize(("fields", "state", "login", "summary"), DETAILS, ids=range(len(DETAILS)))
def test_the_details_tell_of_the_sign_in(
    fields: dict[str, object], state: str, login: str, summary: str
) -> None:
    view = View(Snapshot(1, ()), NOW)
    chosen = replace(profile(managed=False, kind=Kind.SSO_ROLE), **fields)  # type: ignore[arg-type]  # rows above
    shown = describe(chosen, view, 200)
    facts = {
        "".join(text for text, _ in label): "".join(text for text, _ in value)
        for label, value in zip(shown.labels, shown.values, strict=True)
    }
    assert facts["State"] == state
    assert facts.get("Login", "") == login
    assert profile_summary(chosen, view)[1][0][0].strip() == summary


def test_a_sign_in_is_found_by_its_state() -> None:
    rows = tuple(
        replace(profile(kind=Kind.SSO_ROLE, login=login), name=name)
        for name, login in (
            ("in", signed_in(60)), ("renewable", signed_in(-60, is_renewable=True)), ("out", signed_in(-60)),
        )
    )  # fmt: skip
    found = {state: names(f"state:{state}", snapshot=Snapshot(1, rows)) for state in LoginState}
    assert found == {"signed-in": ["in"], "renewable": ["renewable"], "ended": ["out"]}


def test_a_snapshot_of_5000_is_listed_and_filtered() -> None:
    many = tuple(
        Profile(f"p{nth:04d}", kind=Kind.ROLE, source=f"s{nth % 9}", delivery=Delivery.NATIVE)
        for nth in range(5000)
    )
    assert len(catalog(Snapshot(1, many)).entries) == 5000
    assert names("p4999", snapshot=Snapshot(1, many)) == ["p4999"]
