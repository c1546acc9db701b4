"""Dialogs: a new vault, the passphrase, an MFA code, the review before a write."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest
from textual import events
from textual.message import Message

from keyturn.model.errors import NeedsMfa
from keyturn.model.profile import DiffLine, Plan, Profile, Refreshed, Renew, Session, Snapshot, VaultState
from keyturn_tui.dialogs.create_vault import CreateVaultScreen, Step
from keyturn_tui.dialogs.mfa import MfaScreen, count_served, seconds_to_next
from keyturn_tui.dialogs.review_changes import ReviewScreen, review_lines
from keyturn_tui.dialogs.unlock import UnlockScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.widgets.fields import SecretField
from tests.tui.conftest import NARROW, WIDE, AppDriver, Drive
from tests.tui.memory_service import PASSPHRASE, RECOVERY, MemoryService
from tests.tui.sample_profiles import NOW, believable, unmanaged

BOTH = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])


def service_with(vault: VaultState, **more: object) -> MemoryService:
    rows = unmanaged() if vault is VaultState.ABSENT else believable()
    return MemoryService(rows, vault=vault, **more)  # type: ignore[arg-type]  # keywords of the service


@asynccontextmanager
async def slow_unlock(
    drive: Drive, typed: str = PASSPHRASE
) -> AsyncIterator[tuple[AppDriver, MemoryService, threading.Event, UnlockScreen[bool]]]:
    """Refresh `terraform` with a locked vault, and enter a passphrase. The vault answers once the gate
    is set."""
    service = service_with(VaultState.LOCKED)
    service.unlock_gate = gate = threading.Event()
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        screen = driver.app.screen
        assert isinstance(screen, UnlockScreen)
        await driver.type(typed)
        await driver.pilot.press("enter")
        yield driver, service, gate, screen


def on_main(driver: AppDriver) -> bool:
    return isinstance(driver.app.screen, MainScreen)


@BOTH
async def test_first_refresh_makes_the_vault_by_passphrase_and_goes_on(
    drive: Drive, size: tuple[int, int]
) -> None:
    service = service_with(VaultState.ABSENT)
    async with drive(service, size) as driver:
        assert service.calls == [], "no vault is made or asked for at the start"
        await driver.go("terraform")
        await driver.press("r")
        assert isinstance(driver.app.screen, CreateVaultScreen)
        await driver.type(PASSPHRASE)
        assert PASSPHRASE not in driver.text
        await driver.press("enter")
        await driver.type("something else")
        await driver.press("enter")
        assert "Passphrases don't match" in driver.text
        for _ in range(2):
            await driver.type(PASSPHRASE)
            await driver.press("enter")
        assert RECOVERY in driver.text, "on one line, so that it can be marked with a mouse"
        await driver.type("WRONGX")
        await driver.press("enter")
        assert "not its last 6 characters" in driver.text
        await driver.press(*["backspace"] * 6)
        await driver.type(RECOVERY[-6:].lower())
        await driver.press("enter")
        assert on_main(driver)
        assert service.named("confirm_recovery_key") == [""]
        assert service.refreshed == ["terraform", "terraform"], "the refresh was repeated"
        assert "refreshed terraform" in driver.message
        assert "vault unlocked" in driver.text or size == NARROW


async def test_a_slow_creation_shows_that_it_works(drive: Drive) -> None:
    async with drive(service_with(VaultState.ABSENT)) as driver:
        await driver.go("terraform")
        await driver.press("r")
        screen = driver.app.screen
        assert isinstance(screen, CreateVaultScreen)
        screen._step = Step.CREATE
        for _ in range(5):
            screen._tick()
        await driver.pilot.pause()
        assert "Creating the vault… 5 s; this machine is busy or slow." in driver.text


async def test_a_working_keyring_is_offered_first(drive: Drive) -> None:
    service = service_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        assert "k  System keyring (Secret Service)" in driver.text
        await driver.press("k")
        assert service.named("new_vault") == ["keyring"]
        await driver.press("escape")
        assert on_main(driver)
        assert "refreshed terraform" in driver.message, "the proof can wait; the vault is there"


async def test_escape_makes_no_vault_and_leaves_everything(drive: Drive) -> None:
    service = service_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r", "escape")
        assert on_main(driver)
        assert service.named("new_vault") == []
        assert "cancelled, nothing changed" in driver.message
        assert "○ expired   terraform" in driver.text


@BOTH
async def test_a_locked_vault_asks_once_and_the_refresh_goes_on(drive: Drive, size: tuple[int, int]) -> None:
    service = service_with(VaultState.LOCKED)
    async with drive(service, size) as driver:
        await driver.go("terraform")
        await driver.press("r")
        assert isinstance(driver.app.screen, UnlockScreen)
        assert "Needed for: refresh of terraform" in driver.text
        await driver.press("enter")
        assert "Enter the passphrase." in driver.text
        await driver.type("wrong")
        await driver.press("enter")
        assert "Wrong passphrase" in driver.text
        assert driver.app.screen.query_one(SecretField).value == "", (
            "the field was emptied as it was handed over"
        )
        await driver.type(PASSPHRASE)
        await driver.press("enter")
        assert on_main(driver)
        assert "refreshed terraform" in driver.message


async def test_the_recovery_key_opens_it_in_the_same_field(drive: Drive) -> None:
    service = service_with(VaultState.LOCKED)
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        driver.app.screen.query_one(SecretField).post_message(events.Paste(RECOVERY))
        await driver.press("enter")
        assert service.named("unlock") == ["recovery"]
        assert on_main(driver)


async def test_escape_while_it_unlocks_ends_the_unlock_and_changes_nothing(drive: Drive) -> None:
    async with slow_unlock(drive) as (driver, service, gate, _):
        await driver.pilot.press("escape")
        await driver.settle()
        assert on_main(driver)
        assert "refresh of terraform: cancelled, nothing changed" in driver.message
        gate.set()
        await driver.settle()
        assert service.vault is VaultState.LOCKED
        assert service.refreshed == ["terraform"], "only the attempt that found it locked"


async def test_an_unlock_that_succeeds_as_it_is_cancelled_is_no_surprise(drive: Drive) -> None:
    async with slow_unlock(drive) as (driver, service, gate, screen):
        screen._cancel = lambda: None  # the vault was open before the cancellation arrived
        await driver.pilot.press("escape")
        await driver.pilot.pause()
        assert "Cancelling…" in driver.text
        gate.set()
        await driver.settle()
        assert service.vault is VaultState.OPEN
        assert "refreshed terraform" in driver.message


async def test_a_wrong_passphrase_whose_answer_comes_after_escape_is_cancelled(drive: Drive) -> None:
    async with slow_unlock(drive, "wrong") as (driver, service, gate, screen):
        screen._cancel = lambda: None  # the passphrase was refused before the cancellation arrived
        await driver.pilot.press("escape")
        gate.set()
        await driver.settle()
        assert on_main(driver)
        assert "refresh of terraform: cancelled, nothing changed" in driver.message
        await driver.press("r")
        await driver.type(PASSPHRASE)
        await driver.press("enter")
        await driver.settle()
        assert service.vault is VaultState.OPEN
        assert "refreshed terraform" in driver.message


async def test_a_slow_unlock_shows_that_it_works(drive: Drive) -> None:
    async with slow_unlock(drive) as (driver, _service, gate, screen):
        assert "takes about a second by design" in driver.text
        for _ in range(4):
            screen._tick()
        await driver.pilot.pause()
        assert "Unlocking… 4 s; this machine is busy or slow. Esc cancels." in driver.text
        gate.set()
        await driver.settle()
        assert "refreshed terraform" in driver.message


async def test_a_closed_vault_is_opened_by_the_keyring_without_a_question(drive: Drive) -> None:
    service = service_with(VaultState.CLOSED, slot="keyring")
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("r")
        assert on_main(driver)
        assert service.named("unlock") == ["keyring"]
        assert "refreshed terraform" in driver.message


async def test_a_secret_is_never_in_a_message_or_on_a_clipboard(drive: Drive) -> None:
    service = service_with(VaultState.LOCKED)
    messages: list[str] = []

    def listen(message: Message) -> None:
        values = [getattr(message, name, "") for name in ("value", "text", "result", "error")]
        messages.extend(str(value) for value in values)

    async with drive(service, hook=listen) as driver:
        await driver.go("terraform")
        await driver.press("r")
        field = driver.app.screen.query_one(SecretField)
        await driver.type("canary")
        field.select_all()
        await driver.press("ctrl+c", "ctrl+x")
        assert driver.app.clipboard == ""
        await driver.press("end", "enter")
        assert field.value == ""
        assert "canary" not in " ".join(messages)


def three_due(service: MemoryService) -> None:
    """Make three profiles due with sessions that are still valid; others are shown as locked."""
    session = Session("ASIAEXAMPLE0000SOON", NOW - timedelta(minutes=56), NOW + timedelta(minutes=4))
    for name in ("ci-deploy-mfa", "terraform", "acme-prod-readonly"):
        service.edit(name, session=session, renew=Renew.AUTO, mfa_serial=None, needs_person=False)


async def test_two_that_wait_for_the_same_question_are_asked_once(drive: Drive) -> None:
    service = service_with(VaultState.LOCKED)
    three_due(service)
    async with drive(service) as driver:
        await driver.press("a")
        await driver.type(PASSPHRASE)
        await driver.press("enter")
        assert on_main(driver)
        assert service.named("unlock") == ["passphrase"]
        assert "3 refreshed." in driver.message


async def test_declining_the_question_asks_nobody_else(drive: Drive) -> None:
    service = service_with(VaultState.LOCKED)
    three_due(service)
    async with drive(service) as driver:
        await driver.press("a", "escape")
        assert on_main(driver)
        assert "0 refreshed, 3 skipped." in driver.message


@BOTH
async def test_an_mfa_code_is_sent_on_the_sixth_digit(drive: Drive, size: tuple[int, int]) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service, size) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("r")
        assert isinstance(driver.app.screen, MfaScreen)
        assert "arn:aws:iam::444455556666:mfa/jo" in driver.text
        await driver.type("1a1 11")
        assert isinstance(driver.app.screen, MfaScreen), "letters are not taken in"
        await driver.type("11")
        assert on_main(driver)
        assert service.named("refresh")[-1] == ("ci-deploy-mfa", "111111")
        assert "refreshed ci-deploy-mfa" in driver.message


@BOTH
async def test_the_code_dialog_counts_only_profiles_that_will_not_be_asked(
    drive: Drive, size: tuple[int, int]
) -> None:
    service = service_with(VaultState.OPEN)
    serial, session = "arn:aws:iam::444455556666:mfa/jo", ("AKIA", "arn:aws:iam::444455556666:mfa/jo")
    service.edit("ci-deploy-mfa", mfa_session=session)
    service.edit("terraform", mfa_serial=serial)
    service.edit("ci-audit", mfa_serial=serial, mfa_session=("AKIA2", serial))
    async with drive(service, size) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("i")
        assert "Also for" not in driver.text, "the others have the device, but not the session"
        assert "shared with" not in driver.text
        await driver.press("escape")
        service.edit("terraform", mfa_session=session)
        await driver.app.reload()
        await driver.press("i")
        assert "1 other profile of this user" in driver.text


@pytest.mark.parametrize(
    ("vault", "served"), [(VaultState.OPEN, 1), (VaultState.LOCKED, 0), (VaultState.CLOSED, 0)]
)
def test_a_code_serves_others_only_while_the_vault_can_keep_the_session(
    vault: VaultState, served: int
) -> None:
    rows = (
        Profile("a", mfa_session=("K", "S")),
        Profile("b", mfa_session=("K", "S")),
        Profile("c", mfa_session=("K", "other")),
        Profile("d"),
        Profile("e"),
    )
    snapshot = Snapshot(1, rows, vault=vault)
    assert count_served("a", snapshot) == served
    assert count_served("d", snapshot) == 0
    assert count_served("gone", snapshot) == 0
    assert count_served("a", None) == 0


async def test_a_role_that_names_no_device_asks_for_the_code_of_its_source(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = service_with(VaultState.OPEN)
    serial, refresh = "arn:aws:iam::444455556666:mfa/jo", service.refresh
    row = next(row for row in service.snapshot().profiles if row.name == "ci-deploy")
    assert row.mfa_serial is None

    def deny_without_code(name: str, code: str | None = None) -> Refreshed:
        if code is None:
            service.calls.append(("refresh", (name, None)))
            raise NeedsMfa(f"Could not refresh {name}", "AccessDenied", "", profile=name, serial=serial)
        return refresh(name, code)

    monkeypatch.setattr(service, "refresh", deny_without_code)
    async with drive(service) as driver:
        await driver.go("ci-deploy")
        await driver.press("r")
        assert isinstance(driver.app.screen, MfaScreen)
        assert serial in driver.text
        await driver.type("111111")
        assert on_main(driver)
        assert service.named("refresh")[-1] == ("ci-deploy", "111111")
        assert "refreshed ci-deploy" in driver.message


async def test_i_asks_for_the_code_before_it_is_missed(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("i")
        assert service.named("refresh") == []
        await driver.type("111111")
        assert service.named("refresh") == [("ci-deploy-mfa", "111111")]


async def test_a_wrong_code_is_one_line_and_after_three_it_ends(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("i")
        for _ in range(2):
            await driver.type("999999")
            assert isinstance(driver.app.screen, MfaScreen)
            assert "Code refused (wrong, expired or used). Next code in 20 s." in driver.text
        await driver.type("999999")
        assert on_main(driver)
        assert "3 codes were refused" in driver.message
        assert len(service.named("refresh")) == 3


async def test_a_used_code_is_not_sent_again(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("i")
        await driver.type("111111")
        service.move_clock(timedelta(seconds=4))
        await driver.press("i")
        assert "The last code was used 4 s ago. Wait for the next one (16 s)." in driver.text
        sent = len(service.named("refresh"))
        await driver.type("111111")
        assert "This code was already used" in driver.text
        assert len(service.named("refresh")) == sent
        await driver.type("222222")
        assert on_main(driver)
        assert "refreshed ci-deploy-mfa" in driver.message


def test_the_wait_for_the_next_code() -> None:
    assert seconds_to_next(NOW) == 20
    assert seconds_to_next(NOW + timedelta(seconds=20)) == 30
    assert seconds_to_next(NOW + timedelta(seconds=49)) == 1


@BOTH
async def test_adopt_shows_the_diff_and_writes_on_enter(drive: Drive, size: tuple[int, int]) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service, size) as driver:
        await driver.go("personal")
        await driver.press("m")
        assert isinstance(driver.app.screen, ReviewScreen)
        for words in (
            "Adopt personal: review",
            "- aws_secret_access_key = ***",
            "personal: secret access key of AKIA…9ZLM",
        ):
            assert words in driver.text
        assert service.named("adopt") == []
        await driver.press("enter")
        assert on_main(driver)
        assert service.named("adopt") == [(("personal",), False)]
        assert "adopted personal" in driver.message


async def test_escape_writes_nothing(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("personal")
        await driver.press("m", "escape")
        assert service.named("adopt") == []
        assert "cancelled, nothing changed" in driver.message


async def test_s_plans_anew_with_the_key_itself(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("personal")
        await driver.press("m", "s")
        assert "The key itself is delivered: no MFA, no end." in driver.text
        assert "s Deliver a session instead" in driver.text
        await driver.press("enter")
        assert service.named("adopt") == [(("personal",), True)]


async def test_adopt_makes_the_vault_first(drive: Drive) -> None:
    service = service_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(service) as driver:
        await driver.go("personal")
        await driver.press("m", "enter", "k", "escape")
        assert on_main(driver)
        assert service.named("adopt") == [(("personal",), False)]


async def test_a_file_changed_meanwhile_is_reviewed_again(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    service.changed_under_plan = 1
    async with drive(service) as driver:
        await driver.go("personal")
        await driver.press("m", "enter")
        assert isinstance(driver.app.screen, ReviewScreen)
        assert "The files changed in the meantime. Nothing was written" in driver.text
        await driver.press("enter")
        assert "adopted personal" in driver.message


@BOTH
async def test_release_wants_the_passphrase_where_a_key_leaves(drive: Drive, size: tuple[int, int]) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service, size) as driver:
        await driver.go("ci-deploy")
        await driver.press("m")
        assert "Release ci-deploy: review" in driver.text
        await driver.press("enter")
        assert "long-term keys leave the vault" in driver.text
        await driver.type("wrong")
        await driver.press("enter")
        assert "Wrong passphrase" in driver.text
        await driver.type(PASSPHRASE)
        await driver.press("enter")
        assert on_main(driver)
        assert "released ci-deploy" in driver.message


async def test_d_releases_what_depends_on_it_too(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("ci-deploy")
        await driver.press("m")
        assert "Stay managed, with sessions from here: ci-" in driver.text
        count = re.search(r"d Release (\d+) dependents too", driver.text)
        assert count is not None
        await driver.press("d")
        assert "Also included (linked by source_profile): ci-" in driver.text
        assert "d Release it alone" in driver.text
        await driver.press("enter")
        await driver.type(PASSPHRASE)
        await driver.press("enter")
        assert "released ci-deploy" in driver.message
        plan_names, _ = cast("tuple[tuple[str, ...], object]", service.named("release")[-1])
        assert len(plan_names) == 1 + int(count[1])


async def test_a_profile_on_which_nothing_depends_offers_no_choice(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("ci-deploy-mfa")
        await driver.press("m")
        assert "Release ci-deploy-mfa: review" in driver.text
        assert "dependents" not in driver.text
        await driver.press("d", "s")
        assert "Also included" not in driver.text


@pytest.mark.parametrize(("slot", "typed"), [("passphrase", PASSPHRASE), ("keyring", "release ci-deploy")])
async def test_a_release_that_runs_cannot_be_left(drive: Drive, slot: str, typed: str) -> None:
    service = service_with(VaultState.OPEN, slot=slot)
    service.gate = threading.Event()
    async with drive(service) as driver:
        await driver.go("ci-deploy")
        await driver.press("m", "enter")
        await driver.type(typed)
        await driver.pilot.press("enter")
        await driver.pilot.press("escape")
        await driver.pilot.pause()
        assert "can no longer be cancelled" in driver.text
        service.gate.set()
        await driver.settle()
        assert "released ci-deploy" in driver.message


async def test_a_dialog_waits_until_the_one_before_it_is_closed(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("ci-deploy")
        await driver.press("m")
        driver.app.start(driver.app.controller.refresh("ci-deploy-mfa"))
        await driver.settle()
        assert isinstance(driver.app.screen, ReviewScreen)
        await driver.press("escape")
        assert isinstance(driver.app.screen, MfaScreen)
        await driver.press("escape")
        assert on_main(driver)


async def test_release_wants_typed_words_where_there_is_only_a_keyring(drive: Drive) -> None:
    service = service_with(VaultState.OPEN, slot="keyring")
    async with drive(service) as driver:
        await driver.go("ci-deploy")
        await driver.press("m", "enter")
        assert "Type: release ci-deploy" in driver.text
        await driver.type("yes")
        await driver.press("enter")
        assert "The text does not match." in driver.text
        await driver.press(*["backspace"] * 3)
        await driver.type("release ci-deploy")
        await driver.press("enter")
        assert "released ci-deploy" in driver.message


async def test_release_of_a_role_only_wants_its_review(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.press("m", "enter")
        assert "released terraform" in driver.message


def test_a_plan_says_who_comes_along() -> None:
    plan = Plan(
        "adopt", ("ci", "audit"), ("audit",), (DiffLine("+", "x = 1"),), (), (), needs_vault=False, digest=""
    )
    text = "\n".join("".join(words for words, _ in line) for line in review_lines(plan, 76, "▲"))
    assert "Also included (linked by source_profile): audit" in text


async def test_a_long_review_scrolls_and_says_that_there_is_more(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    long = tuple(DiffLine("+", f"line {nth}") for nth in range(100))
    plan = replace(service.plan_adopt(("personal",)), diff=long)
    async with drive(service, NARROW) as driver:
        driver.app.push_screen(ReviewScreen(driver.app.state, plan))
        await driver.settle()
        assert "more lines below (j)" in driver.text
        await driver.press("G")
        assert "line 99" in driver.text
        assert "more lines below" not in driver.text


async def test_a_slow_refresh_blocks_no_key(drive: Drive) -> None:
    service = service_with(VaultState.OPEN)
    service.gate = threading.Event()
    async with drive(service) as driver:
        await driver.go("terraform")
        await driver.pilot.press("r")
        await driver.pilot.pause()
        assert "↻ working   terraform" in driver.text
        await driver.pilot.press("g")
        await driver.pilot.pause()
        assert driver.selected == "acme-dev-admin"
        service.gate.set()
        await driver.settle()
        assert "refreshed terraform" in driver.message
