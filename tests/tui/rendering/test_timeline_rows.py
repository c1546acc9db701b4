"""The rows of the timeline and their drawing, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.model.profile import (
    Delivery,
    Key,
    Kind,
    Login,
    Profile,
    Renew,
    Rotation,
    RotationState,
    Session,
    Snapshot,
)
from keyturn.model.text import ASCII, UNICODE
from keyturn_tui.rendering.profile_cells import Line, View
from keyturn_tui.rendering.profile_rows import Catalog, catalog
from keyturn_tui.rendering.timeline_rows import (
    Room,
    TimelineEntry,
    first_upcoming,
    key_axis,
    key_rows,
    room_in,
    row_line,
    session_rows,
    time_axis,
    upcoming,
)
from keyturn_tui.rendering.timeline_scale import Interval, Window

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
NOW = datetime(2026, 3, 14, 14, 0, tzinfo=UTC)
#: Two hours before now and two after it, in forty cells: a cell is six minutes, and now is cell 20.
WINDOW = Window(NOW - 2 * HOUR, 4 * HOUR)
ROOM = Room(13, 12, 40)
NARROW = Room(13, 12, 0, 7)


def session(name: str, expires: timedelta | None, **changes: Any) -> Profile:
    end = None if expires is None else NOW + expires
    made = Profile(name, kind=Kind.ROLE, session=Session("ASIAEXAMPLE00007QX2", NOW - HOUR, end))
    return replace(made, **changes)


def key(name: str, age: int | None, limit: int | None = 90, waits: str | None = None) -> Profile:
    if waits is not None:
        state = RotationState.IN_PROGRESS
    elif limit is None:
        state = RotationState.OFF
    elif age is None:
        state = RotationState.UNKNOWN
    else:
        state = RotationState.OVERDUE if age >= limit else RotationState.OK
    rotation = Rotation(state, age, limit, pending_step=waits)
    return Profile(name, kind=Kind.IAM_KEY, key=Key("AKIAEXAMPLE00004WQP"), rotation=rotation)


def listed(*profiles: Profile) -> Catalog:
    return catalog(Snapshot(1, profiles))


def view(*profiles: Profile, **changes: Any) -> View:
    return replace(View(Snapshot(1, profiles), NOW), **changes)


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line)


def draw(
    profile: Profile,
    *,
    room: Room = ROOM,
    selected: bool = False,
    window: Window = WINDOW,
    seen: View | None = None,
) -> Line:
    """Return the line of a profile's session, or of its key if it has no session."""
    catalogue = listed(profile)
    (row,) = session_rows(catalogue) if profile.session else key_rows(catalogue)
    return row_line(row, seen or view(profile), window, room, selected=selected)


def row_in(line: Line) -> str:
    return text_of(line[2:])


# -- room ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "room"),
    [
        (0, Room(13, 0, 0, 7)),
        (20, Room(13, 0, 0, 7)),
        (30, Room(13, 6, 0, 7)),
        (57, Room(13, 33, 0, 7)),
        (58, Room(13, 13, 28)),
        (80, Room(13, 21, 42)),
        (101, Room(13, 28, 56)),
        (104, Room(13, 28, 59)),
        (200, Room(13, 28, 155)),
    ],
)
def test_the_parts_of_a_row_by_its_width(width: int, room: Room) -> None:
    assert room_in(width) == room


# -- rows of sessions ------------------------------------------------------------------------------


def test_sessions_are_in_the_order_of_their_ends_then_of_their_names() -> None:
    rows = session_rows(
        listed(
            session("d", None), session("c", 2 * HOUR), session("b", HOUR), session("a", 2 * HOUR),
            Profile("none"), key("long", 3),
        )
    )  # fmt: skip
    assert [row.label for row in rows] == ["b", "a", "c", "d"]
    assert [row.key for row in rows] == [("session", label) for label in "bacd"]
    assert rows[0].interval == Interval("b", NOW - HOUR, NOW + HOUR)
    assert rows[0].entry.profile.name == "b"


ARN = "arn:aws:iam::123456789012:user/alice"


