"""What replaces Textual's ways of telling too much: its crash report, its screenshots, its clipboard of secrets."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from textual.app import App
from textual.worker import WorkerFailed

from keyturn.system import log


class SafeCrashApp(App[None], inherit_bindings=False):
    """An app that ends after a fault of its own with one line, and never writes the screen to a file.

    Textual's handler prints a traceback with every local variable of every frame, secrets among them.
    """

    fault: str | None = None
    """What is said after a crash; None if there was none."""

    def _handle_exception(self, error: Exception) -> None:
        cause = error.error if isinstance(error, WorkerFailed) else error
        log.record_unexpected(cause)
        self.fault = _crash_line(cause)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def panic(self, *renderables: object) -> None:
        """Textual prints these after the end; ours is one line, said by `run`."""
        del renderables
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """No pictures of a screen that shows account numbers and, once, a recovery key."""


def discard_lost_output() -> None:
    """Where the line was dropped, what is still to be written to it would make the interpreter's own end fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)


def _crash_line(error: BaseException) -> str:
    """Type and place: the innermost frame of our own code, or the innermost at all. Never the message."""
    frames = traceback.extract_tb(error.__traceback__)
    own_frames = [frame for frame in frames if "keyturn" in Path(frame.filename).parts[-2]] or frames
    location = f" at {Path(own_frames[-1].filename).name}:{own_frames[-1].lineno}" if own_frames else ""
    return f"a fault of its own, {type(error).__name__}{location}. keyturn.log in the state folder says more."
