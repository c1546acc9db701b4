"""Text from files and from AWS is shown as text: no crash, no action, no control character (safety.md, D3 and D4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.errors import AwsRefused
from keyturn.model import (
    DiffLine,
    FileProblem,
    Key,
    Kind,
    Origin,
    Plan,
    Profile,
    Session,
    VaultState,
)
from keyturn.text import is_safe
from keyturn_tui.screens.help import HelpScreen
from keyturn_tui.screens.mfa import MfaScreen
from keyturn_tui.screens.review import ReviewScreen
from keyturn_tui.terminal import Options
from tests.app.conftest import NARROW, WIDE, Drive
from tests.app.memory_keeper import NOW, MemoryKeeper
from tests.app.ptykit import PtyChild

CORPUS = [
    "[/x]",
    "[",
    "[b",
    "[0]",
    "[bold red]x[/]",
    "[@click=app.quit()]click[/]",
    "[@click=app.bell]x[/]",
    "prod [/legacy]",
    "$text-muted",
    "a[b]c",
    "\\[/x]",
    "\x1b]52;c;aGk=\x1b\\",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31mred",
    "\x9b31m\x9d0;t\x9c",
    "a\nb\rc\td",
    "null\x00byte",
    "\u202egnp.exe",
    "\u2066a\u2069\u200b\u200d\ufeff",
    "\ud800lone",
    "日本語のプロファイル",
    "é" * 10 + "e\u0301" * 40,
    "❤\ufe0f👩\u200d👩\u200d👧",
    "x" * 300,
    "`$(reboot)`; rm -rf /",
    "../../etc/passwd",
    "-rf",
    "",
    " ",
]


def hostile(name: str, nth: int) -> Profile:
    return Profile(
        name + str(nth),
        managed=nth % 2 == 0,
        kind=Kind.ROLE,
        source=name,
        account=name,
        role=name,
        region=name,
        key=Key("AKIA" + name, user=name, status=name),
        session=Session("ASIA" + name, NOW, NOW.replace(hour=15), arn=name),
        deliver_as=name,
        mfa_serial=name if nth % 3 == 0 else None,
        chain=(name, name),
        problem=name if nth % 7 == 0 else None,
        origin=Origin(name, 1),
    )


PROFILES = [hostile(name, nth) for nth, name in enumerate(CORPUS)]
PROBLEMS = [FileProblem(name, 3, name) for name in CORPUS]


def assert_inert(text: str) -> None:
    for line in text.splitlines():
        assert is_safe(line.replace("\ufe0f", "")), repr(line)


@pytest.mark.parametrize(
    ("size", "ascii_only"), [(WIDE, False), (NARROW, True)], ids=["120x36", "80x24-ascii"]
)
async def test_list_and_detail(drive: Drive, size: tuple[int, int], ascii_only: bool) -> None:
    keeper = MemoryKeeper(PROFILES, problems=PROBLEMS)
    async with drive(keeper, size, Options(ascii=ascii_only)) as driven:
        await driven.press("g")
        for _ in range(len(PROFILES) + len(PROBLEMS)):
            assert_inert(driven.text)
            await driven.pilot.press("j")
        for name in ("[/x]0", "prod [/legacy]7", "[@click=app.quit()]click[/]5"):
            await driven.go(name)
            assert name in driven.text, "shown literally"
            await driven.press("enter")
            assert name in driven.text
            assert_inert(driven.text)
            await driven.press("escape")
        assert driven.app.is_running


async def test_messages_failures_and_toasts(drive: Drive) -> None:
    keeper = MemoryKeeper(PROFILES)
    async with drive(keeper) as driven:
        for profile in PROFILES:
            error = AwsRefused(f"refresh of {profile.name}", profile.role or "", profile.name)
            keeper.fail_refresh[profile.name] = error
            await driven.go(profile.name)
            await driven.press("r")
            assert_inert(driven.text)
        keeper.problems = tuple(PROBLEMS)
        keeper.edit(PROFILES[0].name, region="eu-west-1")
        await driven.app.look_if_changed()
        await driven.settle()
        assert_inert(driven.text)
        assert driven.app.is_running


@pytest.mark.parametrize("nth", range(len(CORPUS)))
async def test_dialogs(drive: Drive, nth: int) -> None:
    from keyturn.errors import NeedsConfirmation, NeedsMfa
    from keyturn_tui.screens.confirm import ConfirmScreen
    from keyturn_tui.screens.unlock import UnlockScreen
    from keyturn_tui.screens.words import WordsScreen

    text = CORPUS[nth]
    profile = PROFILES[nth]
    plan = Plan(
        "adopt",
        (text,),
        (text,),
        (DiffLine("+", text), DiffLine("@", text)),
        (text,),
        (text,),
        needs_vault=False,
        digest="",
    )
    keeper = MemoryKeeper(PROFILES, vault=VaultState.LOCKED, keyring=text or None)
    async with drive(keeper, NARROW) as driven:
        desk = driven.app.desk
        await driven.go(profile.name)
        screens = (
            MfaScreen(desk, NeedsMfa(text, text, text, profile=profile.name, serial=text)),
            UnlockScreen(desk, text, lambda _: True, why=text),
            WordsScreen(desk, NeedsConfirmation(text, text, text), lambda _: True),
            ConfirmScreen(desk, text, [text], text),
            ReviewScreen(desk, plan, note=text),
            HelpScreen(desk, driven.listing.row),
        )
        for screen in screens:
            driven.app.push_screen(screen)
            await driven.settle()
            assert_inert(driven.text)
            await driven.press("escape")
        assert driven.app.is_running


async def test_filter_and_palette_take_any_text(drive: Drive) -> None:
    async with drive(MemoryKeeper(PROFILES)) as driven:
        await driven.press("slash")
        field = driven.main.query_one("#filter")
        for text in CORPUS:
            field.value = text  # type: ignore[attr-defined]  # the filter's Input
            await driven.settle()
            assert driven.app.is_running
        await driven.press("escape", "colon")
        await driven.type("[")
        await driven.pilot.pause(0.5)
        assert "Go to [/x]0" in driven.text
        await driven.press("escape")
        assert driven.app.is_running


def test_no_control_character_but_textuals_own_reaches_the_terminal(tmp_path: Path) -> None:
    with PtyChild(["hostile"], tmp_path) as child:
        child.read_until(b"legacy")
        for keys in (b"j" * 12, b"G", b"\r", b"\x1b", b"i", b"\x1b", b"m", b"\x1b", b"?", b"\x1b", b"r"):
            child.send(keys)
            child.read_until_quiet(0.3)
        child.send(b"q")
        assert child.wait() == 0
        seen = child.output.replace(b"\x1b]22;default\x07", b"")  # Textual's own: the shape of the pointer
    for raw in (b"\x1b]52", b"\x1b]0;title", b"\x1b[31mred", b"\xc2\x9b", b"\xc2\x9d", b"\x00", b"\x07"):
        assert raw not in seen, raw
    for bidi in ("\u202e", "\u2066", "\u2069", "\u200b", "\ufeff"):
        assert bidi.encode() not in seen, repr(bidi)
    assert rb"\x1b]52" in seen, "written out instead"