def login(name: str, login_name: str, left: timedelta = HOUR, **changes: Any) -> Profile:
    """Return a profile that is signed in for until `left` from now, with further fields of the sign-in."""
    made = replace(Login(login_name, Kind.SSO_ROLE, NOW + left), **changes)
    return Profile(name, kind=made.kind, source=login_name, login=made)


def test_a_login_has_one_row_however_many_profiles_use_it() -> None:
    rows = session_rows(
        listed(login("a", "acme"), login("b", "acme"), login("c", "https://other.example/start"))
    )
    assert [row.label for row in rows] == ["login acme", "login other.example/start"]
    assert [row.key for row in rows] == [("login", "acme"), ("login", "https://other.example/start")]
    assert rows[0].entry.profile.name == "a", "acts on the row are about the first of them"
    assert rows[0].interval == Interval("login acme", None, NOW + HOUR)


def test_an_sso_session_and_a_start_url_that_look_alike_have_a_row_each() -> None:
    rows = session_rows(listed(login("a", "x.example/start"), login("b", "https://x.example/start")))
    assert len({row.key for row in rows}) == 2


def test_acts_on_a_login_are_about_a_profile_that_signs_in_rather_than_a_role() -> None:
    role = replace(login("a", "acme"), kind=Kind.ROLE, chain=("b",))
    (row,) = session_rows(listed(role, login("b", "acme")))
    assert row.entry.profile.name == "b"
    (row,) = session_rows(listed(role))
    assert row.entry.profile.name == "a"


def test_a_session_and_its_login_have_a_row_each() -> None:
    rows = session_rows(listed(replace(login("a", "acme"), session=session("a", 2 * HOUR).session)))
    assert [row.key for row in rows] == [("login", "acme"), ("session", "a")]


def test_a_console_login_has_one_row_because_its_session_is_its_token() -> None:
    made = login("a", ARN, kind=Kind.CONSOLE_LOGIN)
    (row,) = session_rows(listed(replace(made, session=session("a", HOUR).session)))
    assert (row.label, row.key) == (f"login {ARN}", ("login", ARN))
    (row,) = session_rows(listed(session("a", HOUR, kind=Kind.CONSOLE_LOGIN)))
    assert row.key == ("session", "a")


#: Sign-in; its glyph, what is left, and its chart or None for a bar.
LOGIN_LINES: list[tuple[Profile, str, str, str | None]] = [
    (login("a", "acme", 2 * HOUR), "●", "2h 00m", None),
    (login("a", "acme", 10 * MINUTE), "◐", "10m", None),
    (login("a", "acme", -2 * DAY), "○", "ended 2d", "sign in again"),
    (
        login("a", "acme", HOUR, is_renewable=True, renewable_until=NOW + 80 * DAY),
        "●",
        "signed in",
        "renews on use, while its portal session lasts",
    ),
    (
        login("a", "acme", -HOUR, is_renewable=True, renewable_until=NOW + 80 * DAY),
        "●",
        "renewable",
        "renews on use, while its portal session lasts",
    ),
    (
        login("a", "acme", -2 * DAY, is_renewable=True, renewable_until=NOW - HOUR),
        "○",
        "ended 1h",
        "sign in again",
    ),
    (
        login("a", ARN, -HOUR, kind=Kind.CONSOLE_LOGIN, is_renewable=True),
        "●",
        "renewable",
        "renews on use, up to 12h after the sign-in",
    ),
    (
        login("a", ARN, -HOUR, kind=Kind.CONSOLE_LOGIN, is_renewable=True, renewable_until=NOW + HOUR),
        "●",
        "renewable",
        "renews on use, until 14 Mar 15:00 UTC at the latest",
    ),
]


@pytest.mark.parametrize(("profile", "glyph", "left", "chart"), LOGIN_LINES, ids=range(len(LOGIN_LINES)))
def test_a_login_is_told_by_its_state(profile: Profile, glyph: str, left: str, chart: str | None) -> None:
    (row,) = session_rows(listed(profile))
    line = row_line(row, view(profile), WINDOW, Room(13, 12, 60))
    assert line[0][0].split(maxsplit=1) == [glyph, left.ljust(12) + " "]
    if chart is None:
        assert len(line) > 3
    else:
        assert line[2:] == ((chart.ljust(60), "muted"),)


