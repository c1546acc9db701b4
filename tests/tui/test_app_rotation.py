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
from keyturn.model.errors import Remedy, RotationHalted, Unreachable
from keyturn.model.profile import Key, VaultState
from keyturn.operations.rotation.delete_key import Obstacle
from keyturn.operations.rotation.record import Step
from keyturn.operations.rotation.rotation_client import RotationClient
from keyturn_tui.dialogs.confirm import ConfirmScreen, DeletionScreen
from keyturn_tui.dialogs.mfa import MfaScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.screens.timeline import TimelineScreen
from keyturn_tui.terminal.capabilities import Options
from keyturn_tui.widgets.fields import PlainField
from tests.tui.conftest import NARROW, WIDE, AppDriver, Drive
from tests.tui.memory_rotation import NEW
from tests.tui.memory_service import PASSPHRASE, MemoryService
from tests.tui.sample_profiles import NOW, believable

THROUGH = ["begin", "on", "on", "on", "on"]


@pytest.fixture
def service() -> MemoryService:
    return MemoryService(believable())


def screen_words(driver: AppDriver) -> str:
    """Return the text of the screen without frames, with wrapped lines joined."""
    return " ".join(" ".join(line.strip("│|╭╮╰╯ ") for line in driver.text.splitlines()).split())


def on_main(driver: AppDriver) -> bool:
    return isinstance(driver.app.screen, MainScreen)


async def wait_for(driver: AppDriver, words: str) -> None:
    """Wait for these words, because a rotation is many operations and the app is idle between them."""
    for _ in range(300):
        if words in screen_words(driver):
            return
        await asyncio.sleep(0.005)
        await driver.settle()
    raise AssertionError(f"{words!r} did not come:\n{driver.text}")


def test_the_service_in_memory_takes_the_steps_of_the_real_one(service: MemoryService) -> None:
    """The same steps as in `tests/core/operations/rotation/test_rotation_steps_in_order.py`."""
    rotations, name = service.rotation, "ci-deploy"
    first = rotations.start(name)
    through = RotationClient(None, service.now, lambda _name: None).run_to_end  # type: ignore[arg-type]  # nothing is run
    steps = [each.step for each in through(first, lambda: rotations.advance(name), lambda _: None)]
    assert steps == [Step.CREATED, Step.VERIFIED, Step.STORED, Step.DELIVERED, Step.DEACTIVATED]
    done = rotations.finish(name, first.old_id[-4:], force=(Obstacle.GRACE,))
    assert done.step is Step.DONE


async def test_a_key_is_replaced_and_the_old_one_deleted_later(drive: Drive, service: MemoryService) -> None:
    rotations = service.rotation
    rotations.spreads = 2
    rotations.last_use = LastUse(NOW + timedelta(hours=1), "s3", "eu-west-1")
    async with drive(service, NARROW) as driver:
        await driver.go("ci-deploy")
        assert "R Rotate…" in driver.text.splitlines()[-1], "an overdue key is offered"
        await driver.type("R")
        assert "In use: key AKIA…4WQP, 94 days old" in screen_words(driver)
        assert "Also used by: ci-deploy-mfa, ci-audit, terraform" in screen_words(driver)
        await driver.type("uD")
        assert rotations.calls == [], "nothing happens before Enter"
        await driver.type("\r")
        await wait_for(driver, "Done for now")
        assert rotations.operations == ["begin", "on", "on", *THROUGH[1:]], (
            "tried again until AWS knew the new key"
        )
        assert "step 7 of 7" in driver.text
        assert driver.text.count("✓") == 6
        assert "If you stop here: AKIA…NEW2 is in use; AKIA…4WQP is inactive" in screen_words(driver)
        await driver.type("\x1b")
        assert on_main(driver)
        assert "is pending (next: delete the old key). Press R to resume." in screen_words(driver)

        service.move_clock(timedelta(hours=25))
        await driver.type("RD")
        await wait_for(driver, "Last four")
        assert isinstance(driver.app.screen, DeletionScreen)
        assert "and used to override:" in screen_words(driver)
        assert "Last used: 24h ago (s3, eu-west-1)." in screen_words(driver)
        assert "▲ It was used after the new key was made" in screen_words(driver)
        await driver.type("NEW2\r")
        assert "These are not the last four characters of AKIA…4WQP." in screen_words(driver)
        driver.app.screen.query_one("#last-four", PlainField).clear()
        await driver.type("\r")
        assert "Type the last four characters to delete the key." in screen_words(driver)
        assert "finish" not in rotations.operations
        await driver.type("4wqp\r")
        assert "To delete the key anyway, type used in Override." in screen_words(driver)
        await driver.type("late\r")
        assert "Unknown word 'late'. Valid: grace, used." in screen_words(driver)
        driver.app.screen.query_one("#override", PlainField).clear()
        await driver.type("grace\r")
        assert "type used in Override" in screen_words(driver), "another obstacle is not there"
        assert "finish" not in rotations.operations
        await driver.type(",used\r")
        await wait_for(driver, "AKIA…NEW2 is in use, AKIA…4WQP is deleted.")
        await driver.type("\r")
        assert on_main(driver)
        assert "AKIA…4WQP is deleted" in screen_words(driver)
        assert "is pending" not in driver.text


