"""Changes while the app runs: files, the clock, the size of the window."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from keyturn.model.profile import FileProblem, Snapshot, VaultState
from keyturn_tui.terminal.capabilities import Options
from tests.tui.conftest import NARROW, WIDE, Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import NOW, believable, many

BOTH = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])


@pytest.fixture
def service() -> MemoryService:
    return MemoryService(believable())


async def test_the_cursor_keeps_its_profile_when_files_change(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.go("terraform")
        service.drop("acme-sandbox")
        service.edit("ci-audit", account="999900001111")
        await driver.app.reload_if_changed()
        await driver.settle()
        assert driver.selected == "terraform"
        assert "acme-sandbox" not in driver.text
        assert "999900001111" in driver.text
        service.drop("terraform")
        await driver.app.reload_if_changed()
        await driver.settle()
        assert driver.selected in driver.listed_names


async def test_countdowns_turn_with_the_clock(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.go("acme-prod-readonly")
        assert "◐ 4m 31s" in driver.text
        service.move_clock(timedelta(seconds=1))
        driver.app.tick()
        await driver.settle()
        assert "◐ 4m 30s" in driver.text
        assert "14:05:11 UTC" in driver.text
        service.move_clock(timedelta(minutes=5))
        driver.app.tick()
        await driver.settle()
        assert "○ 3" in driver.text.splitlines()[0], "the header counts it as expired"


@pytest.mark.parametrize(
    ("vault", "times"), [(VaultState.CLOSED, 1), (VaultState.OPEN, 0)], ids=["no agent", "an agent"]
)
async def test_what_ends_while_the_app_is_open_is_withdrawn_once_where_no_agent_sees_to_it(
    drive: Drive, service: MemoryService, vault: VaultState, times: int
) -> None:
    service.vault = vault
    async with drive(service) as driver:
        await driver.settle()
        before = service.withdrawals
        await driver.app.reload_if_changed()
        assert service.withdrawals == before, "ci-audit has 134 minutes left"
        service.move_clock(timedelta(minutes=135))
        for _ in range(3):
            await driver.app.reload_if_changed()
        assert service.withdrawals == before + times


@BOTH
async def test_an_unreadable_file_is_a_row_with_its_line_and_reason(
    drive: Drive, size: tuple[int, int]
) -> None:
    problem = FileProblem("/home/jo/.aws/config", 17, "no section header before 'regoin = eu-west-1'")
    async with drive(MemoryService(believable(), problems=[problem]), size) as driver:
        assert "~/.aws/config:17  no section header" in driver.text
        assert "1 invalid file" in driver.text
        await driver.press("g", "enter")
        assert "keyturn does not write to it" in driver.text


async def test_a_file_that_breaks_while_running_is_said_aloud(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        service.problems = (FileProblem("/home/jo/.aws/credentials", 2, "duplicate section"),)
        service.edit("personal", region="eu-west-1")
        await driver.app.reload_if_changed()
        await driver.settle()
        assert [toast.message for toast in driver.app._notifications] == [
            "~/.aws/credentials:2: duplicate section"
        ]


async def test_an_empty_home_says_what_was_looked_at_and_what_to_do(drive: Drive) -> None:
    async with drive(MemoryService([], vault=VaultState.ABSENT)) as driver:
        assert "No profiles in ~/.aws/config" in driver.text
        assert "keyturn --sandbox" in driver.text
        await driver.press("r", "m", "x", "i", "enter")
        assert driver.service.calls == []


@pytest.mark.parametrize("size", [(59, 20), (60, 20), (79, 20), (100, 30), (40, 10), (119, 36), (200, 60)])
async def test_every_size_shows_the_cursor_and_fits(
    drive: Drive, service: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(service, size) as driver:
        assert "▸ ● 52m" in driver.text
        assert "? Help" in driver.text
        assert all(len(line) <= size[0] for line in driver.text.splitlines())


async def test_a_window_that_is_too_small_asks_for_more(drive: Drive, service: MemoryService) -> None:
    async with drive(service, (38, 9)) as driver:
        assert "Make the window larger (40x10)" in driver.text
        await driver.press("r")
        assert service.named("refresh") == [("acme-dev-admin", None)], "keys are still live"


async def test_resizing_keeps_the_cursor(drive: Drive, service: MemoryService) -> None:
    async with drive(service) as driver:
        await driver.go("terraform")
        for size in ((80, 24), (50, 12), (30, 5), (120, 36)):
            await driver.pilot.resize_terminal(*size)
            await driver.settle()
            assert driver.selected == "terraform"
        assert "2 Detail" in driver.text


async def test_ascii_shows_nothing_else(drive: Drive, service: MemoryService) -> None:
    async with drive(service, options=Options(ascii=True)) as driver:
        for keys in ((), ("question_mark",), ("escape", "m"), ("escape", "enter"), ("escape", "L", "r")):
            await driver.press(*keys)
            assert driver.text.isascii()


async def test_the_row_that_was_found_is_still_seen_when_its_filter_ends(drive: Drive) -> None:
    async with drive(MemoryService(many(60, NOW)), NARROW) as driver:
        await driver.press("slash", *"account-0057", "enter")
        assert driver.selected is not None
        assert "▸" in driver.text
        selected_name = driver.selected
        await driver.press("escape")
        assert driver.selected == selected_name
        assert any("▸" in line and selected_name in line for line in driver.text.splitlines())


@BOTH
async def test_a_long_message_is_read_whole(
    drive: Drive, service: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(service, size) as driver:
        driver.app.show_message(
            "adopt of x: " + "its reason is long " * 7 + "and what to do stands at the end", "error"
        )
        await driver.settle()
        text = " ".join(driver.text.split())
        assert "stands at the end" in text
        driver.app.show_message("done", "text")
        await driver.settle()
        assert driver.text.splitlines()[-2].split()[-1] == "done", "one row again"
        driver.app.show_message("word " * 200, "error")
        await driver.settle()
        assert sum("word word" in line for line in driver.text.splitlines()) == 3


async def test_what_is_broken_for_a_moment_only_is_never_shown_so(
    drive: Drive, service: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(service) as driver:
        service.edit("ci-audit", problem="its line is not there yet")
        snapshots, snapshot = threading.Event(), service.snapshot

        def reported() -> Snapshot:
            selected_name = snapshot()
            snapshots.set()
            return selected_name

        monkeypatch.setattr(service, "snapshot", reported)
        reload = asyncio.create_task(driver.app.reload_if_changed())
        assert await asyncio.to_thread(snapshots.wait, 20)
        assert "not there yet" not in driver.text
        service.edit("ci-audit", problem=None)
        await reload
        await driver.go("ci-audit")
        assert "not there yet" not in driver.text
        service.edit("ci-audit", problem="its line is gone")
        await driver.app.reload_if_changed()
        await driver.settle()
        assert "its line is gone" in driver.text
