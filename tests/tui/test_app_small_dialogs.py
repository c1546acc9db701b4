"""Dialogs with input typed ahead, in windows of any size."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.model.profile import VaultState
from keyturn_tui.dialogs.mfa import MfaScreen
from keyturn_tui.screens.main import MainScreen
from tests.tui.conftest import NARROW, WIDE, AppDriver, Drive
from tests.tui.memory_service import PASSPHRASE, RECOVERY, MemoryService
from tests.tui.sample_profiles import believable, unmanaged

BOTH = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])


def service_with(vault: VaultState, **more: object) -> MemoryService:
    rows = unmanaged() if vault is VaultState.ABSENT else believable()
    return MemoryService(rows, vault=vault, **more)  # type: ignore[arg-type]  # keywords of the service


def on_main(driver: AppDriver) -> bool:
    return isinstance(driver.app.screen, MainScreen)


async def test_nothing_of_what_is_typed_ahead_in_a_new_vault_is_lost(drive: Drive) -> None:
    service = service_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        await driver.type(f"p{PASSPHRASE}\r{PASSPHRASE}\r")
        assert service.named("new_vault") == ["passphrase"], (
            "the service compares what arrived with what was typed"
        )
        assert RECOVERY in driver.text


async def test_what_is_typed_right_after_a_key_that_asks_is_an_answer(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.type("xn")
        assert on_main(driver)
        assert service.named("stop") == []
        await driver.type("xy")
        assert service.named("stop") == ["ci-deploy-mfa"]


async def test_escape_and_what_is_typed_right_after_it_are_two_keys(drive: Drive) -> None:
    async with drive(service_with(VaultState.OPEN)) as driver:
        await driver.type("/terra\x1bjj")
        assert len(driver.listed_names) == 12
        assert driver.selected == "acme-prod-readonly"


@pytest.mark.parametrize("size", [(40, 10), (50, 12), (60, 14), (80, 24)])
async def test_every_dialog_shows_its_field_and_its_keys_at_any_size(
    drive: Drive, size: tuple[int, int]
) -> None:
    service = service_with(VaultState.LOCKED)
    async with drive(service, size) as driver:
        await driver.go("terraform")
        await driver.press("r")
        assert "Passphrase" in driver.text
        assert "Enter" in driver.text
        assert "Esc" in driver.text
        await driver.type(f"wrong\r{PASSPHRASE}\r")
        assert on_main(driver)
        await driver.go("ci-deploy-mfa")
        await driver.press("i")
        assert "Code" in driver.text
        assert "Esc" in driver.text
        await driver.press("escape", "x")
        assert "y Yes" in driver.text
        assert "Esc" in driver.text
        await driver.press("escape")


@pytest.mark.parametrize("size", [(40, 10), (60, 14)])
async def test_the_recovery_key_is_seen_whole_at_any_size(drive: Drive, size: tuple[int, int]) -> None:
    async with drive(service_with(VaultState.ABSENT), size) as driver:
        await driver.go("terraform")
        await driver.press("r")
        await driver.type(f"{PASSPHRASE}\r{PASSPHRASE}\r")
        shown = "".join(line.strip("│ ") for line in driver.text.splitlines())
        assert RECOVERY in shown
        assert "Last 6" in driver.text
        assert "Enter" in driver.text


async def test_where_a_dialog_has_no_room_it_asks_for_some_and_does_nothing_unseen(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service, (30, 8)) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("x")
        assert "Make the window larger (40x10)" in driver.text
        await driver.press("y")
        assert service.named("stop") == []
        await driver.press("escape")
        await driver.press("L")
        await driver.go("terraform")
        await driver.press("r")
        await driver.type(f"{PASSPHRASE}\r")
        assert service.named("unlock") == [], "nothing is typed blindly"
        await driver.pilot.resize_terminal(80, 24)
        await driver.settle()
        await driver.type(f"{PASSPHRASE}\r")
        assert on_main(driver)
        assert service.named("unlock") == ["passphrase"]
        await driver.pilot.resize_terminal(30, 8)
        await driver.go("personal")
        await driver.press("m", "enter")
        assert service.named("adopt") == []
        assert "Make the window larger" in driver.text


async def test_the_wait_for_the_next_code_counts_down(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    service.good_codes.clear()
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("i")
        await driver.type("999999")
        assert "Next code in 20 s" in driver.text
        service.move_clock(timedelta(seconds=7))
        dialog = driver.app.screen
        assert isinstance(dialog, MfaScreen)
        dialog._tick()
        await driver.settle()
        assert "Next code in 13 s" in driver.text
        service.move_clock(timedelta(seconds=14))
        dialog._tick()
        await driver.settle()
        assert "A new code is ready" in driver.text
