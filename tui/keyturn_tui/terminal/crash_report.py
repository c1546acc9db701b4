"""Replacements for the parts of Textual that can leak secrets: crash report and screenshots."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from textual.app import App
from textual.worker import WorkerFailed

from keyturn.system import log


class SafeCrashApp(App[None], inherit_bindings=False):
    """An app that reports a crash in one line and never writes the screen to a file.

    Textual's own handler prints a traceback with all local variables, which include secrets.
    """

    fault: str | None = None
    """Message printed after a crash; None if there was none."""

    def _handle_exception(self, error: Exception) -> None:
        cause = error.error if isinstance(error, WorkerFailed) else error
        log.record_unexpected(cause)
        self.fault = _crash_line(cause)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._close_messages_no_wait()

    def panic(self, *renderables: object) -> None:
        """Discard Textual's report; `run` prints one line instead."""
        del renderables
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        self._exit_renderables.clear()

    def action_screenshot(self, filename: str | None = None, path: str | None = None) -> None:
        """Do nothing, because the screen shows account numbers and, once, the recovery key."""


def discard_lost_output() -> None:
    """Redirect output to /dev/null if the terminal is gone, because the interpreter flushes it on exit and
    would fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)


def _crash_line(error: BaseException) -> str:
    """Return the type of an error and the innermost frame of keyturn, but never its message."""
    frames = traceback.extract_tb(error.__traceback__)
    own_frames = [frame for frame in frames if "keyturn" in Path(frame.filename).parts[-2]] or frames
    location = f" at {Path(own_frames[-1].filename).name}:{own_frames[-1].lineno}" if own_frames else ""
    return f"Internal error: {type(error).__name__}{location}. See keyturn.log in the state folder."