async def test_it_stops_after_the_step_in_flight_goes_on_later_and_goes_back(
    drive: Drive, service: MemoryService
) -> None:
    rotations = service.rotation
    rotations.spreads, rotations.wait = 1, 600.0
    async with drive(service, NARROW) as driver:
        await driver.go("ci-deploy")
        await driver.type("R\r")
        await wait_for(driver, "retry in 600 s")
        await driver.type("\x1b")
        await wait_for(driver, "Enter Continue")
        assert rotations.operations == ["begin", "on"], "Esc ended the wait"

        rotations.gate = threading.Event()
        await driver.strike("\r\x1b")
        assert "stops after this" in driver.text
        rotations.gate.set()
        await wait_for(driver, "✓ 4 Verify")
        assert rotations.operations == ["begin", "on", "on"]
        assert "If you stop here: AKIA…4WQP and AKIA…NEW2 work, AKIA…4WQP is in use." in screen_words(driver)

        rotations.gate.clear()
        await driver.strike("\r\x1b\x1b")
        assert on_main(driver), "a second Esc leaves the step to itself"
        await driver.strike("q")
        assert isinstance(driver.app.screen, ConfirmScreen)
        assert "A rotation step of ci-deploy is running." in screen_words(driver)
        await driver.strike("\x1b")
        rotations.gate.set()
        await wait_for(driver, "Rotation of ci-deploy is pending (next: deliver). Press R to resume.")
        assert rotations.operations == ["begin", "on", "on", "on"]

        await driver.type("tg\t")
        assert isinstance(driver.app.screen, TimelineScreen)
        assert "▸ ▲ new stored" in driver.text, "its lane says so too"
        await driver.type("R\r")
        await wait_for(driver, "Done for now")
        await driver.type("u")
        assert "Then AKIA…NEW2 is deleted at AWS." in screen_words(driver)
        await driver.type("\r\x1b")
        assert "back" not in rotations.operations, "Enter confirms nothing"
        await driver.type("uy")
        await wait_for(driver, "AKIA…4WQP is in use, as before.")
        assert "Undo rotation: ci-deploy" in driver.text
        await driver.type("\r\x1b")
        assert "▲ overdue 4d" in driver.text
        await driver.strike("q")
        assert driver.app.return_code == 0, "nothing is in flight any more"


async def test_what_goes_wrong_stays_in_the_dialog_and_enter_tries_again(
    drive: Drive, service: MemoryService
) -> None:
    rotations = service.rotation
    rotations.wants_code = True
    service.vault = VaultState.LOCKED
    resume, undo = (Remedy("rotate", "ci-deploy", option) for option in ("--resume", "--undo"))
    hint = ("Go on: ", resume, ", or back: ", undo)
    async with drive(service, NARROW) as driver:
        await driver.go("ci-deploy")
        await driver.type("R\r")
        await wait_for(driver, "Unlock the vault")
        await driver.type(f"{PASSPHRASE}\r")
        await wait_for(driver, "rotating the key of ci-deploy")
        assert isinstance(driver.app.screen, MfaScreen), "the vault first, then the code"
        await driver.type("\x1b")
        assert "Cancelled. This step changed nothing." in screen_words(driver)
        rotations.other_slot = Key("AKIAEXAMPLE0000IDLE", status="Inactive")
        await driver.type("\r")
        await wait_for(driver, "Type the six digits")
        await driver.type("999999")
        assert "Code refused" in driver.text
        await driver.type("111111")
        assert "both key slots of the user are used. Press D to see the other key." in screen_words(driver)

        await driver.type("D")
        await wait_for(driver, "AKIA…IDLE occupies the slot that a new key needs: inactive, 40 days old")
        await driver.type("IDLE\r")
        await wait_for(driver, "Deleted AKIA…IDLE")

        rotations.loses_reply = True
        await driver.type("\r")
        await wait_for(driver, "D Delete the lost key…")
        assert "AKIA…NEW2 exists at AWS, but its secret was lost" in screen_words(driver)
        await driver.type("D\x1b")
        await wait_for(driver, "Key kept. Nothing was deleted.")
        assert rotations.operations.count("drop") == 1
        await driver.type(f"D{NEW[-4:]}\r")
        await wait_for(driver, "Deleted AKIA…NEW2")

        rotations.loses_reply = False
        rotations.calls.clear()
        rotations.raises.append(Unreachable("iam:ListAccessKeys", "no answer", hint))
        await driver.type("\r")
        assert "no answer. Go on: Enter, or back: keyturn rotate ci-deploy --undo" in screen_words(driver)
        assert "✗ 1 Check" in screen_words(driver)
        rotations.raises.append(UnicodeError("canary"))
        await driver.type("\r")
        assert "Internal error (UnicodeError)" in screen_words(driver)
        assert "canary" not in driver.text
        await driver.type("\r")
        await wait_for(driver, "Done for now")
        operations = ["begin", "begin", *THROUGH]
        assert rotations.calls == [(operation, None) for operation in operations], "one code does for all"