def test_a_login_that_renews_is_not_among_those_that_end_soon() -> None:
    renewable = login("a", "acme", HOUR, is_renewable=True, renewable_until=NOW + DAY)
    rows = session_rows(listed(renewable, login("b", "other", HOUR)))
    assert [row.label for row in upcoming(rows, NOW, 9)] == ["login other"]


def test_a_login_and_a_profile_of_the_same_label_have_a_row_each() -> None:
    rows = session_rows(listed(login("a", "acme"), session("login acme", HOUR)))
    assert [row.label for row in rows] == ["login acme", "login acme"]
    assert sorted(row.key for row in rows) == [("login", "acme"), ("session", "login acme")]


# -- rows of keys ----------------------------------------------------------------------------------


def test_keys_that_wait_come_first_then_the_most_overdue_then_those_without_a_policy() -> None:
    rows = key_rows(
        listed(
            key("no policy", 400, None), key("unknown", None), key("young", 9), key("overdue", 99),
            key("older by its own policy", 60, 30), key("waits", 1, waits="created"), key("young too", 9),
            session("no key", HOUR),
        )
    )  # fmt: skip
    assert [row.label for row in rows] == [
        "waits", "older by its own policy", "overdue", "young", "young too", "no policy", "unknown",
    ]  # fmt: skip
    assert {row.key for row in rows} == {("key", row.label) for row in rows}
    assert not any(row.login for row in rows)


def test_keys_are_in_the_order_of_the_share_of_their_policy_that_is_left() -> None:
    rows = key_rows(listed(key("a sixth", 25, 30), key("a seventieth", 360, 365)))
    assert [row.label for row in rows] == ["a seventieth", "a sixth"]


# -- future sessions
# --------------------------------------------------------------------------------------------------

PAST, AHEAD = -SECOND, SECOND
ROWS = session_rows(
    listed(
        session("a", PAST),
        session("b", timedelta()),
        session("c", AHEAD),
        session("d", HOUR),
        session("e", None),
    )
)


def test_the_first_row_to_come_ends_after_now() -> None:
    assert first_upcoming(ROWS, NOW) == 2
    assert first_upcoming(ROWS[:2], NOW) == 0
    assert first_upcoming(ROWS[4:], NOW) == 0
    assert first_upcoming(key_rows(listed(key("k", 1))), NOW) == 0
    assert first_upcoming((), NOW) == 0


@pytest.mark.parametrize(("most", "labels"), [(0, ""), (1, "c"), (2, "cd"), (9, "cd")])
def test_live_rows_end_after_now_and_are_limited(most: int, labels: str) -> None:
    assert "".join(row.label for row in upcoming(ROWS, NOW, most)) == labels


# -- the left of a row -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "words", "glyph", "role"),
    [
        (2 * DAY + 3 * HOUR, "2d 3h", "fresh", "fresh"),
        (59 * MINUTE, "59m", "fresh", "fresh"),
        (19 * MINUTE, "19m", "soon", "soon"),
        (10 * MINUTE, "10m", "soon", "soon"),
        (10 * MINUTE - SECOND, "9m", "soon", "soon"),
        (MINUTE, "1m", "soon", "soon"),
        (MINUTE - SECOND, "< 1m", "soon", "soon"),
        (SECOND, "< 1m", "soon", "soon"),
        (timedelta(), "expired", "expired", "expired"),
        (-SECOND, "expired", "expired", "expired"),
        (-MINUTE, "expired 1m", "expired", "expired"),
        (-HOUR + SECOND, "expired 59m", "expired", "expired"),
        (-HOUR, "expired 1h", "expired", "expired"),
        (-DAY + SECOND, "expired 23h", "expired", "expired"),
        (-DAY, "expired 1d", "expired", "expired"),
        (-9 * DAY, "expired 9d", "expired", "expired"),
        (None, "unknown", "unknown", "unknown"),
    ],
)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_a_session_says_what_is_left_without_seconds(
    left: timedelta | None, words: str, glyph: str, role: str, glyphs: Any
) -> None:
    profile = session("p", left)
    line = draw(profile, seen=view(profile, glyphs=glyphs))
    assert line[0] == (f"  {getattr(glyphs, glyph)} {words:<12} ", role)


