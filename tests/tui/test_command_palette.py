"""The command palette finds names of profiles and actions, never descriptions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.command import CommandPalette

from keyturn.model.profile import Kind, Profile
from keyturn_tui.actions import ACTIONS
from keyturn_tui.command_palette import action_hits, match_rank, profile_hits
from keyturn_tui.rendering.profile_rows import Entry
from tests.tui.conftest import NARROW, WIDE, Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import believable

#: Query, name, how well it matches.
RANKS = [
    ("prod", "prod-admin", 0),
    ("PROD", "prod-admin", 0),
    ("admin", "prod-admin", 1),
    ("admin", "prod_admin", 1),
    ("dmi", "prod-admin", 2),
    ("pda", "prod-admin", None),
    ("", "prod-admin", None),
    (" ", "prod admin", None),
    ("sign in", "Sign in", 0),
    ("vault", "Lock vault", 1),
]


@pytest.mark.parametrize(("query", "name", "rank"), RANKS)
def test_a_name_matches_by_its_letters_in_a_row(query: str, name: str, rank: int | None) -> None:
    assert match_rank(query, name) == rank


def test_the_best_names_come_first_and_the_order_of_the_list_decides_between_equals() -> None:
    names = ["block-prod", "acme", "prod-b", "prod-a", "xprod"]
    assert [name for name, _ in profile_hits(names, "prod")] == ["prod-b", "prod-a", "block-prod", "xprod"]
    assert len(profile_hits([f"prod-{n}" for n in range(50)], "prod")) == 20


#: Query, the labels of the actions that it finds on a managed row with an MFA device.
FOUND = [
    ("release", ["Release…"]),
    ("adopt", []),
    ("manage", ["Manage…"]),
    ("mfa", ["MFA code"]),
    ("sign", ["Sign in"]),
    ("prod", []),
    ("key", []),
    ("delete", []),
    ("session", []),
    ("refresh", ["Refresh", "Refresh due"]),
]


@pytest.mark.parametrize(("query", "labels"), FOUND)
def test_actions_are_found_by_the_label_that_the_row_gives_them(query: str, labels: list[str]) -> None:
    profile = Profile("ci", managed=True, kind=Kind.IAM_KEY, mfa_serial="arn:aws:iam::1:mfa/jo")
    assert [label for _, label, _ in action_hits(query, Entry(profile, "", "", ""))] == labels


@given(st.sampled_from(ACTIONS), st.integers(0, 40), st.integers(1, 12))
def test_no_action_is_found_by_a_part_of_its_description(action: object, start: int, length: int) -> None:
    query = getattr(action, "help")[start : start + length]  # noqa: B009  # any action of the registry
    assert all(query.strip().lower() in label.lower() for _, label, _ in action_hits(query, None))


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])
async def test_a_part_of_a_profile_name_goes_there_and_opens_no_review(
    drive: Drive, size: tuple[int, int]
) -> None:
    async with drive(MemoryService(believable()), size) as driver:
        await driver.press("colon")
        await driver.pilot.pause(0.3)
        await driver.type("acme-prod")
        await driver.pilot.pause(0.5)
        assert "Go to acme-prod" in driver.text
        await driver.press("enter")
        await driver.pilot.pause(0.3)
        await driver.settle()
        assert not isinstance(driver.app.screen, CommandPalette)
        assert (driver.selected or "").startswith("acme-prod")
        assert len(driver.app.screen_stack) == 1, "no review or dialog opened"
