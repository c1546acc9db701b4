"""Dialogs with input typed ahead, in windows of any size."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.model.profile import VaultState
from keyturn_tui.dialogs.mfa import MfaScreen
from keyturn_tui.screens.main import MainScreen
from tests.tui.conftest import NARROW, WIDE, Drive, Driven
from tests.tui.memory_service import PASSPHRASE, RECOVERY, MemoryService
from tests.tui.sample_profiles import believable

BOTH = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])


def keeper_with(vault: VaultState, **more: object) -> MemoryService:
    return MemoryService(believable(), vault=vault, **more)  # type: ignore[arg-type]  # keywords of the service


def on_main(driven: Driven) -> bool:
    return isinstance(driven.app.screen, MainScreen)


async def test_nothing_of_what_is_typed_ahead_in_a_new_vault_is_lost(drive: Drive) -> None:
    keeper = keeper_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.press("r")
        await driven.type(f"p{PASSPHRASE}\r{PASSPHRASE}\r")
        assert keeper.named("new_vault") == ["passphrase"], (
            "the keeper compares what arrived with what was typed"
        )
        assert RECOVERY in driven.text


async def test_what_is_typed_right_after_a_key_that_asks_is_an_answer(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.type("xn")
        assert on_main(driven)
        assert keeper.named("stop") == []
        await driven.type("xy")
        assert keeper.named("stop") == ["ci-deploy-mfa"]


async def test_escape_and_what_is_typed_right_after_it_are_two_keys(drive: Drive) -> None:
    async with drive(keeper_with(VaultState.OPEN)) as driven:
        await driven.type("/terra\x1bjj")
        assert len(driven.shown) == 12
        assert driven.chosen == "acme-prod-readonly"


@pytest.mark.parametrize("size", [(40, 10), (50, 12), (60, 14), (80, 24)])
async def test_every_dialog_shows_its_field_and_its_keys_at_any_size(
    drive: Drive, size: tuple[int, int]
) -> None:
    keeper = keeper_with(VaultState.LOCKED)
    async with drive(keeper, size) as driven:
        await driven.go("terraform")
        await driven.press("r")
        assert "Passphrase" in driven.text
        assert "Enter" in driven.text
        assert "Esc" in driven.text
        await driven.type(f"wrong\r{PASSPHRASE}\r")
        assert on_main(driven)
        await driven.go("ci-deploy-mfa")
        await driven.press("i")
        assert "Code" in driven.text
        assert "Esc" in driven.text
        await driven.press("escape", "x")
        assert "y Yes" in driven.text
        assert "Esc" in driven.text
        await driven.press("escape")


@pytest.mark.parametrize("size", [(40, 10), (60, 14)])
async def test_the_recovery_key_is_seen_whole_at_any_size(drive: Drive, size: tuple[int, int]) -> None:
    async with drive(keeper_with(VaultState.ABSENT), size) as driven:
        await driven.go("terraform")
        await driven.press("r")
        await driven.type(f"{PASSPHRASE}\r{PASSPHRASE}\r")
        shown = "".join(line.strip("│ ") for line in driven.text.splitlines())
        assert RECOVERY in shown
        assert "Last 6" in driven.text
        assert "Enter" in driven.text


async def test_where_a_dialog_has_no_room_it_asks_for_some_and_does_nothing_unseen(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper, (30, 8)) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("x")
        assert "Make the window larger (40x10)" in driven.text
        await driven.press("y")
        assert keeper.named("stop") == []
        await driven.press("escape")
        await driven.press("L")
        await driven.go("terraform")
        await driven.press("r")
        await driven.type(f"{PASSPHRASE}\r")
        assert keeper.named("unlock") == [], "nothing is typed blindly"
        await driven.pilot.resize_terminal(80, 24)
        await driven.settle()
        await driven.type(f"{PASSPHRASE}\r")
        assert on_main(driven)
        assert keeper.named("unlock") == ["passphrase"]
        await driven.pilot.resize_terminal(30, 8)
        await driven.go("personal")
        await driven.press("m", "enter")
        assert keeper.named("adopt") == []
        assert "Make the window larger" in driven.text


async def test_the_wait_for_the_next_code_counts_down(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    keeper.good_codes.clear()
    async with drive(keeper) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("i")
        await driven.type("999999")
        assert "Next code in 20 s" in driven.text
        keeper.move_clock(timedelta(seconds=7))
        dialog = driven.app.screen
        assert isinstance(dialog, MfaScreen)
        dialog._tick()
        await driven.settle()
        assert "Next code in 13 s" in driven.text
        keeper.move_clock(timedelta(seconds=14))
        dialog._tick()
        await driven.settle()
        assert "A new code is ready" in driven.text