@pytest.mark.parametrize(
    ("profile", "glyph", "words", "role"),
    [
        (key("k", 9), "■", "ok, due 81d", "key"),
        (key("k", 94), "▲", "overdue 4d", "overdue"),
        (replace(key("k", 80), rotation=Rotation(RotationState.DUE, 80, 90)), "▲", "due 10d", "due"),
        (key("k", 94, waits="deactivated"), "▲", "deactivated", "due"),
        (key("k", 94, None), "■", "off", "key"),
        (key("k", None), "■", "unknown", "key"),
    ],
)
def test_a_key_says_how_it_stands_against_its_policy(
    profile: Profile, glyph: str, words: str, role: str
) -> None:
    assert draw(profile)[0] == (f"  {glyph} {words:<12} ", role)


@pytest.mark.parametrize("profile", [session("p", HOUR), session("p", None), key("p", 9)])
def test_a_profile_with_an_operation_in_flight_is_working(profile: Profile) -> None:
    assert draw(profile, seen=view(profile, working=frozenset({"p"})))[0] == ("  ↻ working      ", "working")
    assert draw(profile, seen=view(profile, working=frozenset({"q"})))[0][1] != "working"


def test_the_chosen_row_has_the_cursor_and_a_bright_name() -> None:
    plain, selected = (draw(session("prod", HOUR), selected=selected) for selected in (False, True))
    assert plain[0][0][0] == " "
    assert plain[1] == ("prod        ", "text")
    assert selected[0][0][0] == "▸"
    assert selected[1] == ("prod        ", "title")
    assert row_line(session_rows(listed(session("prod", HOUR)))[0], view(), WINDOW, ROOM) == plain


def test_a_hostile_name_is_written_out_and_cut() -> None:
    assert draw(session("\x1b" + "b" * 20, HOUR))[1][0] == "\\x1bbbbbbb… "


# -- ends in words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (session("p", 61 * MINUTE), "15:01"),
        (session("p", 20 * HOUR), "10:00"),
        (session("p", 20 * HOUR + SECOND), "15 Mar"),
        (session("p", -20 * HOUR), "18:00"),
        (session("p", -20 * HOUR - SECOND), "13 Mar"),
        (session("p", None), ""),
        (key("p", 94), "94d"),
        (key("p", 0), "0d"),
        (key("p", None), ""),
    ],
)
def test_without_room_for_a_chart_the_end_or_the_age_is_written_out(profile: Profile, words: str) -> None:
    assert draw(profile, room=NARROW)[2:] == ((f"{words:<7}", "muted"),)


# -- lanes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("issued", "expires", "lane"),
    [
        (-HOUR, HOUR, " " * 10 + "━" * 10 + "┃" + "━" * 9 + "▌" + " " * 9),
        (-HOUR, 9 * HOUR, " " * 10 + "━" * 10 + "┃" + "━" * 18 + "→"),
        (-9 * HOUR, -HOUR, "━" * 10 + "▌" + " " * 9 + "┃" + " " * 19),
        (-9 * HOUR, -3 * HOUR, "←" + " " * 19 + "┃" + " " * 19),
        (3 * HOUR, 9 * HOUR, " " * 20 + "┃" + " " * 18 + "→"),
    ],
    ids=["in the window", "ends behind it", "began before it", "all before it", "all behind it"],
)
def test_a_session_is_drawn_from_its_issue_to_its_end(
    issued: timedelta, expires: timedelta, lane: str
) -> None:
    profile = session("p", expires)
    profile = replace(profile, session=Session("ASIA", NOW + issued, NOW + expires))
    assert row_in(draw(profile)) == lane
    to_ascii = str.maketrans("━▌→←┃", "=]><|")
    assert row_in(draw(profile, seen=view(profile, glyphs=ASCII))) == lane.translate(to_ascii)


