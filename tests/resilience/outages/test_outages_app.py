"""The app during failures: one line, the row reports it, and no key waits for AWS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from keyturn_tui.app import KeyturnApp
from keyturn_tui.terminal.capabilities import Options, terminal_for
from tests.resilience.outages.conftest import OutageMachine
from tests.resilience.outages.failures import ALL, QUICK, SILENCE, WAYS, Failure
from tests.resilience.outages.loop_monitor import Gauge, gauge
from tests.resilience.outages.outage_assertions import digests_of, faults_of_line, secrets_of
from tests.tui.conftest import NARROW, UTF8, AppDriver

PROFILE = "ci-audit"
#: Seconds for which a callback may block the loop, and with it the keyboard.
LONGEST_GAP = 0.1
TIMEOUT = 60.0


@asynccontextmanager
async def run_app(machine: OutageMachine) -> AsyncIterator[tuple[AppDriver, Gauge]]:
    """Run the app over the real service with its gauge."""
    options = Options()
    app = KeyturnApp(machine.service, options, terminal_for(UTF8, options))
    async with app.run_test(size=NARROW) as pilot:
        driver = AppDriver(app, pilot, machine.service)  # type: ignore[arg-type]  # the real one
        await driver.settle()
        await driver.go(PROFILE)
        with gauge() as gauge_seen:
            yield driver, gauge_seen


async def wait_until(driver: AppDriver, holds: Callable[[], bool], what: str) -> None:
    """Wait until a text is shown."""
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end, f"waited for {what}; the screen:\n{driver.text}"
        await asyncio.sleep(0.02)
    await driver.settle()


def check_gauge(gauge_seen: Gauge) -> None:
    assert gauge_seen.waits == [], "nothing on the loop may wait for the system"
    assert gauge_seen.longest <= LONGEST_GAP, gauge_seen.longest_of
    assert gauge_seen.callbacks > 0


async def check_failure(machine: OutageMachine, failure: Failure) -> Gauge:
    """Press `r` during a failure, other keys meanwhile, and `r` again when it is over."""
    async with run_app(machine) as (driver, gauge_seen):
        before = digests_of(machine.sandbox.folder)
        machine.start_failure(failure)
        await driver.strike("r")
        for _ in range(3):
            path_before = driver.selected
            await driver.strike("k")
            assert driver.selected != path_before, "the cursor moves whatever AWS does"
        await wait_until(driver, lambda: not driver.app.state.working, "the refresh to end")
        await driver.go(PROFILE)
        failed = driver.app.state.failures[PROFILE].line
        assert faults_of_line(failed, failure.says, secrets_of(machine.sandbox)) == []
        assert "failed" in next(line for line in driver.text.splitlines() if "▸" in line)
        assert driver.message[11:40] in f" {failed}", "the message line says it too"
        assert digests_of(machine.sandbox.folder) == before
        machine.end_failure()
        await driver.strike("r")
        await wait_until(driver, lambda: "refreshed" in driver.message, "the same key to work again")
        await driver.press("x")
    check_gauge(gauge_seen)
    return gauge_seen


def take_every(failures: Sequence[Failure], every: int) -> tuple[Failure, ...]:
    """Return every nth of them."""
    return tuple(failures[::every])


@pytest.mark.parametrize("failure", take_every((*QUICK, *WAYS), 20), ids=lambda failure: failure.name)
async def test_a_failure_is_one_line_and_no_key_waits_for_it(
    machine: OutageMachine, failure: Failure
) -> None:
    await check_failure(machine, failure)


@pytest.mark.campaign
@pytest.mark.timeout(600)
async def test_no_failure_holds_up_the_keyboard(
    machine: OutageMachine, record_property: Callable[[str, object], None]
) -> None:
    longest, callbacks = 0.0, 0
    for failure in ALL:
        gauge_seen = await check_failure(machine, failure)
        longest, callbacks = max(longest, gauge_seen.longest), callbacks + gauge_seen.callbacks
    record_property("bad days: failures played in the app", len(ALL))
    record_property(
        "bad days: longest gap of the app's loop", f"{longest * 1000:.0f} ms of {callbacks} callbacks"
    )


async def test_eight_operations_that_hang_leave_the_keyboard_and_the_way_out_free(
    machine: OutageMachine,
) -> None:
    async with run_app(machine) as (driver, gauge_seen):
        machine.start_failure(SILENCE[0])
        for name in ("ci-audit", "ci-release", "acme-hub", "acme-batch", "ci-deploy"):
            driver.main.select_profile(name)
            await driver.strike("r")
        assert len(driver.app.state.working) == 5
        await driver.strike("/acme-hub")
        assert driver.listed_names == ["acme-hub"]
        await driver.strike("\x1b?")
        await driver.pilot.pause()
        assert "one row down" in driver.text
        await driver.strike("\x1bq")
        assert driver.app.return_code == 0
        assert driver.app.state.workers.drain(0), "nothing that was only asked of AWS is waited for"
        assert len(driver.app.state.workers.unanswered()) == 5
    check_gauge(gauge_seen)


async def test_a_lock_that_another_process_holds_keeps_one_operation_and_no_key(
    machine: OutageMachine,
) -> None:
    lock = ExitStack()
    lock.enter_context(machine.service.context.state_lock())
    async with run_app(machine) as (driver, gauge_seen):
        await driver.go("personal")
        await driver.press("m")
        assert "review" in driver.text
        await driver.strike("\rkk")
        assert driver.selected != "personal"
        assert not driver.app.state.workers.drain(0), "the change has begun, and leaving would wait for it"
        lock.close()
        await wait_until(driver, lambda: "adopted" in driver.message, "the change to go on")
        await driver.go("personal")
    check_gauge(gauge_seen)
    plan = machine.service.plan_release(("personal",))
    machine.service.release(plan, recovery_key=machine.recovery_key)


def test_the_gauge_sees_what_it_is_for() -> None:
    async def busy() -> None:
        end = time.thread_time() + 0.15
        while time.thread_time() < end:
            pass

    def watch() -> None:
        with gauge() as gauge_seen:
            asyncio.run(busy())
        assert gauge_seen.longest > LONGEST_GAP

    watch()
    from keyturn.system import files

    with gauge() as gauge_seen:
        files.read(Path(__file__))
        time.sleep(0)
    assert [wait.split("(")[0] for wait in gauge_seen.waits] == ["open", "sleep"]
