"""The agent in the header, and the key that pauses it."""

from __future__ import annotations

import pytest

from keyturn.model.profile import VaultState
from keyturn_tui.terminal.capabilities import Options
from tests.tui.conftest import NARROW, WIDE, Drive, Driven
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import believable


def header(driven: Driven) -> str:
    return driven.text.splitlines()[0]


async def test_the_header_says_that_an_agent_renews(drive: Drive) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper, WIDE) as driven:
        assert "vault unlocked agent" in " ".join(header(driven).split())
        await driven.press("L")
        assert "agent" not in header(driven)


@pytest.mark.parametrize("size", [WIDE, NARROW, (60, 20)])
async def test_p_pauses_renewal_and_the_header_says_so(drive: Drive, size: tuple[int, int]) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper, size) as driven:
        await driven.press("p")
        assert keeper.named("pause") == [True]
        assert "paused" in header(driven)
        assert "Auto-renewal paused" in driven.message
        await driven.press("p")
        assert keeper.named("pause") == [True, False]
        assert "paused" not in header(driven)
        assert "Auto-renewal resumed" in driven.message


async def test_without_an_agent_there_is_nothing_to_pause(drive: Drive) -> None:
    keeper = MemoryService(believable(), vault=VaultState.LOCKED)
    async with drive(keeper) as driven:
        await driven.press("p")
        assert keeper.named("pause") == []
        assert "no agent is running" in driven.message


async def test_read_only_pauses_nothing(drive: Drive) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper, options=Options(read_only=True)) as driven:
        await driven.press("p")
        assert keeper.named("pause") == []
        assert "--read-only" in driven.message
