"""Every key of the main screen does what the help says, at both sizes."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import pairwise

import pytest
from textual.command import CommandPalette

from keyturn.model.errors import AgentUnavailable, AwsRefused
from keyturn.model.profile import Delivery, FileProblem, Renew, Session, VaultState
from keyturn_tui.actions import ACTIONS, BY_ID
from keyturn_tui.screens.detail import DetailScreen
from keyturn_tui.screens.help import HelpScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.terminal.capabilities import Options
from tests.tui.conftest import NARROW, WIDE, Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import NOW, believable, many

BOTH = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])


@pytest.fixture
def service() -> MemoryService:
    return MemoryService(believable())


async def test_the_main_screen_does_every_action_and_no_key_does_two_things(
    drive: Drive, service: MemoryService
) -> None:
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    assert len(BY_ID) == len(ACTIONS)
    async with drive(service) as driver:
        assert [action.id for action in ACTIONS if driver.main.command(action.id) is None] == []


def test_no_key_that_terminals_mistake_for_another_is_bound() -> None:
    bound_keys = {"ctrl+m", "ctrl+i", "ctrl+h", "ctrl+left_square_bracket", "ctrl+s", "ctrl+q"}
    keys = {key for action in ACTIONS for key in action.keys}
    assert not keys & bound_keys
    assert not any(key.startswith(("alt+", "f1", "f2")) for key in keys)


def test_help_and_palette_text_holds_no_markup() -> None:
    for action in ACTIONS:
        assert not set("[]") & set(action.help + action.label + action.key_label)
        assert len(action.help) <= 48, f"{action.id}: the help would be cut at 80 columns"


@BOTH
async def test_moving(drive: Drive, service: MemoryService, size: tuple[int, int]) -> None:
    async with drive(service, size) as driver:
        first = driver.selected
        assert first == "acme-dev-admin", "a heading is never under the cursor"
        await driver.press("j")
        assert driver.selected == "acme-dev-readonly"
        await driver.press("down", "down", "down")
        assert driver.selected == "ci-deploy", "the heading between was stepped over"
        await driver.press("k", "up")
        assert driver.selected == "acme-prod-readonly"
        await driver.press("G")
        assert driver.selected == driver.listed_names[-1]
        await driver.press("j")
        assert driver.selected == driver.listed_names[-1]
        await driver.press("g")
        assert driver.selected == first
        await driver.press("end")
        assert driver.selected == driver.listed_names[-1]
        await driver.press("home")
        assert driver.selected == first


@BOTH
async def test_pages(drive: Drive, size: tuple[int, int]) -> None:
    async with drive(MemoryService(many(300, NOW)), size) as driver:
        page = driver.listing.size.height
        place = driver.listed_names.index
        await driver.press("ctrl+d")
        assert place(driver.selected) == page // 2
        await driver.press("ctrl+u")
        assert place(driver.selected) == 0
        await driver.press("pagedown")
        assert place(driver.selected) == page
        await driver.press("pageup")
        assert place(driver.selected) == 0
        await driver.press("G")
        assert driver.selected in driver.text, "the cursor is on the screen"


async def test_the_list_jumps_half_a_page_at_its_edge(drive: Drive) -> None:
    async with drive(MemoryService(many(300, NOW))) as driver:
        page = driver.listing.size.height
        tops = []
        for _ in range(page * 2):
            await driver.pilot.press("j")
            await driver.pilot.pause()
            tops.append(driver.listing.scroll_offset.y)
        steps = [after - before for before, after in pairwise(tops) if after != before]
        assert steps
        assert all(step >= page // 2 - 1 for step in steps)


@BOTH
async def test_filter(drive: Drive, service: MemoryService, size: tuple[int, int]) -> None:
    async with drive(service, size) as driver:
        await driver.press("slash")
        await driver.type("type:sso !dev")
        assert driver.listed_names == ["acme-prod-readonly", "acme-sandbox"]
        assert "2 of 12" in driver.text
        await driver.press("enter", "j")
        assert driver.selected == "acme-sandbox", "Enter keeps the filter and gives the keys back to the list"
        await driver.press("escape")
        assert len(driver.listed_names) == 12
        assert driver.selected == "acme-sandbox", "the cursor keeps its profile"


async def test_escape_in_the_filter_clears_it(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.press("slash")
        await driver.type("zzz")
        assert driver.listed_names == []
        assert "No matches. Esc clears the filter." in driver.text
        await driver.press("escape")
        assert len(driver.listed_names) == 12


async def test_the_cursor_comes_back_when_a_filter_that_hid_its_row_ends(
    drive: Drive, service: MemoryService
) -> None:
    service.problems = (FileProblem("/home/jo/.aws/config", 17, "no section header"),)
    async with drive(service) as driver:
        await driver.go("ci-audit")
        await driver.press("slash")
        await driver.type("terra")
        assert driver.selected == "terraform"
        await driver.press("escape")
        assert driver.selected == "ci-audit"
        await driver.press("slash")
        await driver.type("terra")
        await driver.press("enter", "escape")
        assert driver.selected == "terraform", "Enter means this one"


async def test_a_filter_can_be_given_at_the_start(drive: Drive, service: MemoryService) -> None:
    async with drive(service, options=Options(filter="terra")) as driver:
        assert driver.listed_names == ["terraform"]


@BOTH
async def test_refresh_is_one_key_without_a_dialog(
    drive: Drive, service: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(service, size) as driver:
        await driver.go("terraform")
        assert "expired" in driver.text
        await driver.press("r")
        assert service.named("refresh") == [("terraform", None)]
        assert "refreshed terraform (0.4 s), expires 15:05:10 UTC" in driver.message
        assert driver.selected == "terraform"
        row = next(line for line in driver.text.splitlines() if "▸" in line)
        assert "● 1h 00m" in row


async def test_a_failed_refresh_stays_in_row_and_detail_until_one_works(
    drive: Drive, service: MemoryService
) -> None:
    service.fail_refresh["terraform"] = AwsRefused(
        "refresh of terraform",
        "User is not authorized to perform sts:AssumeRole",
        "Ask for it.",
        code="AccessDenied",
    )
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        assert "not authorized" in driver.message
        assert "✗ failed 14:05" in driver.text
        assert "Failed" in driver.text
        service.fail_refresh.clear()
        await driver.press("r")
        assert "failed" not in driver.text.lower()


async def test_refresh_due_refreshes_what_is_in_use_and_due(drive: Drive, service: MemoryService) -> None:
    service.edit("ci-deploy-mfa", mfa_serial=None, needs_person=False)
    service.edit("acme-prod-readonly", renew=Renew.AUTO)
    async with drive(service) as driver:
        await driver.press("a")
        assert sorted(service.refreshed) == ["acme-prod-readonly", "ci-deploy-mfa", "terraform"]
        assert "3 refreshed." in driver.message
        await driver.press("a")
        assert "No profile in use is due for a refresh." in driver.message


@BOTH
async def test_refresh_due_offers_expired_profiles_that_are_not_in_use(
    drive: Drive, service: MemoryService, size: tuple[int, int]
) -> None:
    expired = Session("ASIA", NOW - timedelta(hours=3), NOW - timedelta(hours=2))
    for name in ("ci-deploy-mfa", "terraform", "acme-prod-readonly"):
        service.edit(name, renew=Renew.OFF)
    service.edit("terraform", renew=Renew.AUTO, session=expired, last_use=NOW - timedelta(hours=25))
    async with drive(service, size) as driver:
        await driver.press("a")
        assert "Expired and not used in 24 h:" in driver.text
        assert "terraform" in driver.text
        await driver.press("enter")
        await driver.press("escape")
        assert service.refreshed == []
        assert "No profile in use is due for a refresh." in driver.message
        await driver.press("a", "y")
        await driver.settle()
        assert service.refreshed == ["terraform"]


async def test_refresh_due_tells_of_expired_profiles_that_are_not_in_use(
    drive: Drive, service: MemoryService
) -> None:
    expired = Session("ASIA", NOW - timedelta(hours=3), NOW - timedelta(hours=2))
    service.edit("acme-prod-readonly", renew=Renew.OFF)
    service.edit(
        "ci-deploy-mfa",
        mfa_serial=None,
        needs_person=False,
        session=expired,
        last_use=None,
        delivery=Delivery.CREDENTIAL_PROCESS,
    )
    async with drive(service) as driver:
        await driver.press("a")
        assert service.refreshed == ["terraform"]
        assert "1 refreshed. 1 expired profile not in use: press a again." in driver.message


async def test_escape_skips_the_rest_of_a_refresh_of_all(drive: Drive, service: MemoryService) -> None:
    for name in ("ci-deploy-mfa", "terraform", "acme-prod-readonly"):
        service.edit(name, source="ci-deploy", renew=Renew.AUTO, mfa_serial=None, needs_person=False)
    service.gate = threading.Event()
    async with drive(service) as driver:
        await driver.pilot.press("a")
        await driver.pilot.pause()
        assert "Refreshing [                    ] 0 of 3. Esc stops." in driver.message
        await driver.pilot.press("escape")
        await driver.pilot.pause()
        assert "Skipping the rest" in driver.message
        service.gate.set()
        await driver.settle()
        assert "1 refreshed, 2 skipped." in driver.message
        assert len(service.refreshed) == 1


async def test_a_second_refresh_of_all_leaves_the_first_one_alone(
    drive: Drive, service: MemoryService
) -> None:
    service.edit("terraform", renew=Renew.AUTO, mfa_serial=None, needs_person=False)
    service.edit("ci-deploy-mfa", renew=Renew.AUTO, mfa_serial=None, needs_person=False)
    service.gate = threading.Event()
    async with drive(service) as driver:
        await driver.pilot.press("a")
        await driver.pilot.pause()
        await driver.pilot.press("a")
        await driver.pilot.pause()
        assert "Profiles are being refreshed. Esc stops that." in driver.message
        await driver.pilot.press("escape")
        await driver.pilot.pause()
        assert "Skipping the rest" in driver.message
        service.gate.set()
        await driver.settle()
        assert len(service.refreshed) == 1


async def test_an_error_of_a_whole_refresh_of_all_is_not_hidden_by_counts(
    drive: Drive, service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_names: object) -> None:
        raise AgentUnavailable("Agent is busy", "", "Try again.")

    monkeypatch.setattr(service, "refresh_many", refuse)
    async with drive(service) as driver:
        await driver.press("a")
        assert "Agent is busy. Try again." in driver.message


async def test_escape_during_one_refresh_skips_nothing_and_clears_the_filter(
    drive: Drive, service: MemoryService
) -> None:
    service.gate = threading.Event()
    async with drive(service) as driver:
        await driver.press("slash")
        await driver.type("terraform\r")
        await driver.pilot.press("r")
        await driver.pilot.pause()
        await driver.pilot.press("escape")
        await driver.pilot.pause()
        assert "Skipping" not in driver.message
        assert "ci-deploy" in driver.text
        service.gate.set()
        await driver.settle()
        assert "refreshed terraform" in driver.message


@BOTH
async def test_enter_opens_all_of_it_and_escape_comes_back(
    drive: Drive, service: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(service, size) as driver:
        await driver.go("ci-deploy")
        await driver.press("enter")
        assert isinstance(driver.app.screen, DetailScreen)
        for fact in (
            "ci-deploy",
            "AKIA…4WQP, active",
            "94d old, ▲ overdue 4d",
            "444455556666",
            "1 of 2 access keys",
        ):
            assert fact in driver.text
        await driver.press("r")
        assert service.named("refresh") == [("ci-deploy", None)]
        assert "refreshed ci-deploy" in driver.text, "acts work here too, and say so here"
        await driver.press("escape")
        assert isinstance(driver.app.screen, MainScreen)


async def test_panes_by_tab_and_number(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        detail = driver.main.query_one("#detail")
        await driver.press("tab")
        assert detail.has_focus
        await driver.press("tab")
        assert driver.listing.has_focus
        await driver.press("2")
        assert detail.has_focus
        await driver.press("j")
        assert driver.selected == "acme-dev-admin", "j scrolls the pane that has the focus"
        await driver.press("1")
        assert driver.listing.has_focus


async def test_the_details_offer_a_code_where_one_is_needed_and_no_sign_in(
    drive: Drive, service: MemoryService
) -> None:
    async with drive(service, NARROW) as driver:
        for name, offered in (("ci-audit", False), ("ci-deploy-mfa", True)):
            await driver.go(name)
            await driver.press("enter")
            assert ("i MFA code" in driver.text) is offered
            assert "Sign in" not in driver.text
            await driver.press("escape")


async def test_two_opens_the_detail_screen_where_there_is_no_pane(
    drive: Drive, service: MemoryService
) -> None:
    async with drive(service, NARROW) as driver:
        await driver.press("2")
        assert isinstance(driver.app.screen, DetailScreen)


async def test_sorting(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.press("s")
        assert "sort: attention" in driver.text
        assert driver.listed_names[0] == "old-vpn"
        assert driver.selected == "acme-dev-admin", "the cursor keeps its profile"
        await driver.press("S")
        assert "sort: attention, reversed" in driver.text
        assert driver.listed_names[-1] == "old-vpn"
        await driver.press("S", "s", "s", "s")
        assert "sort: source" in driver.text


async def test_stop_withdraws_at_once_where_no_person_is_needed(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.go("ci-audit")
        await driver.press("x")
        assert service.named("stop") == ["ci-audit"]
        assert "ci-audit: session deleted" in driver.message
        await driver.press("x")
        assert "Stop ci-audit: it has no session" in driver.message


async def test_stop_asks_where_an_mfa_code_would_be_needed(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("x")
        assert "A new session needs an MFA code." in driver.text
        await driver.press("enter", "enter")
        assert service.named("stop") == [], "Enter twice ends nothing"
        await driver.press("escape")
        assert "Session kept." in driver.message
        await driver.press("x", "y")
        assert service.named("stop") == ["ci-deploy-mfa"]


async def test_lock(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        assert "vault unlocked" in driver.text
        await driver.press("L")
        assert service.vault is VaultState.LOCKED
        assert "vault locked" in driver.text
        assert "ci-deploy" in driver.text, "listing goes on"
        await driver.press("L")
        assert "already locked" in driver.message


@BOTH
async def test_help_is_the_registry_and_runs_what_is_chosen(
    drive: Drive, service: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(service, size) as driver:
        await driver.press("question_mark")
        assert isinstance(driver.app.screen, HelpScreen)
        await driver.press("slash")
        await driver.type("reverse")
        assert "reverse the sort order" in driver.text
        await driver.press("enter")
        assert "sort: source, reversed" in driver.text
        await driver.press("question_mark", "escape")
        assert isinstance(driver.app.screen, MainScreen)


async def test_enter_in_the_filter_of_the_help_runs_nothing_that_only_a_description_names(
    drive: Drive, service: MemoryService
) -> None:
    async with drive(service) as driver:
        await driver.press("question_mark", "slash")
        await driver.type("native")
        assert "adopt a native profile" in driver.text
        await driver.press("enter")
        assert isinstance(driver.app.screen, HelpScreen)
        await driver.press("slash")
        for _ in "native":
            await driver.press("backspace")
        await driver.type("refresh due")
        await driver.press("enter")
        assert isinstance(driver.app.screen, MainScreen), "a name is run at once"


async def test_help_lists_every_action(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.press("question_mark")
        shown_texts = driver.text
        await driver.press("G")
        shown_texts += driver.text
        for action in ACTIONS:
            assert action.help in shown_texts, action.id


@pytest.mark.parametrize("key", ["ctrl+p", "colon"])
async def test_the_palette_finds_actions_and_profiles_and_nothing_of_textuals(
    drive: Drive, service: MemoryService, key: str
) -> None:
    async with drive(service) as driver:
        await driver.press(key)
        assert isinstance(driver.app.screen, CommandPalette)
        await driver.pilot.pause(0.3)
        for word in ("screenshot", "Maximize", "Change theme", "Keys panel"):
            assert word.lower() not in driver.text.lower()
        await driver.type("terraform")
        await driver.pilot.pause(0.5)
        await driver.press("enter")
        await driver.pilot.pause(0.3)
        await driver.settle()
        assert driver.selected == "terraform"


async def test_theme_goes_through_all_four(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        shown_texts = set()
        for _ in range(4):
            shown_texts.add(driver.app.theme)
            await driver.press("T")
        assert len(shown_texts) == 4


async def test_redraw_and_quit(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.press("ctrl+l")
        assert "acme-dev-admin" in driver.text
        await driver.press("ctrl+c")
        assert "Press q to quit." in driver.message
        await driver.pilot.press("q")
        assert driver.app.return_code == 0


@pytest.mark.parametrize("key", ["r", "a", "i", "m", "x"])
async def test_read_only_does_nothing_that_writes(drive: Drive, service: MemoryService, key: str) -> None:
    async with drive(service, options=Options(read_only=True)) as driver:
        await driver.go("terraform")
        await driver.press(key)
        assert service.calls == []
        assert "--read-only" in driver.message
        assert "read-only" in driver.text.splitlines()[0]
