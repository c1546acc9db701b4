"""The app as a process: its imports, its ends, its output after a bug."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tui.pty_helpers import PtyChild


def test_importing_the_app_loads_no_heavy_or_secret_library() -> None:
    code = (
        "import sys, keyturn_tui.app\n"
        "heavy = {'boto3', 'botocore', 'keyring', 'pyrage', 'keyturn_sandbox'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


def test_importing_it_drops_what_would_log_keys_or_serve_the_screen() -> None:
    code = (
        "import os, keyturn_tui.app\n"
        "from textual import constants\n"
        "print(constants.LOG_FILE, constants.DRIVER, os.environ.get('TEXTUAL'))"
    )
    hostile = {
        "TEXTUAL_LOG": "/tmp/keys.log",  # noqa: S108  # must never be opened
        "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver",
        "TEXTUAL": "devtools,debug",
        "PATH": "/usr/bin",
    }
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=hostile
    )
    assert process.stdout.strip() == "None None None"


def test_quitting(tmp_path: Path) -> None:
    with PtyChild(["believable"], tmp_path) as child:
        child.read_until(b"terraform")
        child.send(b"q")
        assert child.wait() == 0
        assert b"\x1b[?1049l" in child.output, "the terminal is given back"


@pytest.mark.parametrize("after", [b"", b"r", b"m"])
def test_a_lost_line_ends_it_in_order(tmp_path: Path, after: bytes) -> None:
    with PtyChild(["believable"], tmp_path) as child:
        child.read_until(b"terraform")
        child.send(after)
        child.hang_up()
        assert child.wait() == 129


@pytest.mark.parametrize("blocked", [(), (signal.SIGHUP,)], ids=["told", "not told"])
def test_a_line_that_is_lost_while_it_takes_no_output_ends_it_too(
    tmp_path: Path, blocked: tuple[signal.Signals, ...]
) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # the app inherits it
    try:
        started = PtyChild(["believable"], tmp_path)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    with started as child:
        child.read_until(b"terraform")
        unread = [0]
        end = time.monotonic() + 20
        while unread[-40:].count(unread[-1]) < 40:  # until 40 frames did not fit any more
            assert time.monotonic() < end, "the line took everything"
            child.resize(120 - len(unread) % 2, 36)
            time.sleep(0.05)
            unread.append(child.unread())
        assert unread[-1] > 0
        child.hang_up()
        assert child.wait() == 129


def test_a_fault_of_its_own_is_one_line_without_values(tmp_path: Path) -> None:
    with PtyChild(["crash"], tmp_path) as child:
        child.read_until(b"terraform")
        child.send(b"jjx")
        assert child.wait() == 1
        output = child.output
    tail = output.rpartition(b"\x1b[?1049l")[2].decode()
    assert "keyturn: Internal error: ValueError at" in tail
    assert b"canary" not in output
    assert b"Traceback" not in output
    log = (tmp_path / "keyturn" / "state" / "keyturn.log").read_text()
    assert "ValueError" in log
    assert "canary" not in log


@pytest.mark.parametrize("no_color", ["1", ""])
def test_no_color_counts_when_it_is_not_empty(tmp_path: Path, no_color: str) -> None:
    with PtyChild(["believable"], tmp_path, NO_COLOR=no_color) as child:
        child.read_until(b"terraform")
        child.send(b"j")
        child.read_until_quiet()
        child.send(b"q")
        child.wait()
        coloured = b"\x1b[38;" in child.output or b";38;2;" in child.output
    assert coloured is (no_color == "")


def test_without_mouse_the_terminal_keeps_its_own(tmp_path: Path) -> None:
    with PtyChild(["believable", "open", "--no-mouse"], tmp_path) as child:
        child.read_until(b"terraform")
        child.send(b"q")
        child.wait()
        assert b"\x1b[?1003h" not in child.output