def test_the_bar_has_the_colour_of_its_state_and_now_that_of_a_title() -> None:
    line = draw(session("p", HOUR))
    roles = dict(line[2:])
    assert roles == {" ": "text", "━": "fresh", "┃": "title", "▌": "fresh"}
    assert draw(session("p", -3 * HOUR, session=Session("A", None, NOW - 3 * HOUR)))[2] == ("←", "expired")
    later = replace(session("p", 9 * HOUR), session=Session("A", NOW + 3 * HOUR, NOW + 9 * HOUR))
    assert draw(later)[-1] == ("→", "fresh")


def test_now_is_not_drawn_where_it_is_out_of_the_window() -> None:
    assert "┃" not in row_in(draw(session("p", HOUR), window=Window(NOW + SECOND, 4 * HOUR)))


def test_an_unknown_end_is_said_and_has_no_line_of_now() -> None:
    line = draw(session("p", None))
    assert len(line) == 42
    assert "unknown" in row_in(line)
    assert "┃" not in row_in(line)
    assert {role for _, role in line[2:]} == {"muted"}


RENEWED = session(
    "p", 90 * MINUTE, managed=True, renew=Renew.AUTO, delivery=Delivery.CREDENTIAL_PROCESS, last_use=NOW
)


@pytest.mark.parametrize(
    ("agent", "paused", "is_marked"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_renewal_is_drawn_while_an_agent_renews(agent: bool, paused: bool, is_marked: bool) -> None:
    snapshot = Snapshot(1, (RENEWED,), agent=agent, paused=paused)
    line = draw(RENEWED, seen=View(snapshot, NOW))
    # It is due twenty minutes before the end.
    marked = [nth for nth, span in enumerate(line[2:]) if span == ("↻", "working")]
    assert marked == ([31] if is_marked else [])
    if is_marked:
        assert row_in(draw(RENEWED, seen=View(snapshot, NOW, glyphs=ASCII)))[31] == "r"


# -- ages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "bar"),
    [
        (0, "░" * 35 + "┃" + " " * 4),
        (45, "█" * 17 + "░" * 18 + "┃" + " " * 4),
        (89, "█" * 34 + "░" + "┃" + " " * 4),
        (90, "█" * 35 + "┃" + "█" + " " * 3),
        (105, "█" * 35 + "┃" + "█" * 4),
        (106, "█" * 35 + "┃" + "█" * 3 + "→"),
    ],
)
def test_the_age_of_a_key_is_drawn_against_its_policy(age: int, bar: str) -> None:
    profile = key("k", age)
    line = draw(profile)
    assert row_in(line) == bar
    assert row_in(draw(profile, seen=view(profile, glyphs=ASCII))) == bar.translate(
        str.maketrans("█░┃→", "#.|>")
    )
    roles = dict(line[2:])
    role = "overdue" if age >= 90 else "key"
    assert {"█": role, "░": "dim", "┃": "title", " ": "text", "→": role}.items() >= roles.items()


@pytest.mark.parametrize(
    ("profile", "words"), [(key("k", None), "age unknown"), (key("k", 94, None), "94d old, no policy")]
)
def test_an_age_without_a_scale_is_written_out(profile: Profile, words: str) -> None:
    ((text, role),) = draw(profile)[2:]
    assert words in text
    assert (len(text), role) == (40, "muted")


# -- headings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "chart", "axis"),
    [
        (4 * HOUR, 40, "12:00     13:00     now       15:00     "),
        (4 * HOUR, 80, "12:00     12:30     13:00     13:30     now       14:30     15:00     15:30     "),
        (4 * HOUR, 36, "12:00    13:00    now      15:00    "),
        (4 * HOUR, 35, "12:00            now              "),
    ],
)
def test_the_axis_names_hours_and_now(span: timedelta, chart: int, axis: str) -> None:
    ((text, role),) = time_axis(Window(NOW - span / 2, span), Room(13, 12, chart), NOW)
    assert role == "heading"
    assert text[:29] == "    LEFT         SESSION     "
    assert text[29:].rstrip() == axis.rstrip()
    assert len(text) == 29 + chart


