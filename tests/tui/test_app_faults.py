"""A bug at each place where the app waits for the service: the app reports it, shows nothing of it, and
continues."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

import pytest

from keyturn.model.errors import VaultError
from keyturn.model.profile import VaultState
from keyturn_tui.app import POLL_INTERVAL
from keyturn_tui.screens.main import MainScreen
from tests.tui.conftest import AppDriver, Drive
from tests.tui.memory_service import PASSPHRASE, RECOVERY, MemoryService
from tests.tui.sample_profiles import believable, unmanaged

CANARY = "canary"


def fail(*_: object, **__: object) -> NoReturn:
    raise UnicodeError(CANARY)


def assert_running(driver: AppDriver) -> None:
    """Assert that the list is shown and takes keys."""
    assert driver.app.fault is None
    assert isinstance(driver.app.screen, MainScreen)
    assert CANARY not in driver.text
    assert "Profiles" in driver.text
    assert not driver.app.state.working


async def still_works(driver: AppDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_running(driver)
    monkeypatch.undo()
    await driver.go("acme-dev-readonly")
    await driver.press("j")
    assert driver.selected != "acme-dev-readonly"


async def test_where_the_keyring_is_looked_for_and_the_vault_made(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = MemoryService(unmanaged(), vault=VaultState.ABSENT)
    monkeypatch.setattr(service, "keyring_backend", fail)
    monkeypatch.setattr(service, "create_vault", fail)
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        for _ in range(2):
            await driver.press(*"three small words", "enter")
        assert "Internal error (UnicodeError)" in " ".join(driver.text.split())
        assert CANARY not in driver.text
        await driver.press("escape")
        await still_works(driver, monkeypatch)


@pytest.mark.parametrize("refusal", [UnicodeError(CANARY), VaultError("noting it", "the disk is full", "x")])
async def test_where_it_is_noted_that_the_recovery_key_was_seen(
    drive: Drive, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    service = MemoryService(unmanaged(), vault=VaultState.ABSENT)

    def refuse() -> None:
        raise refusal

    monkeypatch.setattr(service, "confirm_recovery_key", refuse)
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        for _ in range(2):
            await driver.type(f"{PASSPHRASE}\r")
        await driver.type(f"{RECOVERY[-6:]}\r")
        assert "refreshed terraform" in driver.message
        await still_works(driver, monkeypatch)


async def test_where_the_vault_is_opened(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    service = MemoryService(believable(), vault=VaultState.LOCKED)
    monkeypatch.setattr(service, "unlock", fail)
    async with drive(service) as driver:
        await driver.go("ci-deploy")
        await driver.press("r")
        await driver.type(f"{PASSPHRASE}\r")
        assert "internal error (UnicodeError)" in driver.message
        await still_works(driver, monkeypatch)
        await driver.go("ci-deploy")
        await driver.press("r")
        await driver.type(f"{PASSPHRASE}\r")
        assert "refreshed ci-deploy" in driver.message


async def test_where_a_code_is_sent(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    service = MemoryService(believable(), vault=VaultState.OPEN)
    refresh = service.refresh

    def with_a_code(name: str, code: str | None = None) -> object:
        return refresh(name) if code is None else fail()

    monkeypatch.setattr(service, "refresh", with_a_code)
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("r")
        await driver.type("111111")
        assert "internal error (UnicodeError)" in driver.message
        await still_works(driver, monkeypatch)


@pytest.mark.parametrize("verb", ["plan_adopt", "adopt", "lock", "stop", "refresh", "due_profiles"])
async def test_where_an_operation_runs(drive: Drive, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    service = MemoryService(believable(), vault=VaultState.OPEN)
    monkeypatch.setattr(service, verb, fail)
    async with drive(service) as driver:
        await driver.go("personal" if "adopt" in verb else "terraform")
        key = {
            "plan_adopt": "m",
            "adopt": "m",
            "lock": "L",
            "stop": "x",
            "refresh": "r",
            "due_profiles": "a",
        }[verb]
        await driver.press(key)
        if not isinstance(driver.app.screen, MainScreen):
            await driver.press("enter" if verb == "adopt" else "y")
        assert "internal error" in driver.message
        await still_works(driver, monkeypatch)


async def test_where_another_plan_is_made_in_the_review(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = MemoryService(believable(), vault=VaultState.OPEN)
    plan = service.plan_adopt

    def but_for_another(names: Sequence[str], *, session_none: bool = False) -> object:
        return fail() if session_none else plan(names)

    monkeypatch.setattr(service, "plan_adopt", but_for_another)
    async with drive(service) as driver:
        await driver.go("personal")
        await driver.press("m")
        await driver.press("s")
        assert "Internal error (UnicodeError)" in driver.text
        await driver.press("escape")
        await still_works(driver, monkeypatch)


@pytest.mark.parametrize("verb", ["snapshot", "has_changed", "withdraw_expired"])
async def test_where_it_looks_by_itself(drive: Drive, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    service = MemoryService(believable(), vault=VaultState.OPEN)
    async with drive(service) as driver:
        monkeypatch.setattr(service, verb, fail)
        if verb == "snapshot":
            monkeypatch.setattr(service, "has_changed", lambda: True)
        if verb == "withdraw_expired":
            driver.app._last_withdrawal = driver.app.state.now() - timedelta(days=1)
            monkeypatch.setattr("keyturn_tui.app.has_expired_delivery", lambda *_: True)
        await driver.pilot.pause(POLL_INTERVAL + 0.5)
        await driver.settle()
        assert "internal error (UnicodeError)" in driver.message
        await still_works(driver, monkeypatch)
