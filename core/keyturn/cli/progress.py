"""Progress bar of an operation on many profiles. Ctrl+C stops the operation between two of them."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from keyturn.model.steps import Step, Steps
from keyturn.model.text import cells, safe

#: Seconds for which an operation runs before it gets a bar.
DELAY = 0.3
#: Seconds between two drawings.
REDRAW_EVERY = 0.05
#: Columns of the bar between its brackets.
BAR_WIDTH = 30
_ERASE_LINE = "\r\x1b[K"


def bar_line(step: Step, width: int, *, is_stopping: bool = False) -> str:
    """Return the line for a step: what is done, a bar, the count, and the profile that is next.

    :param width: columns of the terminal. The line has fewer, so that it does not wrap.
    """
    share = step.done / step.total if step.total else 1.0
    filled = int(share * BAR_WIDTH)
    doing = "stopping" if is_stopping else step.doing
    line = f"{doing} [{'=' * filled}{' ' * (BAR_WIDTH - filled)}] {step.done}/{step.total}"
    name = safe(step.name)
    room = width - 1 - cells(line)
    if name and room > cells(name):
        return f"{line} {name}"
    return line if room >= 0 else f"{step.done}/{step.total}"[: max(0, width - 1)]


class ProgressBar:
    """The bar on stderr, if that is a terminal. Steps may come from several threads.

    :param on_step: called at each step, drawn or not.
    """

    def __init__(self, on_step: Callable[[], None] = lambda: None) -> None:
        self._on_step = on_step
        self._is_shown = sys.stderr is not None and sys.stderr.isatty()
        self._next_draw = time.monotonic() + DELAY
        self._is_drawn = False
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @property
    def steps(self) -> Steps:
        """The front end that an operation reports to."""
        return Steps(self._show, self._stop.is_set)

    def stop(self) -> None:
        """Stop the operation between two profiles."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """True if the user has stopped the operation."""
        return self._stop.is_set()

    def close(self) -> None:
        """Remove the bar."""
        with self._lock:
            if self._is_drawn:
                sys.stderr.write(_ERASE_LINE)
                sys.stderr.flush()
            self._is_drawn = self._is_shown = False

    def _show(self, step: Step) -> None:
        self._on_step()
        with self._lock:
            now = time.monotonic()
            if not self._is_shown or now < self._next_draw or step.total < 2:
                return
            self._next_draw, self._is_drawn = now + REDRAW_EVERY, True
            width = shutil.get_terminal_size().columns
            line = safe(bar_line(step, width, is_stopping=self._stop.is_set()))
            sys.stderr.write(f"{_ERASE_LINE}{line}")
            sys.stderr.flush()


@contextmanager
def progress_bar(on_step: Callable[[], None] = lambda: None) -> Iterator[ProgressBar]:
    """Show a bar while the block runs. The first Ctrl+C stops the operation, the second one ends keyturn.

    :param on_step: called at each step.
    """
    bar = ProgressBar(on_step)
    is_main = threading.current_thread() is threading.main_thread()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if bar.is_stopped:
            signal.default_int_handler(number, frame)
        bar.stop()

    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        try:
            yield bar
        finally:
            bar.close()
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield bar
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        bar.close()
