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
def keeper() -> MemoryService:
    return MemoryService(believable())


async def test_the_cursor_keeps_its_profile_when_files_change(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.go("terraform")
        keeper.drop("acme-sandbox")
        keeper.edit("ci-audit", account="999900001111")
        await driven.app.reload_if_changed()
        await driven.settle()
        assert driven.chosen == "terraform"
        assert "acme-sandbox" not in driven.text
        assert "999900001111" in driven.text
        keeper.drop("terraform")
        await driven.app.reload_if_changed()
        await driven.settle()
        assert driven.chosen in driven.shown


async def test_countdowns_turn_with_the_clock(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.go("acme-prod-readonly")
        assert "◐ 4m 31s" in driven.text
        keeper.move_clock(timedelta(seconds=1))
        driven.app.tick()
        await driven.settle()
        assert "◐ 4m 30s" in driven.text
        assert "14:05:11 UTC" in driven.text
        keeper.move_clock(timedelta(minutes=5))
        driven.app.tick()
        await driven.settle()
        assert "○ 3" in driven.text.splitlines()[0], "the header counts it as expired"


@pytest.mark.parametrize(
    ("vault", "times"), [(VaultState.CLOSED, 1), (VaultState.OPEN, 0)], ids=["no agent", "an agent"]
)
async def test_what_ends_while_the_app_is_open_is_withdrawn_once_where_no_agent_sees_to_it(
    drive: Drive, keeper: MemoryService, vault: VaultState, times: int
) -> None:
    keeper.vault = vault
    async with drive(keeper) as driven:
        await driven.settle()
        before = keeper.withdrawals
        await driven.app.reload_if_changed()
        assert keeper.withdrawals == before, "ci-audit has 134 minutes left"
        keeper.move_clock(timedelta(minutes=135))
        for _ in range(3):
            await driven.app.reload_if_changed()
        assert keeper.withdrawals == before + times


@BOTH
async def test_an_unreadable_file_is_a_row_with_its_line_and_reason(
    drive: Drive, size: tuple[int, int]
) -> None:
    problem = FileProblem("/home/jo/.aws/config", 17, "no section header before 'regoin = eu-west-1'")
    async with drive(MemoryService(believable(), problems=[problem]), size) as driven:
        assert "~/.aws/config:17  no section header" in driven.text
        assert "1 invalid file" in driven.text
        await driven.press("g", "enter")
        assert "keyturn does not write to it" in driven.text


async def test_a_file_that_breaks_while_running_is_said_aloud(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        keeper.problems = (FileProblem("/home/jo/.aws/credentials", 2, "duplicate section"),)
        keeper.edit("personal", region="eu-west-1")
        await driven.app.reload_if_changed()
        await driven.settle()
        assert [toast.message for toast in driven.app._notifications] == [
            "~/.aws/credentials:2: duplicate section"
        ]


async def test_an_empty_home_says_what_was_looked_at_and_what_to_do(drive: Drive) -> None:
    async with drive(MemoryService([], vault=VaultState.ABSENT)) as driven:
        assert "No profiles in ~/.aws/config" in driven.text
        assert "keyturn --sandbox" in driven.text
        await driven.press("r", "m", "x", "i", "enter")
        assert driven.keeper.calls == []


@pytest.mark.parametrize("size", [(59, 20), (60, 20), (79, 20), (100, 30), (40, 10), (119, 36), (200, 60)])
async def test_every_size_shows_the_cursor_and_fits(
    drive: Drive, keeper: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(keeper, size) as driven:
        assert "▸ ● 52m" in driven.text
        assert "? Help" in driven.text
        assert all(len(line) <= size[0] for line in driven.text.splitlines())


async def test_a_window_that_is_too_small_asks_for_more(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper, (38, 9)) as driven:
        assert "Make the window larger (40x10)" in driven.text
        await driven.press("r")
        assert keeper.named("refresh") == [("acme-dev-admin", None)], "keys are still live"


async def test_resizing_keeps_the_cursor(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper) as driven:
        await driven.go("terraform")
        for size in ((80, 24), (50, 12), (30, 5), (120, 36)):
            await driven.pilot.resize_terminal(*size)
            await driven.settle()
            assert driven.chosen == "terraform"
        assert "2 Detail" in driven.text


async def test_ascii_shows_nothing_else(drive: Drive, keeper: MemoryService) -> None:
    async with drive(keeper, options=Options(ascii=True)) as driven:
        for keys in ((), ("question_mark",), ("escape", "m"), ("escape", "enter"), ("escape", "L", "r")):
            await driven.press(*keys)
            assert driven.text.isascii()


async def test_the_row_that_was_found_is_still_seen_when_its_filter_ends(drive: Drive) -> None:
    async with drive(MemoryService(many(60, NOW)), NARROW) as driven:
        await driven.press("slash", *"account-0057", "enter")
        assert driven.chosen is not None
        assert "▸" in driven.text
        found = driven.chosen
        await driven.press("escape")
        assert driven.chosen == found
        assert any("▸" in line and found in line for line in driven.text.splitlines())


@BOTH
async def test_a_long_message_is_read_whole(
    drive: Drive, keeper: MemoryService, size: tuple[int, int]
) -> None:
    async with drive(keeper, size) as driven:
        driven.app.show_message(
            "adopt of x: " + "its reason is long " * 7 + "and what to do stands at the end", "error"
        )
        await driven.settle()
        text = " ".join(driven.text.split())
        assert "stands at the end" in text
        driven.app.show_message("done", "text")
        await driven.settle()
        assert driven.text.splitlines()[-2].split()[-1] == "done", "one row again"
        driven.app.show_message("word " * 200, "error")
        await driven.settle()
        assert sum("word word" in line for line in driven.text.splitlines()) == 3


async def test_what_is_broken_for_a_moment_only_is_never_shown_so(
    drive: Drive, keeper: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(keeper) as driven:
        keeper.edit("ci-audit", problem="its line is not there yet")
        taken, snapshot = threading.Event(), keeper.snapshot

        def told() -> Snapshot:
            found = snapshot()
            taken.set()
            return found

        monkeypatch.setattr(keeper, "snapshot", told)
        looking = asyncio.create_task(driven.app.reload_if_changed())
        assert await asyncio.to_thread(taken.wait, 20)
        assert "not there yet" not in driven.text
        keeper.edit("ci-audit", problem=None)
        await looking
        await driven.go("ci-audit")
        assert "not there yet" not in driven.text
        keeper.edit("ci-audit", problem="its line is gone")
        await driven.app.reload_if_changed()
        await driven.settle()
        assert "its line is gone" in driven.text
