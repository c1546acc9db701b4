"""The timeline's screen and strip: drawing, keys, and bytes sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from rich.cells import cell_len

from keyturn.model.profile import Key, Kind, Login, Profile, Session, rotation_of
from keyturn_tui.rendering.profile_rows import Entry, catalog
from keyturn_tui.rendering.timeline_rows import TimelineEntry, key_rows, session_rows
from keyturn_tui.rendering.timeline_scale import SPANS, Interval, cell_of, window_at
from keyturn_tui.screens.base import ActionScreen
from keyturn_tui.screens.detail import DetailScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.screens.timeline import TimelineScreen
from keyturn_tui.terminal.capabilities import Options
from keyturn_tui.widgets.timeline_list import TimelineList
from tests.tui.conftest import NARROW, WIDE, AppDriver, Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import NOW, believable, many

SIZES = [(WIDE, False), (NARROW, False), (NARROW, True), ((66, 18), False), ((44, 12), True)]
IDS = ["120x36", "80x24", "80x24-ascii", "66x18", "44x12-ascii"]
BY_END = [
    "ci-deploy-mfa", "terraform", "acme-prod-readonly", "acme-dev-readonly", "acme-dev-admin",
    "ci-audit", "ci-deploy", "backup",
]  # fmt: skip
OLDEST_FIRST = ["ci-deploy", "legacy-import", "personal"]


def timeline(driver: AppDriver) -> TimelineScreen:
    screen = driver.app.screen
    assert isinstance(screen, TimelineScreen)
    return screen


def selected_label(driver: AppDriver) -> str:
    """Return the label of the row under the cursor."""
    row = timeline(driver).query_one(TimelineList).row
    assert row is not None
    return row.label


def line_of(driver: AppDriver, name: str) -> str:
    return next(line for line in driver.text.splitlines() if name in line)


async def test_lanes_are_sorted_by_what_ends_first_and_the_cursor_is_on_what_ends_next(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driver:
        await driver.press("t")
        assert selected_label(driver) == "acme-prod-readonly", "what lies before has ended"
        await driver.press("g")
        seen = [selected_label(driver)]
        for _ in range(len(BY_END) + len(OLDEST_FIRST) - 1):
            await driver.press("j")
            seen.append(selected_label(driver))
        assert seen == BY_END + OLDEST_FIRST
        await driver.press("j")
        assert selected_label(driver) == OLDEST_FIRST[-1], "the cursor stops at the end"
        await driver.press("s", "g")
        assert selected_label(driver) == "acme-dev-admin", "by name"
        await driver.press("S", "g")
        assert selected_label(driver) == "terraform"


@pytest.mark.parametrize(("size", "ascii_only"), SIZES, ids=IDS)
async def test_every_size_shows_names_what_is_left_and_the_way_back(
    drive: Drive, size: tuple[int, int], ascii_only: bool
) -> None:
    async with drive(MemoryService(believable()), size, Options(ascii=ascii_only)) as driver:
        await driver.press("t")
        assert "4m " in line_of(driver, "acme-prod")
        assert "overdue 4d" in next(line for line in driver.text.splitlines() if "overdue" in line)
        assert "Esc Back" in driver.text.splitlines()[-1]
        assert driver.text.isascii() or not ascii_only
        assert all(cell_len(line) <= size[0] for line in driver.text.splitlines())
        await driver.press("escape")
        assert isinstance(driver.app.screen, MainScreen)


async def test_now_stands_in_one_column_of_every_row(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driver:
        await driver.press("t")
        heading = line_of(driver, "SESSION")
        columns = {line_of(driver, name).index("┃") for name in BY_END if name != "backup"}
        assert columns == {heading.index("now")}


async def test_an_overdue_key_goes_past_the_line_of_its_policy_and_no_other(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driver:
        await driver.press("t")
        past = [
            name for name in OLDEST_FIRST if "┃█" in driver.text.split("LONG-TERM")[1].split(name)[1][:90]
        ]
        assert past == ["ci-deploy"]


async def test_zoom_and_scroll(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driver:
        await driver.press("t")
        assert "4h, 13:00 to 17:00 UTC" in driver.text
        await driver.press("plus")
        assert "2h, 13:30 to 15:30 UTC" in driver.text
        await driver.press("minus", "minus")
        assert "8h, 12:00 to 20:00 UTC" in driver.text
        await driver.press("l", "right")
        assert "16:00 to" in driver.text
        assert " now " not in driver.text
        assert "←" in line_of(driver, "acme-prod-readonly"), "it ends before what is shown"
        await driver.press("h")
        assert "14:00 to" in driver.text
        await driver.press("0")
        assert "12:00 to 20:00 UTC" in driver.text
        await driver.press("l", "l", "plus")
        assert " now " in driver.text, "zoom goes back to now"


async def test_nobody_scrolls_out_of_time(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driver:
        await driver.press("t", *["minus"] * 9)
        for key in ("h", "l"):
            await driver.type(key * 200)
            assert driver.app.fault is None
        await driver.press("full_stop")
        assert " now " in driver.text


async def test_operations_are_about_the_selected_row(drive: Drive) -> None:
    service = MemoryService(believable())
    async with drive(service) as driver:
        await driver.press("t", "j", "r")
        assert ("refresh", ("acme-dev-readonly", None)) in service.calls
        assert selected_label(driver) == "acme-dev-readonly", (
            "the lane moved in the order, and the cursor with it"
        )
        assert "refreshed acme-dev-readonly" in driver.text
        await driver.press("x")
        assert service.snapshot().profiles[1].session is None
        assert "acme-dev-readonly  " not in driver.text.split("LONG-TERM")[0]
        await driver.press("enter")
        assert isinstance(driver.app.screen, DetailScreen)
        await driver.press("escape")
        assert isinstance(driver.app.screen, TimelineScreen)


async def test_tab_goes_from_the_sessions_to_the_keys_and_back(drive: Drive) -> None:
    async with drive(MemoryService([*many(300, NOW), *believable()]), NARROW) as driver:
        await driver.press("t", "tab")
        assert selected_label(driver) == "ci-deploy"
        row = timeline(driver).selected_row
        assert isinstance(row, Entry)
        assert row.profile.key is not None
        assert "LONG-TERM KEY" in driver.text
        await driver.press("tab")
        assert "SESSION" in driver.text


async def test_the_heading_of_the_keys_stays_when_nothing_but_keys_is_in_view(drive: Drive) -> None:
    key = Key("AKIAEXAMPLE00004WQP", created=NOW - timedelta(days=30))
    keys = [
        Profile(f"key-{nth:02d}", kind=Kind.IAM_KEY, key=key, rotation=rotation_of(key, 90, NOW))
        for nth in range(60)
    ]
    async with drive(MemoryService([*believable(), *keys]), NARROW) as driver:
        await driver.press("t", "G")
        assert "LONG-TERM KEY" in driver.text
        assert "SESSION" not in driver.text


async def test_where_nothing_is_to_be_drawn_it_says_what_to_do(drive: Drive) -> None:
    async with drive(MemoryService([Profile("new", kind=Kind.SSO_ROLE)]), NARROW) as driver:
        await driver.press("t")
        assert "No sessions or sign-ins yet." in driver.text
        assert "Press Esc for the list, then r to get a session." in driver.text
        await driver.press("j", "tab", "r", "enter")
        assert isinstance(driver.app.screen, TimelineScreen)


async def test_a_window_that_is_too_small_says_so(drive: Drive) -> None:
    async with drive(MemoryService(believable()), (38, 9)) as driver:
        await driver.press("t")
        assert "Make the window larger" in driver.text
        await driver.press("escape")
        assert isinstance(driver.app.screen, MainScreen)


def test_profiles_of_one_sign_in_share_one_row() -> None:
    login = Login("acme-corp", Kind.SSO_ROLE, NOW + timedelta(hours=6))
    profiles = [Profile(name, kind=Kind.SSO_ROLE, source="acme-corp", login=login) for name in ("a", "b")]
    session = Session("ASIAX", NOW, NOW + timedelta(hours=1))
    cached = Profile("c", kind=Kind.SSO_ROLE, source="acme-corp", session=session, login=login)
    rows = session_rows(catalog(MemoryService([*profiles, cached]).snapshot()))
    assert [row.label for row in rows] == ["c", "login acme-corp"]


def test_a_key_without_age_or_policy_comes_last_and_has_no_bar() -> None:
    def with_key(name: str, age: int | None, limit: int | None) -> Profile:
        key = Key("AKIAEXAMPLE00004WQP", created=None if age is None else NOW - timedelta(days=age))
        return Profile(name, kind=Kind.IAM_KEY, key=key, rotation=rotation_of(key, limit, NOW))

    profiles = [
        with_key("x-unknown", None, 90),
        with_key("young", 1, 90),
        with_key("old", 20, 10),
        with_key("off", 99, None),
    ]
    labels = [row.label for row in key_rows(catalog(MemoryService(profiles).snapshot()))]
    assert labels == ["old", "young", "off", "x-unknown"]


async def test_keys_of_several_policies_are_measured_each_against_its_own(drive: Drive) -> None:
    short = Key("AKIAEXAMPLE00000001", created=NOW - timedelta(days=8))
    other = Profile("short", kind=Kind.IAM_KEY, key=short, rotation=rotation_of(short, 7, NOW))
    async with drive(MemoryService([*believable(), other])) as driver:
        await driver.press("t")
        assert "100%" in line_of(driver, "LONG-TERM KEY")
        assert "┃█" in line_of(driver, "overdue 1d")


async def test_wide_and_combining_characters_shift_no_column(drive: Drive) -> None:
    session = believable()[1].session
    names = ["plain", "日本語の名前", "e\u0301te\u0301", "x\x1b[31mred", "[bold]b[/bold]", "名" * 40]
    async with drive(MemoryService([Profile(name, session=session) for name in names])) as driver:
        await driver.press("t")
        lines = [line for line in driver.text.splitlines() if "━┃━" in line]
        assert len(lines) == len(names)
        assert len({cell_len(line[: line.index("┃")]) for line in lines}) == 1
        assert "[bold]b[/bold]" in driver.text
        assert "\x1b" not in driver.text


async def test_a_row_is_drawn_again_only_when_a_cell_of_it_changes(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = MemoryService(believable())
    async with drive(service) as driver:
        await driver.press("t")
        rows_shown = timeline(driver).query_one(TimelineList)
        drawn: list[int] = []
        monkeypatch.setattr(
            rows_shown, "refresh", lambda *regions, **_: drawn.extend(region.y for region in regions)
        )
        timeline(driver).tick()
        assert drawn == []
        service.move_clock(timedelta(seconds=5))
        timeline(driver).tick()
        drawn.clear()
        service.move_clock(timedelta(seconds=20))
        timeline(driver).tick()
        assert drawn == [], "no minute and no cell has passed"
        service.move_clock(timedelta(seconds=8))
        timeline(driver).tick()
        assert drawn == [BY_END.index("acme-prod-readonly")], "its minute has passed"
        drawn.clear()
        service.move_clock(timedelta(seconds=10))
        timeline(driver).tick()
        assert sorted(drawn) == list(range(BY_END.index("backup"))), (
            "now has moved on, in every lane with a line"
        )


async def test_the_strip_stands_where_there_is_room_and_shows_what_ends_first(drive: Drive) -> None:
    async with drive(MemoryService(many(300, NOW))) as driver:
        strip = driver.text.split("3 Timeline")[1]
        ends = sorted(
            profile.session.expires
            for profile in many(300, NOW)
            if profile.session and profile.session.expires and profile.session.expires > NOW
        )
        first = [
            profile.name
            for end in ends[:5]
            for profile in many(300, NOW)
            if profile.session and profile.session.expires == end
        ]
        assert [name for name in first if name in strip] == first
        await driver.press("plus")
        assert "2h, " in driver.text
    async with drive(MemoryService(many(300, NOW)), (120, 33)) as driver:
        assert "3 Timeline" not in driver.text
        await driver.press("plus")
        assert "works in the timeline (t)" in driver.message


async def test_the_strip_drops_what_has_ended(drive: Drive) -> None:
    service = MemoryService(believable())
    async with drive(service) as driver:
        assert "acme-prod-readonly" in driver.text.split("3 Timeline")[1]
        service.move_clock(timedelta(minutes=5))
        driver.main.tick()
        await driver.settle()
        assert "acme-prod-readonly" not in driver.text.split("3 Timeline")[1]


async def test_an_action_of_another_screen_says_so(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driver:
        await driver.press("t")
        driver.app.run_action_id("filter")
        await driver.settle()
        assert "Filter: not available on this screen; Esc goes back." in driver.text


async def test_the_cursor_keeps_its_row_when_another_process_changes_the_files(drive: Drive) -> None:
    service = MemoryService(believable())
    async with drive(service) as driver:
        await driver.press("t", "j", "j")
        assert selected_label(driver) == "acme-dev-admin"
        session = believable()[1].session
        assert session is not None
        service.edit("terraform", session=replace(session, expires=NOW + timedelta(hours=3)))
        await driver.app.reload()
        await driver.settle()
        assert selected_label(driver) == "acme-dev-admin"


@pytest.mark.parametrize("screen", ["t", "g"])
async def test_a_key_meant_for_a_row_that_is_gone_does_nothing(drive: Drive, screen: str) -> None:
    service = MemoryService(believable())
    async with drive(service) as driver:
        await driver.press(screen, "j")
        chosen = cast("ActionScreen", driver.app.screen).selected_row
        assert isinstance(chosen, Entry)
        service.drop(chosen.profile.name)
        await driver.app.reload()
        await driver.strike("r")
        assert f"{chosen.profile.name} is no longer listed, so nothing was done" in driver.text
        assert not service.calls
        await driver.press("r")
        assert len(service.calls) == 1, "told once, the person means the other one"


async def test_an_action_of_the_palette_is_about_the_row_that_it_was_opened_on(drive: Drive) -> None:
    service = MemoryService(believable())
    async with drive(service) as driver:
        await driver.press("g", "j")
        screen = cast("ActionScreen", driver.app.screen)
        chosen = screen.selected_row
        assert isinstance(chosen, Entry)
        await driver.press("colon")
        service.drop(chosen.profile.name)
        await driver.app.reload()
        await driver.type("refresh\r")
        assert f"{chosen.profile.name} is no longer listed" in driver.text
        assert not service.calls


def test_a_profile_that_is_called_like_a_login_has_a_row_of_its_own() -> None:
    entry = cast("Entry", None)
    life = Interval("login corp", None, None)
    login = Login("login corp", Kind.SSO_ROLE, NOW)
    assert TimelineEntry(entry, "login corp", life).key != TimelineEntry(entry, "login corp", life, login).key


def test_what_ends_in_ten_thousand_years_is_on_a_wide_chart_too() -> None:
    window = window_at(NOW, SPANS[-1], 0)
    assert cell_of(datetime.max.replace(tzinfo=UTC), window, 2000) >= 2000
    assert cell_of(datetime.min.replace(tzinfo=UTC), window, 2000) < 0
