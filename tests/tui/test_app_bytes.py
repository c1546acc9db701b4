"""Bytes that the app sends over the line, counted on a real pty, and bytes that it never
sends."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

from tests.tui.pty_helpers import PtyChild

IDLE_LIMIT = 300
MOVE_LIMIT = 1024
SCROLL_LIMIT = 2560
#: In seconds.
MINUTE = 60
#: Seconds to wait for what a move sends. The median of several is that of a move alone: a clock that ticks
#: meanwhile is in one or two of them.
MOVE_SECONDS = 0.35


@pytest.fixture
def five_thousand(tmp_path: Path) -> PtyChild:
    return PtyChild(["5000"], tmp_path)


def test_byte_budgets_with_5000_profiles(five_thousand: PtyChild) -> None:
    """Idle, moving in view and held scrolling stay within their budgets."""
    with five_thousand as child:
        child.read_until(b"team-00")
        child.read_until_quiet(1.5)
        seconds = 6
        idle = len(child.read(seconds)) / seconds
        moved = []
        for _ in range(16):
            child.send(b"j")
            moved.append(len(child.read(MOVE_SECONDS)))
        keys = 60
        scrolled = 0
        for _ in range(keys):
            child.send(b"j")
            scrolled += len(child.read(0.05))
        scrolled += len(child.read_until_quiet())
        child.send(b"q")
        child.wait()
    move, mean_scroll = median(moved), scrolled / keys
    print(f"idle {idle:.0f} B/s, cursor move {move:.0f} B, held scroll {mean_scroll:.0f} B per key")  # noqa: T201  # pytest -s shows the figures
    assert idle <= IDLE_LIMIT
    assert move <= MOVE_LIMIT
    assert mean_scroll <= SCROLL_LIMIT


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(b":zzz", marks=pytest.mark.campaign),
        b"/zzz",
        pytest.param(b"?", marks=pytest.mark.campaign),
        b"\r",
    ],
)
def test_what_is_open_and_waits_for_a_person_sends_next_to_nothing(tmp_path: Path, keys: bytes) -> None:
    with PtyChild(["5000"], tmp_path) as child:
        child.read_until(b"team-00")
        child.read_until_quiet()
        child.send(keys[:1])
        child.read_until_quiet()
        child.send(keys[1:])
        child.read_until_quiet()
        assert len(child.read(2.5)) / 2.5 <= IDLE_LIMIT


@pytest.mark.parametrize("seconds", [12, pytest.param(MINUTE, marks=pytest.mark.campaign)])
def test_an_idle_timeline_of_1000_sessions_stays_within_the_budget(tmp_path: Path, seconds: int) -> None:
    """At the shortest span, with the sessions that expire first. In a minute each countdown changes once, and
    the line of the present at most once; a part of the minute may have all of these changes in it."""
    with PtyChild(["1000"], tmp_path) as child:
        child.read_until(b"team-00")
        child.read_until_quiet()
        child.send(b"t")
        child.read_until(b"SESSION")
        child.send(b"+")
        child.read_until_quiet()
        sent = child.read(seconds)
        moved = []
        for _ in range(8):
            child.send(b"j")
            moved.append(len(child.read(MOVE_SECONDS)))
        child.send(b"q")
        child.wait()
    idle, move = len(sent) / seconds, median(moved)
    print(f"timeline idle {idle:.0f} B/s, cursor move {move:.0f} B")  # noqa: T201  # pytest -s shows the figures
    assert sent, "no countdown ran: this says nothing"
    assert len(sent) <= IDLE_LIMIT * MINUTE
    assert move <= MOVE_LIMIT
