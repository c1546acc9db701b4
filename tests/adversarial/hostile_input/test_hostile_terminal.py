"""On a real terminal, only Textual's own bytes and plain text arrive, and foreign text takes the cells that
it is given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from keyturn.model.text import cells, is_safe, safe
from tests.adversarial.hostile_input.corpus import NAMES
from tests.adversarial.hostile_input.stream import foreign_in
from tests.support.needs import needs
from tests.tui.pty_helpers import ROOT, PtyChild

Record = Callable[[str, object], None]
KEYS = (
    b"j" * 12,
    b"\r",
    b"\x1b",
    b"i",
    b"\x1b",
    b"m",
    b"j",
    b"\x1b",
    b"?",
    b"\x1b",
    b"r",
    b"s",
    b"G",
    b"\r",
    b"\x1b",
    b"T",
)
PASTED = "a\x1b]52;c;aGk=\x07\x9b31m\u202e\u200b\U000e0041[@click=app.quit()]x[/]".encode()


SIZES = pytest.mark.parametrize(
    ("width", "height", "options"),
    [pytest.param(120, 36, (), marks=pytest.mark.campaign), (80, 24, ("--ascii",))],
    ids=["120x36", "80x24-ascii"],
)


@SIZES
def test_no_control_byte_but_textuals_own_reaches_the_terminal(
    tmp_path: Path, width: int, height: int, options: tuple[str, ...], record_property: Record
) -> None:
    _run_app(tmp_path, (width, height), options, 3, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@SIZES
def test_no_control_byte_reaches_the_terminal_on_any_page(
    tmp_path: Path, width: int, height: int, options: tuple[str, ...], record_property: Record
) -> None:
    _run_app(tmp_path, (width, height), options, 60, record_property)


def _run_app(
    tmp_path: Path, size: tuple[int, int], options: tuple[str, ...], pages: int, record_property: Record
) -> None:
    width, height = size
    with PtyChild(["hostile", *options], tmp_path, width=width, height=height) as child:
        child.read_until(b"keyturn")
        child.read_until_quiet(0.3)
        for keys in KEYS:
            child.send(keys)
            child.read_until_quiet(0.2)
        for _ in range(pages):
            child.send(b"\x1b[6~")
            child.read(0.05)
        child.send(b"/")
        child.read_until_quiet(0.2)
        child.send(b"\x1b[200~" + PASTED + b"\x1b[201~")
        child.read_until_quiet(0.3)
        child.send(b"\x1b")
        child.read_until_quiet(0.2)
        child.send(b":")
        child.read_until_quiet(0.3)
        child.send(b"\x1b[200~" + PASTED + b"\x1b[201~")
        child.read_until_quiet(0.5)
        child.send(b"\x1b")
        child.read_until_quiet(0.2)
        child.send(b"q")
        assert child.wait() == 0
        output = child.output
    widths = foreign_in(output)
    record_property("hostile: bytes read on a pty", len(output))
    record_property("hostile: foreign control bytes", len(widths))
    assert not widths, widths[:10]
    assert rb"\x1b]52" in output or rb"\x1b" in output, "written out instead"


def test_the_grammar_knows_what_is_foreign() -> None:
    for raw in (
        b"\x1b]52;c;x\x07",
        b"\x1b]0;x\x07",
        b"\xc2\x9b",
        b"\x9b",
        b"\xe2\x80\xae",
        b"\x07",
        b"\x1b[6n",
        b"\x1b[2J",
        b"\x1b]8;;x\x07",
        b"\x7f",
        b"\x1bP",
        b"\x1b[?1049$p",
    ):
        assert foreign_in(b"\x1b[0mtext" + raw + b"text\r\n"), raw
    assert not foreign_in("\x1b[1;2H\x1b[38;2;1;2;3m日本│\x1b[0m\r\n".encode())


def _environ(home: Path) -> dict[str, str]:
    """Return the environment without the sizes set by a test runner, because Textual would believe them."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color"}


def measured_widths(texts: Iterable[str], folder: Path, name: str) -> dict[str, int]:
    """Return the number of cells that tmux gives each text, from its cursor position after the text."""
    request_path, answer = folder / "asked.json", folder / "answer.json"
    request_path.write_text(json.dumps(list(texts)))
    tmux = [needs("tmux"), "-L", f"hostile-{name}-{os.getpid()}", "-f", "/dev/null"]
    environ = _environ(folder)
    program = [
        sys.executable,
        str(Path(__file__).with_name("width_child.py")),
        str(request_path),
        str(answer),
    ]
    subprocess.run([*tmux, "new-session", "-d", "-x", "200", "-y", "10", *program], env=environ, check=True)
    try:
        end = time.monotonic() + 240
        while not answer.exists():
            assert time.monotonic() < end, "tmux did not answer"
            time.sleep(0.05)
        widths: dict[str, int] = json.loads(answer.read_text())
        return widths
    finally:
        subprocess.run([*tmux, "kill-server"], env=environ, check=False, capture_output=True)


def test_a_terminal_gives_every_text_the_cells_that_it_is_counted_for(tmp_path: Path) -> None:
    texts = {safe(text[:60]) for text in NAMES}
    texts = {text for text in texts if cells(text) < 190}
    for text, width in measured_widths(texts, tmp_path, "texts").items():
        assert width == cells(text), ascii(text)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_a_terminal_gives_every_harmless_character_the_cells_that_it_is_counted_for(
    tmp_path: Path, record_property: Record
) -> None:
    texts = [text for code in range(0x20, 0x20000) if is_safe(text := f"a{chr(code)}") and code != 0x20]
    widths = measured_widths(texts, tmp_path, "characters")
    assert len(widths) == len(texts) > 50_000
    record_property("hostile: characters measured in a terminal", len(widths))
    wrong = [ascii(text) for text, width in widths.items() if width != cells(text)]
    assert not wrong, wrong[:20]


def test_columns_stand_where_they_stand_whatever_is_in_them(tmp_path: Path) -> None:
    """The app draws into tmux: every line of the list takes the whole width and ends in its border."""
    tmux = [needs("tmux"), "-L", f"hostile-columns-{os.getpid()}", "-f", "/dev/null"]
    environ = _environ(tmp_path)
    program = [sys.executable, "-m", "tests.tui.pty_child", "hostile-wide"]
    start = [*tmux, "new-session", "-d", "-x", "100", "-y", "70", "-c", str(ROOT), *program]
    subprocess.run(start, env=environ, check=True)
    try:
        end = time.monotonic() + 60
        rows: list[str] = []
        while len(rows) < 40 and time.monotonic() < end:
            shown = subprocess.run(
                [*tmux, "capture-pane", "-p"], env=environ, capture_output=True, text=True, check=False
            )
            rows = [line for line in shown.stdout.splitlines() if line.startswith("│") and "Role" in line]
            time.sleep(0.1)
    finally:
        subprocess.run([*tmux, "kill-server"], env=environ, check=False, capture_output=True)
    assert len(rows) >= 40, shown.stdout
    assert {cells(row) for row in rows} == {100}
    assert all(row.endswith("│") for row in rows)
    assert len({cells(row[: row.index("Role")]) for row in rows}) == 1, "a column has moved"
