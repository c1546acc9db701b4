"""The agent in the header, and the key that pauses it."""

from __future__ import annotations

import pytest

from keyturn.model.profile import VaultState
from keyturn_tui.terminal.capabilities import Options
from tests.tui.conftest import NARROW, WIDE, AppDriver, Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import believable


def header(driver: AppDriver) -> str:
    return driver.text.splitlines()[0]


async def test_the_header_says_that_an_agent_renews(drive: Drive) -> None:
    service = MemoryService(believable())
    async with drive(service, WIDE) as driver:
        assert "vault unlocked agent" in " ".join(header(driver).split())
        await driver.press("L")
        assert "agent" not in header(driver)


@pytest.mark.parametrize("size", [WIDE, NARROW, (60, 20)])
async def test_p_pauses_renewal_and_the_header_says_so(drive: Drive, size: tuple[int, int]) -> None:
    service = MemoryService(believable())
    async with drive(service, size) as driver:
        await driver.press("p")
        assert service.named("pause") == [True]
        assert "paused" in header(driver)
        assert "Auto-renewal paused" in driver.message
        await driver.press("p")
        assert service.named("pause") == [True, False]
        assert "paused" not in header(driver)
        assert "Auto-renewal resumed" in driver.message


async def test_without_an_agent_there_is_nothing_to_pause(drive: Drive) -> None:
    service = MemoryService(believable(), vault=VaultState.LOCKED)
    async with drive(service) as driver:
        await driver.press("p")
        assert service.named("pause") == []
        assert "no agent is running" in driver.message


async def test_read_only_pauses_nothing(drive: Drive) -> None:
    service = MemoryService(believable())
    async with drive(service, options=Options(read_only=True)) as driver:
        await driver.press("p")
        assert service.named("pause") == []
        assert "--read-only" in driver.message
