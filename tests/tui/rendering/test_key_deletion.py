"""The facts about a key that a person confirms the deletion of."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keyturn.aws.api import LastUse
from keyturn.model.errors import RotationHalted
from keyturn.model.profile import Key, Profile
from keyturn.operations.rotation.delete_key import DeletionFacts, Obstacle
from keyturn_tui.rendering.key_deletion import last_used_text, lost_key, old_key, other_key
from tests.tui.sample_profiles import NOW

KEY_ID, HELD_ID = "AKIAEXAMPLE00009ZLM", "AKIAEXAMPLE00004WQP"
SHOWN = "AKIA…9ZLM"
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
USER = "arn:aws:iam::444455556666:user/team/ci-user"


# -- the old key of a rotation -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        (None, "of ci-deploy"),
        (Key(HELD_ID), "of ci-deploy"),
        (Key(HELD_ID, user=USER), "of user ci-user"),
        (Key(HELD_ID, user="arn:aws:iam::444455556666:user/ci"), "of user ci"),
    ],
)
def test_the_old_key_is_named_with_its_user_as_far_as_that_is_known(key: Key | None, owner: str) -> None:
    key_to_delete = old_key(DeletionFacts.of(KEY_ID, None, {}), Profile("ci-deploy", key=key), NOW)
    assert key_to_delete.key_id == KEY_ID
    assert key_to_delete.facts[0].startswith(f"{SHOWN} {owner} will be deleted")


def test_a_hostile_name_of_a_profile_is_written_out() -> None:
    fact = old_key(DeletionFacts.of(KEY_ID, None, {}), Profile("a\x1b[2J"), NOW).facts[0]
    assert fact.startswith(f"{SHOWN} of a\\x1b[2J will")


@pytest.mark.parametrize(("length", "shown"), [(76, "b" * 76), (77, "b" * 75 + "…"), (200, "b" * 75 + "…")])
def test_a_long_name_of_a_profile_is_cut(length: int, shown: str) -> None:
    fact = old_key(DeletionFacts.of(KEY_ID, None, {}), Profile("b" * length), NOW).facts[0]
    assert fact.startswith(f"{SHOWN} of {shown} will")


@pytest.mark.parametrize(
    ("use", "words"),
    [
        (None, "Last used: unknown."),
        (LastUse(None), "Last used: never, according to AWS."),
        (LastUse(NOW - 2 * HOUR, "s3", "eu-west-1"), "Last used: 2h ago (s3, eu-west-1)."),
        (LastUse(NOW - 2 * HOUR, "iam"), "Last used: 2h ago (iam)."),
        (LastUse(NOW - 2 * HOUR, None, "eu-west-1"), "Last used: 2h ago (eu-west-1)."),
        (LastUse(NOW - 2 * HOUR), "Last used: 2h ago."),
    ],
)
def test_the_last_use_of_the_old_key_is_said(use: LastUse | None, words: str) -> None:
    assert old_key(DeletionFacts.of(KEY_ID, use, {}), Profile("ci"), NOW).facts[1].endswith(words)


def test_all_warnings_about_the_old_key_are_shown() -> None:
    obstacles = {Obstacle.USED: "it was used 2h ago", Obstacle.GRACE: "it was deactivated an hour ago"}
    key_to_delete = old_key(DeletionFacts.of(KEY_ID, None, obstacles), Profile("ci"), NOW)
    assert key_to_delete.warnings == tuple(obstacles.values())
    assert key_to_delete.obstacles == (Obstacle.USED, Obstacle.GRACE)
    assert old_key(DeletionFacts.of(KEY_ID, None, {}), Profile("ci"), NOW).warnings == ()


# -- a key whose secret never arrived ------------------------------------------------------------


def test_a_key_without_a_secret_is_named_and_the_one_in_use_stays() -> None:
    key_to_delete = lost_key(KEY_ID, "AKIA…4WQP")
    assert (key_to_delete.key_id, key_to_delete.warnings) == (KEY_ID, ())
    assert key_to_delete.facts[0].startswith(f"{SHOWN} will be deleted")
    assert key_to_delete.facts[1].startswith("AKIA…4WQP is not affected and stays in use")


# -- the key in the other slot -------------------------------------------------------------------


def key_at_aws(**changes: Any) -> dict[str, Any]:
    """Return a key as `rotate --status` lists it: idle, active, and not held here."""
    facts = {
        "key_id": KEY_ID, "status": "Active", "age_days": 40, "last_used": None, "last_used_by": None,
        "known": True, "held": None, "busy": None,
    }  # fmt: skip
    return {**facts, **changes}


HELD = key_at_aws(key_id=HELD_ID, held="current", busy="it is in use")


def status(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"profile": "ci", "keys": list(keys)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "active, 40 days old"),
        ({"age_days": 0}, "active, 0 days old"),
        ({"age_days": 1}, "active, 1 day old"),
        ({"age_days": 2, "status": "Inactive"}, "inactive, 2 days old"),
    ],
)
def test_the_other_key_is_named_with_its_status_and_age(changes: dict[str, Any], words: str) -> None:
    key_to_delete = other_key(status(HELD, key_at_aws(**changes)), NOW)
    assert key_to_delete.key_id == KEY_ID
    assert key_to_delete.facts[0].startswith(SHOWN)
    assert f"{words}, " in key_to_delete.facts[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"known": True}, "Last used: never, according to AWS."),
        ({"known": False}, "Last used: unknown."),
        (
            {"last_used": "2026-01-13T14:05:10Z", "last_used_by": "s3, eu-west-1"},
            "Last used: 60d ago (s3, eu-west-1).",
        ),
        ({"last_used": "2026-01-13T14:05:10Z"}, "Last used: 60d ago."),
    ],
)
def test_the_last_use_of_the_other_key_is_said(changes: dict[str, Any], words: str) -> None:
    assert other_key(status(key_at_aws(**changes), HELD), NOW).facts[1].endswith(words)


@pytest.mark.parametrize(("key_status", "warnings"), [("Active", 1), ("Inactive", 0), ("Expired", 0)])
def test_only_an_active_key_is_warned_of(key_status: str, warnings: int) -> None:
    warnings_shown = other_key(status(key_at_aws(status=key_status)), NOW).warnings
    assert len(warnings_shown) == warnings
    assert all("active" in warning for warning in warnings_shown)


def test_no_key_is_offered_if_keyturn_holds_both() -> None:
    with pytest.raises(RotationHalted, match="manages both keys"):
        other_key(status(HELD, key_at_aws(held="previous")), NOW)


def test_a_key_that_may_be_in_use_is_not_offered() -> None:
    busy = "it is active, and it was made 39s ago and may not have been used yet"
    with pytest.raises(RotationHalted, match=f"{SHOWN}: {busy}"):
        other_key(status(HELD, key_at_aws(busy=busy)), NOW)


@pytest.mark.parametrize("refused", [HELD, key_at_aws(busy="it is in use")], ids=["held", "busy"])
def test_a_refusal_names_the_rotation(refused: dict[str, Any]) -> None:
    with pytest.raises(RotationHalted) as caught:
        other_key(status(refused), NOW)
    assert caught.value.what == "rotation of ci"
    assert caught.value.hint


# -- a use in words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(), "1m ago"),
        (-HOUR, "1m ago"),
        (119 * SECOND, "1m ago"),
        (120 * SECOND, "2m ago"),
        (HOUR + 90 * SECOND, "1h 1m ago"),
        (60 * 24 * HOUR, "60d ago"),
    ],
)
def test_a_use_is_so_many_whole_minutes_ago_and_at_least_one(ago: timedelta, words: str) -> None:
    assert last_used_text(LastUse(NOW - ago), NOW) == words


def test_a_use_names_what_was_called_harmlessly_and_cut() -> None:
    assert last_used_text(LastUse(NOW - HOUR, "s3, eu-west-1"), NOW) == "1h ago (s3, eu-west-1)"
    assert last_used_text(LastUse(NOW - HOUR, "\x1b"), NOW) == "1h ago (\\x1b)"
    assert last_used_text(LastUse(NOW - HOUR, "b" * 81), NOW) == f"1h ago ({'b' * 79}…)"
    assert last_used_text(LastUse(NOW - HOUR, "b" * 80), NOW) == f"1h ago ({'b' * 80})"
