"""Colours are distinguishable from their background, and no state is shown by colour alone."""

from __future__ import annotations

from io import BytesIO, TextIOWrapper

import pytest
from textual.color import Color

from keyturn_tui.terminal.capabilities import Options, prepare_stream, terminal_for
from keyturn_tui.theme import PLAIN, ROLES, THEME_NAMES, themes, variables_of
from tests.tui.conftest import Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import believable


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""

    def luminance(text: str) -> float:
        channels = [part / 255 for part in Color.parse(text).rgb]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", THEME_NAMES)
def test_every_role_is_readable(name: str) -> None:
    found = variables_of(name)
    for role, (variable, _) in ROLES.items():
        wanted = 3.0 if role == "dim" else 4.5
        for back in ("background", "cursor"):
            if role == "dim" and back == "cursor":
                continue
            assert contrast(found[variable], found[back]) >= wanted, (role, back)


def test_all_themes_name_the_same_variables() -> None:
    assert len({frozenset(variables_of(name)) for name in (*THEME_NAMES, PLAIN)}) == 1
    assert {theme.name for theme in themes()} == {*THEME_NAMES, PLAIN}


@pytest.mark.parametrize(
    ("environ", "options", "ascii_only", "ssh", "no_color"),
    [
        ({"LANG": "C.UTF-8", "TERM": "xterm"}, Options(), False, False, False),
        ({"LANG": "en_US.utf8"}, Options(), False, False, False),
        ({"LANG": "C.UTF-8"}, Options(ascii=True), True, False, False),
        ({"LANG": "C.UTF-8", "TERM": "linux"}, Options(), True, False, False),
        ({"LANG": "C.UTF-8", "TERM": "dumb"}, Options(), True, False, False),
        ({"LANG": "de_DE.ISO-8859-1"}, Options(), True, False, False),
        ({"LC_ALL": "de_DE.UTF-8@euro", "LANG": "de_DE"}, Options(), False, False, False),
        ({"LANG": "C"}, Options(), False, False, False),
        ({}, Options(), False, False, False),
        ({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, Options(), False, True, False),
        ({"NO_COLOR": "1"}, Options(), False, False, True),
        ({"NO_COLOR": ""}, Options(), False, False, False),
    ],
)
def test_the_terminal_is_told_from_the_environment(
    environ: dict[str, str], options: Options, ascii_only: bool, ssh: bool, no_color: bool
) -> None:
    terminal = terminal_for(environ, options)
    assert (terminal.ascii, terminal.animation, terminal.no_color) == (ascii_only, not ssh, no_color)


@pytest.mark.parametrize(
    ("encoding", "ascii_only"), [("utf-8", False), ("UTF8", False), ("ascii", True), ("latin-1", True)]
)
def test_a_stream_that_is_not_utf_8_gets_ascii_without_escapes(encoding: str, ascii_only: bool) -> None:
    sent = BytesIO()
    stream = TextIOWrapper(sent, encoding=encoding, errors="backslashreplace")
    terminal = terminal_for({"LANG": "C.UTF-8"}, Options(), prepare_stream(stream))
    assert terminal.ascii is ascii_only
    stream.write("caf\u00e9 \u4e2d")
    stream.flush()
    assert b"\\" not in sent.getvalue()


async def test_the_screen_cannot_be_saved_to_a_file(drive: Drive) -> None:
    async with drive(MemoryService(believable())) as driver:
        driver.app.action_screenshot()
        await driver.app.run_action("app.screenshot")
        await driver.settle()
        assert driver.app._notifications is not None
        assert len(driver.app._notifications) == 0