async def test_what_somebody_else_did_at_aws_is_said_in_the_place_of_what_was_reached(
    drive: Drive, service: MemoryService
) -> None:
    rotations = service.rotation
    async with drive(service) as driver:
        await driver.type("/ci-deploy\rR")
        rotations.spreads, rotations.wait = 1, 30.0
        await driver.type("\r")
        await wait_for(driver, "retry in")
        await driver.type("\x1b")
        await wait_for(driver, "If you stop here")
        rotations.wait = 0.0
        resume, undo = (Remedy("rotate", "ci-deploy", option) for option in ("--resume", "--undo"))
        hint = ("Go back to AKIA…4WQP: ", undo, "; or have AKIA…NEW2 switched on there, then: ", resume)
        rotations.raises.append(RotationHalted("rotation of ci-deploy", "AKIA…NEW2 is inactive at AWS", hint))
        await driver.type("\r")
        await wait_for(driver, "AKIA…NEW2 is inactive at AWS")
        assert "Go back to AKIA…4WQP: u; or have AKIA…NEW2 switched on there, then: Enter" in screen_words(
            driver
        )
        assert "If you stop here" not in screen_words(driver), "which would be untrue now"
        await driver.type("\r")
        await wait_for(driver, "Done for now")
        assert "If you stop here" in screen_words(driver)


async def test_r_says_why_not_and_at_the_start_one_line_says_what_waits(
    drive: Drive, service: MemoryService
) -> None:
    service.rotation.start("ci-deploy")
    async with drive(service, WIDE) as driver:
        assert "Rotation of ci-deploy is pending (next: verify). Press R to resume." in driver.message
        for name, why in (
            ("personal", "Adopt it first: m"),
            ("ci-audit", "Rotate its source: R on ci-deploy"),
        ):
            await driver.go(name)
            await driver.type("R")
            assert on_main(driver)
            assert why in " ".join(driver.message.split())
        await driver.go("legacy-import")
        assert "R Rotate" not in driver.text, "a key that is due, but in clear"
        await driver.go("ci-deploy")
        assert "Pending   verify; R resumes" in driver.text
        assert "Policy    rotate every 90 days" in driver.text
        assert "R Resume…" in driver.text.splitlines()[-1]
        await driver.type("\rR")
        assert "Enter Continue u Undo… Esc Close" in screen_words(driver), "from the detail too"


@pytest.mark.parametrize(("size", "ascii_only"), [((40, 10), True), ((60, 14), False)])
async def test_no_dialog_of_a_rotation_overflows(
    drive: Drive, size: tuple[int, int], ascii_only: bool
) -> None:
    key = replace(next(one for one in believable() if one.name == "ci-deploy"), name="x" * 70)
    service = MemoryService([key])
    rotations = service.rotation
    rotations.last_use = LastUse(NOW + timedelta(hours=1), "s3", "eu-west-1")

    def fits(*words: str) -> None:
        lines = driver.text.splitlines()
        assert len(lines) <= size[1]
        assert all(cell_len(line) <= size[0] for line in lines)
        assert driver.text.isascii() or not ascii_only
        for word in ("Esc", *words):
            assert word in driver.text, driver.text

    async with drive(service, size, Options(ascii=ascii_only)) as driver:
        await driver.type("R")
        fits("Enter Start")
        rotations.raises.append(Unreachable("iam:ListAccessKeys", "no answer " * 30, "Try it again"))
        await driver.type("\r")
        fits("Enter Try again", "iam:ListAccessKeys: no answer")
        await driver.type("\r")
        await wait_for(driver, "Done for now")
        fits("D Delete the old key", "u Undo")
        await driver.type("u")
        fits("y Yes, undo it")
        await driver.type("\x1bD")
        await wait_for(driver, "Last four")
        fits("Enter Delete", "It was used after")
        await driver.type("\x1b\x1b")
        assert on_main(driver)
