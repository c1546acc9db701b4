"""The timeline's screen and strip: drawing, keys, and bytes sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from rich.cells import cell_len

from keyturn.model.profile import Key, Kind, Profile, Session, rotation_of
from keyturn_tui.rendering.profile_rows import Entry, catalog
from keyturn_tui.rendering.timeline_rows import TimelineEntry, key_rows, session_rows
from keyturn_tui.rendering.timeline_scale import SPANS, Interval, cell_of, window_at
from keyturn_tui.screens.base import ActionScreen
from keyturn_tui.screens.detail import DetailScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.screens.timeline import TimelineScreen
from keyturn_tui.terminal.capabilities import Options
from keyturn_tui.widgets.timeline_list import TimelineList
from tests.tui.conftest import NARROW, WIDE, Drive, Driven
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import NOW, believable, many

SIZES = [(WIDE, False), (NARROW, False), (NARROW, True), ((66, 18), False), ((44, 12), True)]
IDS = ["120x36", "80x24", "80x24-ascii", "66x18", "44x12-ascii"]
BY_END = [
    "ci-deploy-mfa", "terraform", "acme-prod-readonly", "acme-dev-readonly", "acme-dev-admin", "ci-audit", "ci-deploy", "backup",
]  # fmt: skip
OLDEST_FIRST = ["ci-deploy", "legacy-import", "personal"]


def timeline(driven: Driven) -> TimelineScreen:
    screen = driven.app.screen
    assert isinstance(screen, TimelineScreen)
    return screen


def lane(driven: Driven) -> str:
    """Return the label of the row under the cursor."""
    row = timeline(driven).query_one(TimelineList).row
    assert row is not None
    return row.label


def line_of(driven: Driven, name: str) -> str:
    return next(line for line in driven.text.splitlines() if name in line)


async def test_lanes_are_sorted_by_what_ends_first_and_the_cursor_is_on_what_ends_next(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driven:
        await driven.press("t")
        assert lane(driven) == "acme-prod-readonly", "what lies before has ended"
        await driven.press("g")
        seen = [lane(driven)]
        for _ in range(len(BY_END) + len(OLDEST_FIRST) - 1):
            await driven.press("j")
            seen.append(lane(driven))
        assert seen == BY_END + OLDEST_FIRST
        await driven.press("j")
        assert lane(driven) == OLDEST_FIRST[-1], "the cursor stops at the end"
        await driven.press("s", "g")
        assert lane(driven) == "acme-dev-admin", "by name"
        await driven.press("S", "g")
        assert lane(driven) == "terraform"


@pytest.mark.parametrize(("size", "ascii_only"), SIZES, ids=IDS)
async def test_every_size_shows_names_what_is_left_and_the_way_back(
    drive: Drive, size: tuple[int, int], ascii_only: bool
) -> None:
    async with drive(MemoryService(believable()), size, Options(ascii=ascii_only)) as driven:
        await driven.press("t")
        assert "4m " in line_of(driven, "acme-prod")
        assert "overdue 4d" in next(line for line in driven.text.splitlines() if "overdue" in line)
        assert "Esc Back" in driven.text.splitlines()[-1]
        assert driven.text.isascii() or not ascii_only
        assert all(cell_len(line) <= size[0] for line in driven.text.splitlines())
        await driven.press("escape")
        assert isinstance(driven.app.screen, MainScreen)


async def test_now_stands_in_one_column_of_every_lane(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driven:
        await driven.press("t")
        heading = line_of(driven, "SESSION")
        columns = {line_of(driven, name).index("┃") for name in BY_END if name != "backup"}
        assert columns == {heading.index("now")}


async def test_an_overdue_key_goes_past_the_line_of_its_policy_and_no_other(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driven:
        await driven.press("t")
        past = [
            name for name in OLDEST_FIRST if "┃█" in driven.text.split("LONG-TERM")[1].split(name)[1][:90]
        ]
        assert past == ["ci-deploy"]


async def test_zoom_and_scroll(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driven:
        await driven.press("t")
        assert "4h, 13:00 to 17:00 UTC" in driven.text
        await driven.press("plus")
        assert "2h, 13:30 to 15:30 UTC" in driven.text
        await driven.press("minus", "minus")
        assert "8h, 12:00 to 20:00 UTC" in driven.text
        await driven.press("l", "right")
        assert "16:00 to" in driven.text
        assert " now " not in driven.text
        assert "←" in line_of(driven, "acme-prod-readonly"), "it ends before what is shown"
        await driven.press("h")
        assert "14:00 to" in driven.text
        await driven.press("0")
        assert "12:00 to 20:00 UTC" in driven.text
        await driven.press("l", "l", "plus")
        assert " now " in driven.text, "zoom goes back to now"


async def test_nobody_scrolls_out_of_time(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driven:
        await driven.press("t", *["minus"] * 9)
        for key in ("h", "l"):
            await driven.type(key * 500)
            assert driven.app.fault is None
        await driven.press("full_stop")
        assert " now " in driven.text


async def test_acts_are_about_the_chosen_lane(drive: Drive) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper) as driven:
        await driven.press("t", "j", "r")
        assert ("refresh", ("acme-dev-readonly", None)) in keeper.calls
        assert lane(driven) == "acme-dev-readonly", "the lane moved in the order, and the cursor with it"
        assert "refreshed acme-dev-readonly" in driven.text
        await driven.press("x")
        assert keeper.snapshot().profiles[1].session is None
        assert "acme-dev-readonly  " not in driven.text.split("LONG-TERM")[0]
        await driven.press("enter")
        assert isinstance(driven.app.screen, DetailScreen)
        await driven.press("escape")
        assert isinstance(driven.app.screen, TimelineScreen)


async def test_tab_goes_from_the_sessions_to_the_keys_and_back(drive: Drive) -> None:
    async with drive(MemoryService([*many(300, NOW), *believable()]), NARROW) as driven:
        await driven.press("t", "tab")
        assert lane(driven) == "ci-deploy"
        row = timeline(driven).selected_row
        assert isinstance(row, Entry)
        assert row.profile.key is not None
        assert "LONG-TERM KEY" in driven.text
        await driven.press("tab")
        assert "SESSION" in driven.text


async def test_the_heading_of_the_keys_stays_when_nothing_but_keys_is_in_view(drive: Drive) -> None:
    key = Key("AKIAEXAMPLE00004WQP", created=NOW - timedelta(days=30))
    keys = [
        Profile(f"key-{nth:02d}", kind=Kind.IAM_KEY, key=key, rotation=rotation_of(key, 90, NOW))
        for nth in range(60)
    ]
    async with drive(MemoryService([*believable(), *keys]), NARROW) as driven:
        await driven.press("t", "G")
        assert "LONG-TERM KEY" in driven.text
        assert "SESSION" not in driven.text


async def test_where_nothing_is_to_be_drawn_it_says_what_to_do(drive: Drive) -> None:
    async with drive(MemoryService([Profile("new", kind=Kind.SSO_ROLE)]), NARROW) as driven:
        await driven.press("t")
        assert "No sessions or sign-ins yet." in driven.text
        assert "Press Esc for the list, then r to get a session." in driven.text
        await driven.press("j", "tab", "r", "enter")
        assert isinstance(driven.app.screen, TimelineScreen)


async def test_a_window_that_is_too_small_says_so(drive: Drive) -> None:
    async with drive(MemoryService(believable()), (38, 9)) as driven:
        await driven.press("t")
        assert "Make the window larger" in driven.text
        await driven.press("escape")
        assert isinstance(driven.app.screen, MainScreen)


def test_profiles_of_one_sign_in_share_one_lane() -> None:
    token = Session("", None, NOW + timedelta(hours=6))
    profiles = [Profile(name, kind=Kind.SSO_ROLE, source="acme-corp", session=token) for name in ("a", "b")]
    cached = Profile(
        "c", kind=Kind.SSO_ROLE, source="acme-corp", session=Session("ASIAX", NOW, NOW + timedelta(hours=1))
    )
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
    async with drive(MemoryService([*believable(), other])) as driven:
        await driven.press("t")
        assert "100%" in line_of(driven, "LONG-TERM KEY")
        assert "┃█" in line_of(driven, "overdue 1d")


async def test_wide_and_combining_characters_shift_no_column(drive: Drive) -> None:
    session = believable()[1].session
    names = ["plain", "日本語の名前", "e\u0301te\u0301", "x\x1b[31mred", "[bold]b[/bold]", "名" * 40]
    async with drive(MemoryService([Profile(name, session=session) for name in names])) as driven:
        await driven.press("t")
        lines = [line for line in driven.text.splitlines() if "━┃━" in line]
        assert len(lines) == len(names)
        assert len({cell_len(line[: line.index("┃")]) for line in lines}) == 1
        assert "[bold]b[/bold]" in driven.text
        assert "\x1b" not in driven.text


async def test_a_lane_is_drawn_again_only_when_a_cell_of_it_changes(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper) as driven:
        await driven.press("t")
        lanes = timeline(driven).query_one(TimelineList)
        drawn: list[int] = []
        monkeypatch.setattr(
            lanes, "refresh", lambda *regions, **_: drawn.extend(region.y for region in regions)
        )
        timeline(driven).tick()
        assert drawn == []
        keeper.move_clock(timedelta(seconds=5))
        timeline(driven).tick()
        drawn.clear()
        keeper.move_clock(timedelta(seconds=20))
        timeline(driven).tick()
        assert drawn == [], "no minute and no cell has passed"
        keeper.move_clock(timedelta(seconds=8))
        timeline(driven).tick()
        assert drawn == [BY_END.index("acme-prod-readonly")], "its minute has passed"
        drawn.clear()
        keeper.move_clock(timedelta(seconds=10))
        timeline(driven).tick()
        assert sorted(drawn) == list(range(BY_END.index("backup"))), (
            "now has moved on, in every lane with a line"
        )


async def test_the_strip_stands_where_there_is_room_and_shows_what_ends_first(drive: Drive) -> None:
    async with drive(MemoryService(many(300, NOW))) as driven:
        strip = driven.text.split("3 Timeline")[1]
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
        await driven.press("plus")
        assert "2h, " in driven.text
    async with drive(MemoryService(many(300, NOW)), (120, 33)) as driven:
        assert "3 Timeline" not in driven.text
        await driven.press("plus")
        assert "works in the timeline (t)" in driven.message


async def test_the_strip_drops_what_has_ended(drive: Drive) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper) as driven:
        assert "acme-prod-readonly" in driven.text.split("3 Timeline")[1]
        keeper.move_clock(timedelta(minutes=5))
        driven.main.tick()
        await driven.settle()
        assert "acme-prod-readonly" not in driven.text.split("3 Timeline")[1]


async def test_an_action_of_another_screen_says_so(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driven:
        await driven.press("t")
        driven.app.run_action_id("filter")
        await driven.settle()
        assert "Filter: not available on this screen; Esc goes back." in driven.text


async def test_the_cursor_keeps_its_lane_when_another_process_changes_the_files(drive: Drive) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper) as driven:
        await driven.press("t", "j", "j")
        assert lane(driven) == "acme-dev-admin"
        session = believable()[1].session
        assert session is not None
        keeper.edit("terraform", session=replace(session, expires=NOW + timedelta(hours=3)))
        await driven.app.reload()
        await driven.settle()
        assert lane(driven) == "acme-dev-admin"


@pytest.mark.parametrize("screen", ["t", "g"])
async def test_a_key_meant_for_a_row_that_is_gone_does_nothing(drive: Drive, screen: str) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper) as driven:
        await driven.press(screen, "j")
        chosen = cast("ActionScreen", driven.app.screen).selected_row
        assert isinstance(chosen, Entry)
        keeper.drop(chosen.profile.name)
        await driven.app.reload()
        await driven.strike("r")
        assert f"{chosen.profile.name} is no longer listed, so nothing was done" in driven.text
        assert not keeper.calls
        await driven.press("r")
        assert len(keeper.calls) == 1, "told once, the person means the other one"


async def test_an_action_of_the_palette_is_about_the_row_that_it_was_opened_on(drive: Drive) -> None:
    keeper = MemoryService(believable())
    async with drive(keeper) as driven:
        await driven.press("g", "j")
        screen = cast("ActionScreen", driven.app.screen)
        chosen = screen.selected_row
        assert isinstance(chosen, Entry)
        await driven.press("colon")
        keeper.drop(chosen.profile.name)
        await driven.app.reload()
        await driven.type("refresh\r")
        assert f"{chosen.profile.name} is no longer listed" in driven.text
        assert not keeper.calls


def test_a_profile_that_is_called_like_a_login_has_a_lane_of_its_own() -> None:
    entry = cast("Entry", None)
    life = Interval("login corp", None, None)
    assert (
        TimelineEntry(entry, "login corp", life).key
        != TimelineEntry(entry, "login corp", life, is_login=True).key
    )


def test_what_ends_in_ten_thousand_years_is_on_a_wide_chart_too() -> None:
    window = window_at(NOW, SPANS[-1], 0)
    assert cell_of(datetime.max.replace(tzinfo=UTC), window, 2000) >= 2000
    assert cell_of(datetime.min.replace(tzinfo=UTC), window, 2000) < 0
