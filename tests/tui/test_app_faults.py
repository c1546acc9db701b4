"""A bug at each place where the app waits for the service: the app reports it, shows nothing of it, and
continues."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

import pytest

from keyturn.model.errors import VaultError
from keyturn.model.profile import VaultState
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.timers import POLL_INTERVAL
from tests.tui.conftest import Drive, Driven
from tests.tui.memory_service import PASSPHRASE, RECOVERY, MemoryService
from tests.tui.sample_profiles import believable

CANARY = "canary"


def burst(*_: object, **__: object) -> NoReturn:
    raise UnicodeError(CANARY)


def goes_on(driven: Driven) -> None:
    """Assert that the list is shown and takes keys."""
    assert driven.app.fault is None
    assert isinstance(driven.app.screen, MainScreen)
    assert CANARY not in driven.text
    assert "Profiles" in driven.text
    assert not driven.app.state.working


async def still_works(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on(driven)
    monkeypatch.undo()
    await driven.go("acme-dev-readonly")
    await driven.press("j")
    assert driven.chosen != "acme-dev-readonly"


async def test_where_the_keyring_is_looked_for_and_the_vault_made(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = MemoryService(believable(), vault=VaultState.ABSENT)
    monkeypatch.setattr(keeper, "keyring_backend", burst)
    monkeypatch.setattr(keeper, "create_vault", burst)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy")
        await driven.press("r")
        for _ in range(2):
            await driven.press(*"three small words", "enter")
        assert "Internal error (UnicodeError)" in " ".join(driven.text.split())
        assert CANARY not in driven.text
        await driven.press("escape")
        await still_works(driven, monkeypatch)


@pytest.mark.parametrize("refusal", [UnicodeError(CANARY), VaultError("noting it", "the disk is full", "x")])
async def test_where_it_is_noted_that_the_recovery_key_was_seen(
    drive: Drive, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    keeper = MemoryService(believable(), vault=VaultState.ABSENT)

    def refuse() -> None:
        raise refusal

    monkeypatch.setattr(keeper, "confirm_recovery_key", refuse)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy")
        await driven.press("r")
        for _ in range(2):
            await driven.type(f"{PASSPHRASE}\r")
        await driven.type(f"{RECOVERY[-6:]}\r")
        assert "refreshed ci-deploy" in driven.message
        await still_works(driven, monkeypatch)


async def test_where_the_vault_is_opened(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = MemoryService(believable(), vault=VaultState.LOCKED)
    monkeypatch.setattr(keeper, "unlock", burst)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy")
        await driven.press("r")
        await driven.type(f"{PASSPHRASE}\r")
        assert "internal error (UnicodeError)" in driven.message
        await still_works(driven, monkeypatch)
        await driven.go("ci-deploy")
        await driven.press("r")
        await driven.type(f"{PASSPHRASE}\r")
        assert "refreshed ci-deploy" in driven.message


async def test_where_a_code_is_sent(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = MemoryService(believable(), vault=VaultState.OPEN)
    refresh = keeper.refresh

    def with_a_code(name: str, code: str | None = None) -> object:
        return refresh(name) if code is None else burst()

    monkeypatch.setattr(keeper, "refresh", with_a_code)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("r")
        await driven.type("111111")
        assert "internal error (UnicodeError)" in driven.message
        await still_works(driven, monkeypatch)


@pytest.mark.parametrize("verb", ["plan_adopt", "adopt", "lock", "stop", "refresh", "due_profiles"])
async def test_where_an_act_runs(drive: Drive, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    keeper = MemoryService(believable(), vault=VaultState.OPEN)
    monkeypatch.setattr(keeper, verb, burst)
    async with drive(keeper) as driven:
        await driven.go("personal" if "adopt" in verb else "terraform")
        key = {
            "plan_adopt": "m",
            "adopt": "m",
            "lock": "L",
            "stop": "x",
            "refresh": "r",
            "due_profiles": "a",
        }[verb]
        await driven.press(key)
        if not isinstance(driven.app.screen, MainScreen):
            await driven.press("enter" if verb == "adopt" else "y")
        assert "internal error" in driven.message
        await still_works(driven, monkeypatch)


async def test_where_another_plan_is_made_in_the_review(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = MemoryService(believable(), vault=VaultState.OPEN)
    plan = keeper.plan_adopt

    def but_for_another(names: Sequence[str], *, session_none: bool = False) -> object:
        return burst() if session_none else plan(names)

    monkeypatch.setattr(keeper, "plan_adopt", but_for_another)
    async with drive(keeper) as driven:
        await driven.go("personal")
        await driven.press("m")
        await driven.press("s")
        assert "Internal error (UnicodeError)" in driven.text
        await driven.press("escape")
        await still_works(driven, monkeypatch)


@pytest.mark.parametrize("verb", ["snapshot", "has_changed", "withdraw_expired"])
async def test_where_it_looks_by_itself(drive: Drive, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    keeper = MemoryService(believable(), vault=VaultState.OPEN)
    async with drive(keeper) as driven:
        monkeypatch.setattr(keeper, verb, burst)
        if verb == "snapshot":
            monkeypatch.setattr(keeper, "has_changed", lambda: True)
        if verb == "withdraw_expired":
            driven.app._last_withdrawal = driven.app.state.now() - timedelta(days=1)
            monkeypatch.setattr("keyturn_tui.app.has_expired_delivery", lambda *_: True)
        await driven.pilot.pause(POLL_INTERVAL + 0.5)
        await driven.settle()
        assert "internal error (UnicodeError)" in driven.message
        await still_works(driven, monkeypatch)
