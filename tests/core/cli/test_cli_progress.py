"""The progress bar: what it shows, where it is silent, and what Ctrl+C does."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from keyturn.cli import output, progress
from keyturn.cli.progress import bar_line, progress_bar
from keyturn.model.steps import Step
from keyturn.model.text import cells


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_shows_what_is_done_and_what_is_next() -> None:
    assert bar_line(Step("adopting", 0, 3, "ci"), 80) == f"adopting [{' ' * 30}] 0/3 ci"
    assert bar_line(Step("adopting", 2, 3, "x"), 80) == f"adopting [{'=' * 20}{' ' * 10}] 2/3 x"
    assert bar_line(Step("adopting", 3, 3), 80) == f"adopting [{'=' * 30}] 3/3"
    assert bar_line(Step("adopting", 1, 3), 80, is_stopping=True).startswith("stopping [")


@pytest.mark.parametrize("width", [1, 5, 10, 40, 47, 60])
@pytest.mark.parametrize("name", ["ci", "日本" * 30, "a\x1b[2Jb\n"])
def test_a_line_never_wraps_and_never_carries_control_characters(width: int, name: str) -> None:
    line = bar_line(Step("adopting", 1, 3, name), width)
    assert cells(line) < width
    assert line.isprintable()


def test_the_bar_is_drawn_on_a_terminal_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "DELAY", 0)
    with progress_bar() as bar:
        bar.steps.report(Step("adopting", 1, 3, "ci"))
        assert "1/3 ci" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_nothing_is_drawn_elsewhere_or_for_one_profile_or_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    monkeypatch.setattr(progress, "DELAY", 0)
    with progress_bar() as bar:
        bar.steps.report(Step("adopting", 1, 3, "ci"))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar() as bar:
        bar.steps.report(Step("adopting", 0, 1, "ci"))
    monkeypatch.setattr(progress, "DELAY", 60)
    with progress_bar() as bar:
        bar.steps.report(Step("adopting", 1, 3, "ci"))
    assert plain.getvalue() == terminal.getvalue() == ""


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_each_step_is_told_of_on_a_terminal_and_elsewhere(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    calls: list[int] = []
    with progress_bar(lambda: calls.append(1)) as bar:
        bar.steps.report(Step("releasing", 0, 2, "a"))
        bar.steps.report(Step("releasing", 1, 2, "b"))
    assert len(calls) == 2


def test_slow_work_is_told_of_unless_something_else_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(output, "SLOW_SECONDS", 0.05)
    with output.tell_if_slow("Opening the vault") as is_done:
        is_done()
        assert not wait_for_text(terminal, 0.3)
    with output.tell_if_slow("Opening the vault"):
        assert wait_for_text(terminal, 10)
    assert terminal.getvalue().startswith("keyturn: Opening the vault takes longer than usual")


def wait_for_text(terminal: Terminal, seconds: float) -> bool:
    """Return True as soon as something was written."""
    end = time.monotonic() + seconds
    while not terminal.getvalue() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(terminal.getvalue())


@pytest.fixture
def _default_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_default_interrupt")
def test_the_first_interrupt_stops_between_two_profiles_and_the_second_one_ends_it() -> None:
    with pytest.raises(KeyboardInterrupt), progress_bar() as bar:  # noqa: PT012  # the first one raises nothing
        assert not bar.steps.is_stopped()
        os.kill(os.getpid(), signal.SIGINT)
        assert bar.steps.is_stopped()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_default_interrupt")
def test_another_threads_bar_leaves_interrupts_alone() -> None:
    found: list[object] = []

    def run() -> None:
        with progress_bar():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
