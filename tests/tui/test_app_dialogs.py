"""Dialogs: a new vault, the passphrase, an MFA code, the review before a write."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from textual import events
from textual.message import Message

from keyturn.model.profile import DiffLine, Plan, VaultState
from keyturn_tui.dialogs.create_vault import CreateVaultScreen
from keyturn_tui.dialogs.mfa import MfaScreen, seconds_to_next
from keyturn_tui.dialogs.review_changes import ReviewScreen, review_lines
from keyturn_tui.dialogs.unlock import UnlockScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.widgets.fields import SecretField
from tests.tui.conftest import NARROW, WIDE, Drive, Driven
from tests.tui.memory_service import PASSPHRASE, RECOVERY, MemoryService
from tests.tui.sample_profiles import NOW, believable

BOTH = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])


def keeper_with(vault: VaultState, **more: object) -> MemoryService:
    return MemoryService(believable(), vault=vault, **more)  # type: ignore[arg-type]  # keywords of the service


def on_main(driven: Driven) -> bool:
    return isinstance(driven.app.screen, MainScreen)


@BOTH
async def test_first_refresh_makes_the_vault_by_passphrase_and_goes_on(
    drive: Drive, size: tuple[int, int]
) -> None:
    keeper = keeper_with(VaultState.ABSENT)
    async with drive(keeper, size) as driven:
        assert keeper.calls == [], "no vault is made or asked for at the start"
        await driven.go("terraform")
        await driven.press("r")
        assert isinstance(driven.app.screen, CreateVaultScreen)
        await driven.type(PASSPHRASE)
        assert PASSPHRASE not in driven.text
        await driven.press("enter")
        await driven.type("something else")
        await driven.press("enter")
        assert "Passphrases don't match" in driven.text
        for _ in range(2):
            await driven.type(PASSPHRASE)
            await driven.press("enter")
        assert RECOVERY in driven.text, "on one line, so that it can be marked with a mouse"
        await driven.type("WRONGX")
        await driven.press("enter")
        assert "not its last 6 characters" in driven.text
        await driven.press(*["backspace"] * 6)
        await driven.type(RECOVERY[-6:].lower())
        await driven.press("enter")
        assert on_main(driven)
        assert keeper.named("confirm_recovery_key") == [""]
        assert keeper.refreshed == ["terraform", "terraform"], "the refresh was repeated"
        assert "refreshed terraform" in driven.message
        assert "vault unlocked" in driven.text or size == NARROW


async def test_a_working_keyring_is_offered_first(drive: Drive) -> None:
    keeper = keeper_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.press("r")
        assert "k  System keyring (Secret Service)" in driven.text
        await driven.press("k")
        assert keeper.named("new_vault") == ["keyring"]
        await driven.press("escape")
        assert on_main(driven)
        assert "refreshed terraform" in driven.message, "the proof can wait; the vault is there"


async def test_escape_makes_no_vault_and_leaves_everything(drive: Drive) -> None:
    keeper = keeper_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.press("r", "escape")
        assert on_main(driven)
        assert keeper.named("new_vault") == []
        assert "cancelled, nothing changed" in driven.message
        assert "○ expired   terraform" in driven.text


@BOTH
async def test_a_locked_vault_asks_once_and_the_refresh_goes_on(drive: Drive, size: tuple[int, int]) -> None:
    keeper = keeper_with(VaultState.LOCKED)
    async with drive(keeper, size) as driven:
        await driven.go("terraform")
        await driven.press("r")
        assert isinstance(driven.app.screen, UnlockScreen)
        assert "Needed for: refresh of terraform" in driven.text
        await driven.press("enter")
        assert "Enter the passphrase." in driven.text
        await driven.type("wrong")
        await driven.press("enter")
        assert "Wrong passphrase" in driven.text
        assert driven.app.screen.query_one(SecretField).value == "", (
            "the field was emptied as it was handed over"
        )
        await driven.type(PASSPHRASE)
        await driven.press("enter")
        assert on_main(driven)
        assert "refreshed terraform" in driven.message


async def test_the_recovery_key_opens_it_in_the_same_field(drive: Drive) -> None:
    keeper = keeper_with(VaultState.LOCKED)
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.press("r")
        driven.app.screen.query_one(SecretField).post_message(events.Paste(RECOVERY))
        await driven.press("enter")
        assert keeper.named("unlock") == ["recovery"]
        assert on_main(driven)


async def test_a_closed_vault_is_opened_by_the_keyring_without_a_question(drive: Drive) -> None:
    keeper = keeper_with(VaultState.CLOSED, slot="keyring")
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.press("r")
        assert on_main(driven)
        assert keeper.named("unlock") == ["keyring"]
        assert "refreshed terraform" in driven.message


async def test_a_secret_is_never_in_a_message_or_on_a_clipboard(drive: Drive) -> None:
    keeper = keeper_with(VaultState.LOCKED)
    seen: list[str] = []

    def listen(message: Message) -> None:
        values = [getattr(message, name, "") for name in ("value", "text", "result", "error")]
        seen.extend(str(value) for value in values)

    async with drive(keeper, hook=listen) as driven:
        await driven.go("terraform")
        await driven.press("r")
        field = driven.app.screen.query_one(SecretField)
        await driven.type("canary")
        field.select_all()
        await driven.press("ctrl+c", "ctrl+x")
        assert driven.app.clipboard == ""
        await driven.press("end", "enter")
        assert field.value == ""
        assert "canary" not in " ".join(seen)


async def test_two_that_wait_for_the_same_question_are_asked_once(drive: Drive) -> None:
    keeper = keeper_with(VaultState.LOCKED)
    keeper.edit("ci-deploy-mfa", mfa_serial=None)
    async with drive(keeper) as driven:
        await driven.press("a")
        await driven.type(PASSPHRASE)
        await driven.press("enter")
        assert on_main(driven)
        assert keeper.named("unlock") == ["passphrase"]
        assert "3 refreshed." in driven.message


async def test_declining_the_question_asks_nobody_else(drive: Drive) -> None:
    keeper = keeper_with(VaultState.LOCKED)
    keeper.edit("ci-deploy-mfa", mfa_serial=None)
    async with drive(keeper) as driven:
        await driven.press("a", "escape")
        assert on_main(driven)
        assert "0 refreshed, 3 failed" in driven.message


@BOTH
async def test_an_mfa_code_is_sent_on_the_sixth_digit(drive: Drive, size: tuple[int, int]) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper, size) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("r")
        assert isinstance(driven.app.screen, MfaScreen)
        assert "arn:aws:iam::444455556666:mfa/jo" in driven.text
        await driven.type("1a1 11")
        assert isinstance(driven.app.screen, MfaScreen), "letters are not taken in"
        await driven.type("11")
        assert on_main(driven)
        assert keeper.named("refresh")[-1] == ("ci-deploy-mfa", "111111")
        assert "refreshed ci-deploy-mfa" in driven.message


async def test_i_asks_for_the_code_before_it_is_missed(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("i")
        assert keeper.named("refresh") == []
        await driven.type("111111")
        assert keeper.named("refresh") == [("ci-deploy-mfa", "111111")]


async def test_a_wrong_code_is_one_line_and_after_three_it_ends(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("i")
        for _ in range(2):
            await driven.type("999999")
            assert isinstance(driven.app.screen, MfaScreen)
            assert "Code refused (wrong, expired or used). Next code in 20 s." in driven.text
        await driven.type("999999")
        assert on_main(driven)
        assert "3 codes were refused" in driven.message
        assert len(keeper.named("refresh")) == 3


async def test_a_used_code_is_not_sent_again(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper) as driven:
        await driven.go("ci-deploy-mfa")
        await driven.press("i")
        await driven.type("111111")
        keeper.move_clock(timedelta(seconds=4))
        await driven.press("i")
        assert "The last code was used 4 s ago. Wait for the next one (16 s)." in driven.text
        sent = len(keeper.named("refresh"))
        await driven.type("111111")
        assert "This code was already used" in driven.text
        assert len(keeper.named("refresh")) == sent
        await driven.type("222222")
        assert on_main(driven)
        assert "refreshed ci-deploy-mfa" in driven.message


def test_the_wait_for_the_next_code() -> None:
    assert seconds_to_next(NOW) == 20
    assert seconds_to_next(NOW + timedelta(seconds=20)) == 30
    assert seconds_to_next(NOW + timedelta(seconds=49)) == 1


@BOTH
async def test_adopt_shows_the_diff_and_writes_on_enter(drive: Drive, size: tuple[int, int]) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper, size) as driven:
        await driven.go("personal")
        await driven.press("m")
        assert isinstance(driven.app.screen, ReviewScreen)
        for words in (
            "Adopt personal: review",
            "- aws_secret_access_key = ***",
            "personal: secret access key of AKIA…4WQP",
        ):
            assert words in driven.text
        assert keeper.named("adopt") == []
        await driven.press("enter")
        assert on_main(driven)
        assert keeper.named("adopt") == [(("personal",), False)]
        assert "adopted personal" in driven.message


async def test_escape_writes_nothing(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper) as driven:
        await driven.go("personal")
        await driven.press("m", "escape")
        assert keeper.named("adopt") == []
        assert "cancelled, nothing changed" in driven.message


async def test_s_plans_anew_with_the_key_itself(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper) as driven:
        await driven.go("personal")
        await driven.press("m", "s")
        assert "The key itself is delivered: no MFA, no end." in driven.text
        assert "s Deliver a session instead" in driven.text
        await driven.press("enter")
        assert keeper.named("adopt") == [(("personal",), True)]


async def test_adopt_makes_the_vault_first(drive: Drive) -> None:
    keeper = keeper_with(VaultState.ABSENT, keyring="Secret Service")
    async with drive(keeper) as driven:
        await driven.go("personal")
        await driven.press("m", "enter", "k", "escape")
        assert on_main(driven)
        assert keeper.named("adopt") == [(("personal",), False)]


async def test_a_file_changed_meanwhile_is_reviewed_again(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    keeper.changed_under_plan = 1
    async with drive(keeper) as driven:
        await driven.go("personal")
        await driven.press("m", "enter")
        assert isinstance(driven.app.screen, ReviewScreen)
        assert "The files changed in the meantime. Nothing was written" in driven.text
        await driven.press("enter")
        assert "adopted personal" in driven.message


@BOTH
async def test_release_wants_the_passphrase_where_a_key_leaves(drive: Drive, size: tuple[int, int]) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper, size) as driven:
        await driven.go("ci-deploy")
        await driven.press("m")
        assert "Release ci-deploy: review" in driven.text
        await driven.press("enter")
        assert "long-term keys leave the vault" in driven.text
        await driven.type("wrong")
        await driven.press("enter")
        assert "Wrong passphrase" in driven.text
        await driven.type(PASSPHRASE)
        await driven.press("enter")
        assert on_main(driven)
        assert "released ci-deploy" in driven.message


async def test_release_wants_typed_words_where_there_is_only_a_keyring(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN, slot="keyring")
    async with drive(keeper) as driven:
        await driven.go("ci-deploy")
        await driven.press("m", "enter")
        assert "Type: release ci-deploy" in driven.text
        await driven.type("yes")
        await driven.press("enter")
        assert "The text does not match." in driven.text
        await driven.press(*["backspace"] * 3)
        await driven.type("release ci-deploy")
        await driven.press("enter")
        assert "released ci-deploy" in driven.message


async def test_release_of_a_role_only_wants_its_review(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.press("m", "enter")
        assert "released terraform" in driven.message


def test_a_plan_says_who_comes_along() -> None:
    plan = Plan(
        "adopt", ("ci", "audit"), ("audit",), (DiffLine("+", "x = 1"),), (), (), needs_vault=False, digest=""
    )
    text = "\n".join("".join(words for words, _ in line) for line in review_lines(plan, 76, "▲"))
    assert "Also included (linked by source_profile): audit" in text


async def test_a_long_review_scrolls_and_says_that_there_is_more(drive: Drive) -> None:
    keeper = keeper_with(VaultState.OPEN)
    long = tuple(DiffLine("+", f"line {nth}") for nth in range(100))
    plan = replace(keeper.plan_adopt(("personal",)), diff=long)
    async with drive(keeper, NARROW) as driven:
        driven.app.push_screen(ReviewScreen(driven.app.state, plan))
        await driven.settle()
        assert "more lines below (j)" in driven.text
        await driven.press("G")
        assert "line 99" in driven.text
        assert "more lines below" not in driven.text


async def test_a_slow_refresh_blocks_no_key(drive: Drive) -> None:
    import threading

    keeper = keeper_with(VaultState.OPEN)
    keeper.gate = threading.Event()
    async with drive(keeper) as driven:
        await driven.go("terraform")
        await driven.pilot.press("r")
        await driven.pilot.pause()
        assert "↻ working   terraform" in driven.text
        await driven.pilot.press("g")
        await driven.pilot.pause()
        assert driven.chosen == "acme-dev-admin"
        keeper.gate.set()
        await driven.settle()
        assert "refreshed terraform" in driven.message
