"""Every key of the main screen does what the help says, at both sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from textual.command import CommandPalette

from keyturn.model.errors import AwsRefused
from keyturn.model.profile import FileProblem, VaultState
from keyturn_tui.actions import ACTIONS, BY_ID, method_of
from keyturn_tui.screens.detail import DetailScreen
from keyturn_tui.screens.help import HelpScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.terminal.capabilities import Options
from tests.tui.conftest import NARROW, WIDE, Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import NOW, believable, many

BOTH = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])


@pytest.fixture
def keeper() -> MemoryService:
    return MemoryService(believable())


def test_every_action_is_done_by_a_method_and_no_key_does_two_things() -> None:
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    assert len(BY_ID) == len(ACTIONS)
    for action in ACTIONS:
        assert callable(getattr(MainScreen, method_of(action.id), None)), action.id


def test_no_key_that_terminals_mistake_for_another_is_bound() -> None:
    taken = {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket", "ctrl+s", "ctrl+q"}
    keys = {key for action in ACTIONS for key in action.keys}
    assert not keys & taken
    assert not any(key.startswith(("alt+", "f1", "f2")) for key in keys)


def test_help_and_palette_text_holds_no_markup() -> None:
    for action in ACTIONS:
        assert not set("[]") & set(action.help + action.label + action.key_label)
        assert len(action.help) <= 48, f"{action.id}: the help would be cut at 80 columns"


@BOTH
async def test_moving(drive: Drive, keeper: MemoryService, size: tuple[int, int]) -> None:
    async with drive(keeper, size) as driven:
        first = driven.chosen
        assert first == "acme-dev-admin", "a heading is never under the cursor"
        await driven.press("j")
        assert driven.chosen == "acme-dev-readonly"
        await driven.press("down", "down", "down")
        assert driven.chosen == "ci-deploy", "the heading between was stepped over"
        await driven.press("k", "up")
        assert driven.chosen == "acme-prod-readonly"
        await driven.press("G")
        assert driven.chosen == driven.shown[-1]
        await driven.press("j")
        assert driven.chosen == driven.shown[-1]
        await driven.press("g")
        assert driven.chosen == first
        await driven.press("end")
        assert driven.chosen == driven.shown[-1]
        await driven.press("home")
        assert driven.chosen == first


@BOTH
async def test_pages(drive: Drive, size: tuple[int, int]) -> None:
    async with drive(MemoryService(many(300, NOW)), size) as driven:
        page = driven.listing.size.height
        place = driven.shown.index
        await driven.press("ctrl+d")
        assert place(driven.chosen) == page // 2
        await driven.press("ctrl+u")
        assert place(driven.chosen) == 0
        await driven.press("pagedown")
        assert place(driven.chosen) == page
        await driven.press("pageup")
        assert place(driven.chosen) == 0
        await driven.press("G")
        assert driven.chosen in driven.text, "the cursor is on the screen"


async def test_the_list_jumps_half_a_page_at_its_edge(drive: Drive) -> None:
    async with drive(MemoryService(many(300, NOW))) as driven:
        page = driven.listing.size.height
        tops = []
        for _ in range(page * 2):
            await driven.pilot.press("j")
            await driven.pilot.pause()
            tops.append(driven.listing.scroll_offset.y)
        steps = [after - before for before, after in pairwise(tops) if after != before]
        assert steps
        assert all(step >= page // 2 - 1 for step in steps)


@BOTH
async def test_filter(drive: Drive, keeper: MemoryService, size: tuple[int, int]) -> None:
    async with drive(keeper, size) as driven:
        await driven.press("slash")
        await driven.type("type:sso !dev")
        assert driven.shown == ["acme-prod-readonly", "acme-sandbox"]
        assert "2 of 12" in driven.text
        await driven.press("enter", "j")
        assert driven.chosen == "acme-sandbox", "Enter keeps the filter and gives the keys back to the list"
        await driven.press("escape")
        assert len(driven.shown) == 12
        assert driven.chosen == "acme-sandbox", "the cursor keeps its profile"


async def test_escape_in_the_filter_clears_it(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.press("slash")
        await driven.type("zzz")
        assert driven.shown == []
        assert "No matches. Esc clears the filter." in driven.text
        await driven.press("escape")
        assert len(driven.shown) == 12


async def test_the_cursor_comes_back_when_a_filter_that_hid_its_row_ends(
    drive: Drive, keeper: MemoryService
) -> None:
    keeper.problems = (FileProblem("/home/jo/.aws/config", 17, "no section header"),)
    async with drive(keeper) as driven:
        await driven.go("ci-audit")
        await driven.press("slash")
        await driven.type("terra")
        assert driven.chosen == "terraform"
        await driven.press("escape")
        assert driven.chosen == "ci-audit"
        await driven.press("slash")
        await driven.type("terra")
        await driven.press("enter", "escape")
        assert driven.chosen == "terraform", "Enter means this one"


async def test_a_filter_can_be_given_at_the_start(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper, options=Options(filter="terra")) as driven:
        assert driven.shown == ["terraform"]


@BOTH
async def test_refresh_is_one_key_without_a_dialog(
    drive: Drive, keeper: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(keeper, size) as driven:
        await driven.go("terraform")
        assert "expired" in driven.text
        await driven.press("r")
        assert keeper.named("refresh") == [("terraform", None)]
        assert "refreshed terraform (0.4 s), expires 15:05:10 UTC" in driven.message
        assert driven.chosen == "terraform"
        row = next(line for line in driven.text.splitlines() if "▸" in line)
        assert "● 1h 00m" in row


async def test_a_failed_refresh_stays_in_row_and_detail_until_one_works(
    drive: Drive, keeper: MemoryService
) -> None:
    keeper.fail_refresh["terraform"] = AwsRefused(
        "refresh of terraform",
        "User is not authorized to perform sts:AssumeRole",
        "Ask for it.",
        code="AccessDenied",
    )
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.press("r")
        assert "not authorized" in driven.message
        assert "✗ failed 14:05" in driven.text
        assert "Failed" in driven.text
        keeper.fail_refresh.clear()
        await driven.press("r")
        assert "failed" not in driven.text.lower()


async def test_refresh_due_refreshes_what_is_in_use_and_due(drive: Drive, keeper: MemoryService) -> None:
    keeper.edit("ci-deploy-mfa", mfa_serial=None)
    async with drive(keeper) as driven:
        await driven.press("a")
        assert sorted(keeper.refreshed) == ["acme-prod-readonly", "ci-deploy-mfa", "terraform"]
        assert "3 refreshed." in driven.message
        await driven.press("a")
        assert "No profile in use is due for a refresh." in driven.message


@BOTH
async def test_enter_opens_all_of_it_and_escape_comes_back(
    drive: Drive, keeper: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(keeper, size) as driven:
        await driven.go("ci-deploy")
        await driven.press("enter")
        assert isinstance(driven.app.screen, DetailScreen)
        for fact in (
            "ci-deploy",
            "AKIA…4WQP, active",
            "94d old, ▲ overdue 4d",
            "444455556666",
            "1 of 2 access keys",
        ):
            assert fact in driven.text
        await driven.press("r")
        assert keeper.named("refresh") == [("ci-deploy", None)]
        assert "refreshed ci-deploy" in driven.text, "acts work here too, and say so here"
        await driven.press("escape")
        assert isinstance(driven.app.screen, MainScreen)


async def test_panes_by_tab_and_number(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        detail = driven.main.query_one("#detail")
        await driven.press("tab")
        assert detail.has_focus
        await driven.press("tab")
        assert driven.listing.has_focus
        await driven.press("2")
        assert detail.has_focus
        await driven.press("j")
        assert driven.chosen == "acme-dev-admin", "j scrolls the pane that has the focus"
        await driven.press("1")
        assert driven.listing.has_focus


async def test_two_opens_the_detail_screen_where_there_is_no_pane(
    drive: Drive, keeper: MemoryService
) -> None:
    async with drive(keeper, NARROW) as driven:
        await driven.press("2")
        assert isinstance(driven.app.screen, DetailScreen)


async def test_sorting(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.press("s")
        assert "sort: attention" in driven.text
        assert driven.shown[0] == "old-vpn"
        assert driven.chosen == "acme-dev-admin", "the cursor keeps its profile"
        await driven.press("S")
        assert "sort: attention, reversed" in driven.text
        assert driven.shown[-1] == "old-vpn"
        await driven.press("S", "s", "s", "s")
        assert "sort: source" in driven.text


async def test_stop_withdraws_at_once_where_no_person_is_needed(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.go("ci-audit")
        await driven.press("x")
        assert keeper.named("stop") == ["ci-audit"]
        assert "stopped ci-audit" in driven.message
        await driven.press("x")
        assert "ci-audit has no session" in driven.message


async def test_stop_asks_where_an_mfa_code_would_be_needed(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("x")
        assert "A new session needs an MFA code." in driven.text
        await driven.press("enter", "enter")
        assert keeper.named("stop") == [], "Enter twice ends nothing"
        await driven.press("escape")
        assert "Session kept." in driven.message
        await driven.press("x", "y")
        assert keeper.named("stop") == ["ci-deploy-mfa"]


async def test_lock(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        assert "vault unlocked" in driven.text
        await driven.press("L")
        assert keeper.vault is VaultState.LOCKED
        assert "vault locked" in driven.text
        assert "ci-deploy" in driven.text, "listing goes on"
        await driven.press("L")
        assert "already locked" in driven.message


@BOTH
async def test_help_is_the_registry_and_runs_what_is_chosen(
    drive: Drive, keeper: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(keeper, size) as driven:
        await driven.press("question_mark")
        assert isinstance(driven.app.screen, HelpScreen)
        await driven.press("slash")
        await driven.type("reverse")
        assert "reverse the sort order" in driven.text
        await driven.press("enter")
        assert "sort: source, reversed" in driven.text
        await driven.press("question_mark", "escape")
        assert isinstance(driven.app.screen, MainScreen)


async def test_help_lists_every_action(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.press("question_mark")
        seen = driven.text
        await driven.press("G")
        seen += driven.text
        for action in ACTIONS:
            assert action.help in seen, action.id


@pytest.mark.parametrize("key", ["ctrl+p", "colon"])
async def test_the_palette_finds_actions_and_profiles_and_nothing_of_textuals(
    drive: Drive, keeper: MemoryService, key: str
) -> None:
    async with drive(keeper) as driven:
        await driven.press(key)
        assert isinstance(driven.app.screen, CommandPalette)
        await driven.pilot.pause(0.3)
        for word in ("screenshot", "Maximize", "Change theme", "Keys panel"):
            assert word.lower() not in driven.text.lower()
        await driven.type("terraform")
        await driven.pilot.pause(0.5)
        await driven.press("enter")
        await driven.pilot.pause(0.3)
        await driven.settle()
        assert driven.chosen == "terraform"


async def test_theme_goes_through_all_four(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        seen = set()
        for _ in range(4):
            seen.add(driven.app.theme)
            await driven.press("T")
        assert len(seen) == 4


async def test_redraw_and_quit(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.press("ctrl+l")
        assert "acme-dev-admin" in driven.text
        await driven.press("ctrl+c")
        assert "Press q to quit." in driven.message
        await driven.pilot.press("q")
        assert driven.app.return_code == 0


@pytest.mark.parametrize("key", ["r", "a", "i", "m", "x"])
async def test_read_only_does_nothing_that_writes(drive: Drive, keeper: MemoryService, key: str) -> None:
    async with drive(keeper, options=Options(read_only=True)) as driven:
        await driven.go("terraform")
        await driven.press(key)
        assert keeper.calls == []
        assert "--read-only" in driven.message
        assert "read-only" in driven.text.splitlines()[0]