@pytest.mark.parametrize(
    ("span", "ticks"),
    [
        (2 * HOUR, "13:00 13:30 now 14:30"),
        (8 * HOUR, "10:00 12:00 now 16:00"),
        (12 * HOUR, "09:00 12:00 now 18:00"),
        (DAY, "06:00 now 18:00 15 Mar"),
        (3 * DAY, "14 Mar now 15 Mar 16 Mar"),
        (7 * DAY, "12 Mar now 16 Mar"),
        (30 * DAY, "05 Mar now 19 Mar 26 Mar"),
    ],
)
def test_the_axis_of_each_span_has_ticks_that_do_not_touch(span: timedelta, ticks: str) -> None:
    ((text, _),) = time_axis(Window(NOW - span / 2, span), ROOM, NOW)
    assert " ".join(text[29:].split()) == ticks


@pytest.mark.parametrize(
    ("minute", "axis"),
    [
        (36, "    13:00     14:00 now 15:00     16:00"),
        (30, "     13:00          now  15:00     16:00"),
        (42, "   13:00     14:00  now          16:00"),
    ],
    ids=["a cell on both sides", "none before now", "none after now"],
)
def test_a_tick_is_left_out_where_it_would_touch_now(minute: int, axis: str) -> None:
    now = NOW.replace(minute=minute)
    ((text, _),) = time_axis(Window(now - 2 * HOUR, 4 * HOUR), ROOM, now)
    assert text[29:].rstrip() == axis


@pytest.mark.parametrize(
    ("span", "chart", "ticks"),
    [
        (2 * HOUR, 80, "13:00 13:15 13:30 13:45 now 14:15 14:30 14:45"),
        (3 * DAY, 80, "12:00 14 Mar now 15 Mar 12:00 16 Mar"),
    ],
)
def test_a_wide_chart_has_more_ticks(span: timedelta, chart: int, ticks: str) -> None:
    ((text, _),) = time_axis(Window(NOW - span / 2, span), Room(13, 12, chart), NOW)
    assert " ".join(text[29:].split()) == ticks


def test_the_axis_of_a_month_in_a_small_chart_has_weeks_as_far_as_they_fit() -> None:
    ((text, _),) = time_axis(Window(NOW - 15 * DAY, 30 * DAY), Room(13, 12, 28), NOW)
    assert text[29:] == "     05 Mar   now 19 Mar    "


def test_the_axis_of_another_time_has_no_now() -> None:
    ((text, _),) = time_axis(Window(NOW + HOUR, 4 * HOUR), ROOM, NOW)
    assert text[29:].split() == ["15:00", "16:00", "17:00", "18:00"]


def test_without_a_chart_the_heading_names_the_ends() -> None:
    assert time_axis(WINDOW, NARROW, NOW) == (("    LEFT         SESSION     EXPIRES", "heading"),)
    assert key_axis((), NARROW) == (("    POLICY       LONG-TERM … AGE    ", "heading"),)


@pytest.mark.parametrize(
    ("limits", "axis"),
    [
        ((90, 90), "0d         30d         60d         90d"),
        ((30,), "0d         10d         20d         30d"),
        ((100,), "0d         33d         66d         100d"),
        ((90, None), "0d         30d         60d         90d"),
        ((90, 30), "0%         33%         66%         100%"),
        ((None,), ""),
        ((), ""),
    ],
)
def test_the_axis_of_keys_is_in_days_if_all_have_one_policy(
    limits: tuple[int | None, ...], axis: str
) -> None:
    rows = key_rows(listed(*(key(f"k{nth}", 1, limit) for nth, limit in enumerate(limits))))
    ((text, role),) = key_axis(rows, Room(13, 14, 40))
    assert role == "heading"
    assert text[:31] == "    POLICY       LONG-TERM KEY "
    assert text[31:].rstrip() == axis
    assert len(text) == 71


def test_a_row_is_the_same_over_snapshots_by_its_kind_and_label() -> None:
    entry = listed(session("a", HOUR)).entries[0]
    life = Interval("a", None, None)
    assert TimelineEntry(entry, "a", None).key == ("key", "a")
    assert TimelineEntry(entry, "a", life).key == ("session", "a")
    made = Login("a", Kind.SSO_ROLE, NOW)
    assert TimelineEntry(entry, "login a", life, made).key == ("login", "a")
