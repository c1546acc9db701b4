"""A rotation by keyboard: through all steps, stopped and continued, undone, to the deletion, and with
failures."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.cells import cell_len

from keyturn.aws.api import LastUse
from keyturn.model.errors import RotationHalted, Unreachable
from keyturn.model.profile import Key, VaultState
from keyturn.operations.rotation.client import RotationClient
from keyturn.operations.rotation.record import Step
from keyturn_tui.dialogs.confirm import ConfirmScreen, DeletionScreen
from keyturn_tui.dialogs.mfa import MfaScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.screens.timeline import TimelineScreen
from keyturn_tui.terminal.capabilities import Options
from keyturn_tui.widgets.fields import PlainField
from tests.tui.conftest import NARROW, WIDE, Drive, Driven
from tests.tui.memory_rotation import NEW
from tests.tui.memory_service import PASSPHRASE, MemoryService
from tests.tui.sample_profiles import NOW, believable

THROUGH = ["begin", "on", "on", "on", "on"]


@pytest.fixture
def keeper() -> MemoryService:
    return MemoryService(believable())


def seen(driven: Driven) -> str:
    """Return the text of the screen without frames, with wrapped lines joined."""
    return " ".join(" ".join(line.strip("│|╭╮╰╯ ") for line in driven.text.splitlines()).split())


def on_main(driven: Driven) -> bool:
    return isinstance(driven.app.screen, MainScreen)


async def until(driven: Driven, words: str) -> None:
    """Wait for these words, because a rotation is many operations and the app is idle between them."""
    for _ in range(300):
        if words in seen(driven):
            return
        await asyncio.sleep(0.005)
        await driven.settle()
    raise AssertionError(f"{words!r} did not come:\n{driven.text}")


def test_the_keeper_in_memory_takes_the_steps_of_the_real_one(keeper: MemoryService) -> None:
    """The same steps as in `tests/core/operations/rotation/test_rotation_steps_in_order.py`."""
    rotating, name = keeper.rotation, "ci-deploy"
    first = rotating.start(name)
    through = RotationClient(None, keeper.now, lambda _name: None).run_to_end  # type: ignore[arg-type]  # nothing is routed
    steps = [each.step for each in through(first, lambda: rotating.advance(name), lambda _: None)]
    assert steps == [Step.CREATED, Step.VERIFIED, Step.STORED, Step.DELIVERED, Step.DEACTIVATED]
    assert rotating.finish(name, first.old_id[-4:]).step is Step.DONE


async def test_a_key_is_replaced_and_the_old_one_deleted_later(drive: Drive, keeper: MemoryService) -> None:
    rotating = keeper.rotation
    rotating.spreads = 2
    rotating.last_use = LastUse(NOW + timedelta(hours=1), "s3", "eu-west-1")
    async with drive(keeper, NARROW) as driven:
        await driven.go("ci-deploy")
        assert "R Rotate…" in driven.text.splitlines()[-1], "an overdue key is offered"
        await driven.type("R")
        assert "In use: key AKIA…4WQP, 94 days old" in seen(driven)
        assert "Also used by: ci-deploy-mfa, ci-audit, terraform" in seen(driven)
        await driven.type("uD")
        assert rotating.calls == [], "nothing happens before Enter"
        await driven.type("\r")
        await until(driven, "Done for now")
        assert rotating.done == ["begin", "on", "on", *THROUGH[1:]], "tried again until AWS knew the new key"
        assert "step 7 of 7" in driven.text
        assert driven.text.count("✓") == 6
        assert "If you stop here: AKIA…NEW2 is in use; AKIA…4WQP is inactive" in seen(driven)
        await driven.type("\x1b")
        assert on_main(driven)
        assert "is pending (next: delete the old key). Press R to resume." in seen(driven)

        keeper.move_clock(timedelta(hours=25))
        await driven.type("RD")
        await until(driven, "Last four")
        assert isinstance(driven.app.screen, DeletionScreen)
        assert "Last used: 24h ago (s3, eu-west-1)." in seen(driven)
        assert "▲ It was used after the new key was made" in seen(driven)
        await driven.type("NEW2\r")
        assert "These are not the last four characters of AKIA…4WQP." in seen(driven)
        driven.app.screen.query_one("#last-four", PlainField).clear()
        await driven.type("\r")
        assert "Type the last four characters to delete the key." in seen(driven)
        assert "finish" not in rotating.done
        await driven.type("4wqp\r")
        await until(driven, "AKIA…NEW2 is in use, AKIA…4WQP is deleted.")
        await driven.type("\r")
        assert on_main(driven)
        assert "AKIA…4WQP is deleted" in seen(driven)
        assert "is pending" not in driven.text


async def test_it_stops_after_the_step_in_flight_goes_on_later_and_goes_back(
    drive: Drive, keeper: MemoryService
) -> None:
    rotating = keeper.rotation
    rotating.spreads, rotating.wait = 1, 600.0
    async with drive(keeper, NARROW) as driven:
        await driven.go("ci-deploy")
        await driven.type("R\r")
        await until(driven, "retry in 600 s")
        await driven.type("\x1b")
        await until(driven, "Enter Continue")
        assert rotating.done == ["begin", "on"], "Esc ended the wait"

        rotating.gate = threading.Event()
        await driven.strike("\r\x1b")
        assert "stops after this" in driven.text
        rotating.gate.set()
        await until(driven, "✓ 4 Verify")
        assert rotating.done == ["begin", "on", "on"]
        assert "If you stop here: AKIA…4WQP and AKIA…NEW2 work, AKIA…4WQP is in use." in seen(driven)

        rotating.gate.clear()
        await driven.strike("\r\x1b\x1b")
        assert on_main(driven), "a second Esc leaves the step to itself"
        await driven.strike("q")
        assert isinstance(driven.app.screen, ConfirmScreen)
        assert "A rotation step of ci-deploy is running." in seen(driven)
        await driven.strike("\x1b")
        rotating.gate.set()
        await until(driven, "Rotation of ci-deploy is pending (next: deliver). Press R to resume.")
        assert rotating.done == ["begin", "on", "on", "on"]

        await driven.type("tg\t")
        assert isinstance(driven.app.screen, TimelineScreen)
        assert "▸ ▲ new stored" in driven.text, "its lane says so too"
        await driven.type("R\r")
        await until(driven, "Done for now")
        await driven.type("u")
        assert "Then AKIA…NEW2 is deleted at AWS." in seen(driven)
        await driven.type("\r\x1b")
        assert "back" not in rotating.done, "Enter confirms nothing"
        await driven.type("uy")
        await until(driven, "AKIA…4WQP is in use, as before.")
        assert "Undo rotation: ci-deploy" in driven.text
        await driven.type("\r\x1b")
        assert "▲ overdue 4d" in driven.text
        await driven.strike("q")
        assert driven.app.return_code == 0, "nothing is in flight any more"


async def test_what_goes_wrong_stays_in_the_dialog_and_enter_tries_again(
    drive: Drive, keeper: MemoryService
) -> None:
    rotating = keeper.rotation
    rotating.wants_code = True
    keeper.vault = VaultState.LOCKED
    hint = "Go on: keyturn rotate ci-deploy --resume, or back: keyturn rotate ci-deploy --undo"
    async with drive(keeper, NARROW) as driven:
        await driven.go("ci-deploy")
        await driven.type("R\r")
        await until(driven, "Unlock the vault")
        await driven.type(f"{PASSPHRASE}\r")
        await until(driven, "rotating the key of ci-deploy")
        assert isinstance(driven.app.screen, MfaScreen), "the vault first, then the code"
        await driven.type("\x1b")
        assert "Cancelled. This step changed nothing." in seen(driven)
        rotating.other_slot = Key("AKIAEXAMPLE0000IDLE", status="Inactive")
        await driven.type("\r")
        await until(driven, "Type the six digits")
        await driven.type("999999")
        assert "Code refused" in driven.text
        await driven.type("111111")
        assert "both key slots of the user are used. Press D to see the other key." in seen(driven)

        await driven.type("D")
        await until(driven, "AKIA…IDLE occupies the slot that a new key needs: inactive, 40 days old")
        await driven.type("IDLE\r")
        await until(driven, "Deleted AKIA…IDLE")

        rotating.loses_reply = True
        await driven.type("\r")
        await until(driven, "D Delete the lost key…")
        assert "AKIA…NEW2 exists at AWS, but its secret was lost" in seen(driven)
        await driven.type("D\x1b")
        await until(driven, "Key kept. Nothing was deleted.")
        assert rotating.done.count("drop") == 1
        await driven.type(f"D{NEW[-4:]}\r")
        await until(driven, "Deleted AKIA…NEW2")

        rotating.loses_reply = False
        rotating.calls.clear()
        rotating.raises.append(Unreachable("iam:ListAccessKeys", "no answer", hint))
        await driven.type("\r")
        assert "iam:ListAccessKeys: no answer. Go on: Enter, or back: u" in seen(driven)
        assert "✗ 1 Check" in seen(driven)
        rotating.raises.append(UnicodeError("canary"))
        await driven.type("\r")
        assert "Internal error (UnicodeError)" in seen(driven)
        assert "canary" not in driven.text
        await driven.type("\r")
        await until(driven, "Done for now")
        acts = ["begin", "begin", *THROUGH]
        assert rotating.calls == [(act, None) for act in acts], "one code does for all"


async def test_what_somebody_else_did_at_aws_is_said_in_the_place_of_what_was_reached(
    drive: Drive, keeper: MemoryService
) -> None:
    rotating = keeper.rotation
    async with drive(keeper) as driven:
        await driven.type("/ci-deploy\rR")
        rotating.spreads, rotating.wait = 1, 30.0
        await driven.type("\r")
        await until(driven, "retry in")
        await driven.type("\x1b")
        await until(driven, "If you stop here")
        rotating.wait = 0.0
        again = "keyturn rotate ci-deploy"
        hint = f"Go back to AKIA…4WQP: {again} --undo; or have AKIA…NEW2 switched on there, then: {again} --resume"
        rotating.raises.append(RotationHalted("rotation of ci-deploy", "AKIA…NEW2 is inactive at AWS", hint))
        await driven.type("\r")
        await until(driven, "AKIA…NEW2 is inactive at AWS")
        assert "Go back to AKIA…4WQP: u; or have AKIA…NEW2 switched on there, then: Enter" in seen(driven)
        assert "If you stop here" not in seen(driven), "which would be untrue now"
        await driven.type("\r")
        await until(driven, "Done for now")
        assert "If you stop here" in seen(driven)


async def test_r_says_why_not_and_at_the_start_one_line_says_what_waits(
    drive: Drive, keeper: MemoryService
) -> None:
    keeper.rotation.start("ci-deploy")
    async with drive(keeper, WIDE) as driven:
        assert "Rotation of ci-deploy is pending (next: verify). Press R to resume." in driven.message
        for name, why in (("personal", "adopt it first (m)"), ("ci-audit", "rotate the key of ci-deploy")):
            await driven.go(name)
            await driven.type("R")
            assert on_main(driven)
            assert why in driven.message
        await driven.go("legacy-import")
        assert "R Rotate" not in driven.text, "a key that is due, but in clear"
        await driven.go("ci-deploy")
        assert "Pending   verify; R resumes" in driven.text
        assert "Policy    rotate every 90 days" in driven.text
        assert "R Resume…" in driven.text.splitlines()[-1]
        await driven.type("\rR")
        assert "Enter Continue u Undo… Esc Close" in seen(driven), "from the detail too"


@pytest.mark.parametrize(("size", "ascii_only"), [((40, 10), True), ((60, 14), False)])
async def test_no_dialog_of_a_rotation_overflows(
    drive: Drive, size: tuple[int, int], ascii_only: bool
) -> None:
    key = replace(next(one for one in believable() if one.name == "ci-deploy"), name="x" * 70)
    keeper = MemoryService([key])
    rotating = keeper.rotation
    rotating.last_use = LastUse(NOW + timedelta(hours=1), "s3", "eu-west-1")

    def fits(*words: str) -> None:
        lines = driven.text.splitlines()
        assert len(lines) <= size[1]
        assert all(cell_len(line) <= size[0] for line in lines)
        assert driven.text.isascii() or not ascii_only
        for word in ("Esc", *words):
            assert word in driven.text, driven.text

    async with drive(keeper, size, Options(ascii=ascii_only)) as driven:
        await driven.type("R")
        fits("Enter Start")
        rotating.raises.append(Unreachable("iam:ListAccessKeys", "no answer " * 30, "Try it again"))
        await driven.type("\r")
        fits("Enter Try again", "iam:ListAccessKeys: no answer")
        await driven.type("\r")
        await until(driven, "Done for now")
        fits("D Delete the old key", "u Undo")
        await driven.type("u")
        fits("y Yes, undo it")
        await driven.type("\x1bD")
        await until(driven, "Last four")
        fits("Enter Delete", "It was used after")
        await driven.type("\x1b\x1b")
        assert on_main(driven)
