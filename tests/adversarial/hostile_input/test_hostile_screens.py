"""Every screen shows foreign text as text: no crash, no action that it could name, nothing for a terminal to
obey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.cells import cell_len
from textual.screen import Screen

from keyturn.model.errors import AwsRefused, NeedsConfirmation, NeedsMfa
from keyturn.model.profile import DiffLine, Failure, Plan, Profile, Session, VaultState
from keyturn.model.text import safe
from keyturn_tui.controllers.rotation import RotationController
from keyturn_tui.dialogs.confirm import ConfirmScreen, DeletionScreen, TypedConfirmScreen
from keyturn_tui.dialogs.create_vault import CreateVaultScreen
from keyturn_tui.dialogs.mfa import MfaScreen
from keyturn_tui.dialogs.review_changes import ReviewScreen
from keyturn_tui.dialogs.rotation import RotationScreen
from keyturn_tui.dialogs.unlock import UnlockScreen
from keyturn_tui.rendering.key_deletion import KeyToDelete
from keyturn_tui.screens.detail import DetailScreen
from keyturn_tui.screens.help import HelpScreen
from keyturn_tui.terminal.capabilities import Options
from keyturn_tui.widgets.timeline_list import TimelineList
from keyturn_tui.widgets.timeline_strip import ROWS, TimelineStrip
from tests.adversarial.hostile_input.corpus import MESSAGES, NAMES, spread
from tests.adversarial.hostile_input.harmless_output import foreign
from tests.adversarial.hostile_input.rows import PROBLEMS, PROFILES, hostile
from tests.tui.conftest import NARROW, WIDE, AppDriver, Drive, drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import NOW

__all__ = ["drive"]

Record = Callable[[str, object], None]
NOW_LINE = {False: "┃", True: " |="}
SIZES = [pytest.param(WIDE, False, marks=pytest.mark.campaign), (NARROW, True)]
IDS = ["120x36", "80x24-ascii"]


class ScreenChecks:
    """Collected faults, screen by screen."""

    def __init__(self) -> None:
        self.screens = 0

    def check(self, driver: AppDriver, *, ascii_only: bool) -> str:
        """Check the current screen."""
        assert driver.app.is_running
        assert driver.app.fault is None
        text = driver.text
        assert not foreign(text), [ascii(ch) for ch in foreign(text)]
        assert text.isascii() or not ascii_only
        assert not clickable(driver.app.screen)
        width = driver.app.size.width
        assert all(cell_len(line) <= width for line in text.splitlines())
        self.screens += 1
        return text


def clickable(screen: Screen[object]) -> list[object]:
    """Return the actions and links that the text segments of the screen carry."""
    return [
        segment.style.meta or segment.style.link
        for strip in screen._compositor.render_strips()
        for segment in strip
        if segment.style is not None and (segment.style.link or "@click" in segment.style.meta)
    ]


def plan_of(text: str) -> Plan:
    lines = tuple(DiffLine(sign, text) for sign in "+-@ ")
    return Plan(
        "adopt",
        (text, text),
        (text,),
        lines,
        (text,),
        (text,),
        needs_vault=False,
        digest="",
        remaining=(text,),
    )


async def dialogs(
    drive: Drive,
    texts: tuple[str, ...],
    size: tuple[int, int],
    *,
    ascii_only: bool,
    record: Record,
    each: int = 6,
) -> None:
    """Put each of `texts` in every place of every dialog, or of `each` dialogs in turn."""
    checks = ScreenChecks()
    service = MemoryService([hostile("x", 1)], vault=VaultState.LOCKED)
    async with drive(service, size, Options(ascii=ascii_only)) as driver:
        app = driver.app
        for nth, text in enumerate(texts):
            service.keyring = text or None
            state = app.state
            state.failures["x1"] = Failure(NOW, AwsRefused(text, text, text).line())
            screens: tuple[Screen[Any], ...] = (
                MfaScreen(state, NeedsMfa(text, text, text, profile=text, serial=text), lambda _: True),
                UnlockScreen(state, text, lambda _: True, why=text),
                TypedConfirmScreen(state, NeedsConfirmation(text, text, text), lambda _: True),
                ConfirmScreen(state, text, [text], text),
                ReviewScreen(state, plan_of(text), note=text),
                CreateVaultScreen(state),
                RotationScreen(state, RotationController(state, app.controller, app, hostile(text, 1))),
                DeletionScreen(state, KeyToDelete(text, text, (text,), (text,))),
            )
            first = nth * each % len(screens)
            for screen in screens[first : first + each]:
                app.push_screen(screen)
                await driver.settle()
                checks.check(driver, ascii_only=ascii_only)
                app.pop_screen()
            app.show_message(text, "error")
            app.notify(safe(text), markup=False, timeout=0.05)
            await driver.settle()
            checks.check(driver, ascii_only=ascii_only)
    record("hostile: screens looked at", checks.screens)


async def details(
    drive: Drive, texts: tuple[str, ...], size: tuple[int, int], *, ascii_only: bool, record: Record
) -> None:
    """Show the detail of a profile with each of `texts` in every field."""
    checks = ScreenChecks()
    rows = [hostile(text, nth) for nth, text in enumerate(texts)]
    async with drive(MemoryService(rows, problems=PROBLEMS), size, Options(ascii=ascii_only)) as driver:
        app = driver.app
        for entry in app.state.catalog.entries:
            app.push_screen(DetailScreen(app.state, app.controller, app, entry))
            await driver.settle()
            text = checks.check(driver, ascii_only=ascii_only)
            name = entry.profile.name
            if (
                name.isascii()
                and name.isprintable()
                and len(name) < 40
                and "  " not in name
                and name == name.strip()
            ):
                assert name in text, "shown literally"
            app.pop_screen()
        app.push_screen(HelpScreen(app.state, driver.listing.row))
        await driver.settle()
        checks.check(driver, ascii_only=ascii_only)
    record("hostile: screens looked at", checks.screens)


@pytest.mark.parametrize(("size", "ascii_only"), SIZES, ids=IDS)
async def test_the_list_with_every_name(
    drive: Drive, size: tuple[int, int], ascii_only: bool, record_property: Record
) -> None:
    checks = ScreenChecks()
    service = MemoryService(PROFILES, problems=PROBLEMS)
    async with drive(service, size, Options(ascii=ascii_only)) as driver:
        await driver.press("g")
        before = None
        while driver.listing.row != before:
            before = driver.listing.row
            checks.check(driver, ascii_only=ascii_only)
            await driver.press("pagedown")
    assert checks.screens > 20
    record_property("hostile: screens looked at", checks.screens)


async def timeline(
    drive: Drive, rows: Sequence[Profile], size: tuple[int, int], *, ascii_only: bool = False
) -> tuple[int, int]:
    """Show a timeline row for each session and each key of `rows`, on the whole screen, page by page.

    :returns: the number of screens checked, and of those on which the line of the present was straight.
    """
    checks, straight = ScreenChecks(), 0
    async with drive(MemoryService(rows, problems=PROBLEMS), size, Options(ascii=ascii_only)) as driver:
        await driver.press("t", "g")
        rows_shown = driver.app.screen.query_one(TimelineList)
        before = None
        while rows_shown.row is not before:
            before = rows_shown.row
            straight += _columns_of_now(checks.check(driver, ascii_only=ascii_only), NOW_LINE[ascii_only])
            await driver.press("pagedown")
    return checks.screens, straight


def _columns_of_now(text: str, mark: str) -> int:
    """Return 1 if the line of the present is visible, else 0."""
    columns = {cell_len(line[: line.index(mark)]) for line in text.splitlines() if mark in line}
    assert len(columns) <= 1, "the line of now is straight, whatever the names"
    return len(columns)


@pytest.mark.campaign
@pytest.mark.parametrize(("size", "ascii_only"), SIZES, ids=IDS)
async def test_the_timeline_with_every_name(
    drive: Drive, size: tuple[int, int], ascii_only: bool, record_property: Record
) -> None:
    screens, straight = await timeline(drive, PROFILES, size, ascii_only=ascii_only)
    assert screens > 20
    assert straight > 10, "lanes were seen"
    record_property("hostile: screens looked at", screens)


async def test_the_timeline_without_room_for_a_chart(drive: Drive, record_property: Record) -> None:
    screens, _ = await timeline(drive, PROFILES[::24], (50, 20))
    assert screens > 2
    record_property("hostile: screens looked at", screens)


async def strip(drive: Drive, texts: Sequence[str], record: Record) -> None:
    """Show each of `texts` as a profile, or as a login, among the five that expire first: all appear as the
    clock moves."""
    first = NOW + timedelta(minutes=1, seconds=-NOW.second)
    rows = [
        replace(
            hostile(text, nth),
            source=f"{text}{nth}",
            session=Session("ASIA" if nth % 2 else "", NOW, first + timedelta(minutes=nth)),
        )
        for nth, text in enumerate(texts)
    ]
    service, checks = MemoryService(rows), ScreenChecks()
    async with drive(service) as driver:
        shown = driver.main.query_one(TimelineStrip)
        seen: set[str] = set()
        for _ in range(0, len(rows), ROWS):
            picked = [row.label for row in shown._visible]
            seen |= set(picked)
            text = checks.check(driver, ascii_only=False).rpartition("3 Timeline")[2]
            assert text.count(NOW_LINE[False]) == len(picked), "one in each lane"
            assert _columns_of_now(text, NOW_LINE[False]) == 1
            service.move_clock(timedelta(minutes=ROWS))
            driver.main.tick()
            await driver.settle()
    assert len(seen) == len(rows)
    record("hostile: screens looked at", checks.screens)


async def test_the_strip_under_the_list(drive: Drive, record_property: Record) -> None:
    await strip(drive, spread(NAMES, 40), record_property)


@pytest.mark.parametrize(("size", "ascii_only"), SIZES, ids=IDS)
async def test_dialogs_and_details(
    drive: Drive, size: tuple[int, int], ascii_only: bool, record_property: Record
) -> None:
    await dialogs(drive, spread(MESSAGES, 3), size, ascii_only=ascii_only, record=record_property)
    await details(drive, spread(NAMES, 5), size, ascii_only=ascii_only, record=record_property)


async def test_failures_and_new_problems_of_files(drive: Drive) -> None:
    rows = [hostile(text, nth) for nth, text in enumerate(spread(NAMES, 5))]
    service, checks = MemoryService(rows), ScreenChecks()
    async with drive(service) as driver:
        for profile in rows:
            error = AwsRefused(f"refresh of {profile.name}", profile.role or "", profile.name)
            service.fail_refresh[profile.name] = error
            await driver.go(profile.name)
            await driver.press("r")
            checks.check(driver, ascii_only=False)
        service.problems = tuple(PROBLEMS)
        service.edit(rows[0].name, region="eu-west-1")
        await driver.app.reload_if_changed()
        await driver.settle()
        assert driver.app._notifications
        checks.check(driver, ascii_only=False)


async def test_fields_and_the_palette_take_any_text(drive: Drive) -> None:
    checks = ScreenChecks()
    async with drive(MemoryService(PROFILES[:60] + PROFILES[-60:])) as driver:
        await driver.press("slash")
        field = driver.main.query_one("#filter")
        for text in spread(MESSAGES, 12):
            field.value = text[:5000]  # type: ignore[attr-defined]  # the filter's Input
            await driver.settle()
            checks.check(driver, ascii_only=False)
        await driver.press("escape", "colon")
        for text in ("[", "\x1b]52;c;x\x07"):
            palette = driver.app.screen.query_one("CommandInput")
            palette.value = text  # type: ignore[attr-defined]  # the palette's Input
            await driver.pilot.pause(0.4)
            checks.check(driver, ascii_only=False)
        await driver.press("escape")


async def test_a_filter_from_the_command_line_is_shown_and_not_obeyed(drive: Drive) -> None:
    checks = ScreenChecks()
    for text in ("\x1b]52;c;aGk=\x07x", "a\nb[@click=app.quit()]\u202ex"):
        async with drive(MemoryService(PROFILES[:9]), options=Options(filter=text)) as driver:
            await driver.press("slash")
            checks.check(driver, ascii_only=False)


async def every_text(drive: Drive, size: tuple[int, int], *, ascii_only: bool, record: Record) -> None:
    """Use half of the corpus in the dialogs, two dialogs per text in turn, and the other half in the
    detail."""
    half = NAMES[ascii_only::2] + MESSAGES[-4:]
    await dialogs(drive, half, size, ascii_only=ascii_only, record=record, each=2)
    await details(drive, NAMES[1 - ascii_only :: 2], size, ascii_only=ascii_only, record=record)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
async def test_every_text_at_120x36(drive: Drive, record_property: Record) -> None:
    await every_text(drive, WIDE, ascii_only=False, record=record_property)
    await strip(drive, NAMES, record_property)
