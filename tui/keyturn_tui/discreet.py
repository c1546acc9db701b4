"""What replaces Textual's ways of telling too much: its crash report, its screenshots, its clipboard of secrets."""

from __future__ import annotations

from pathlib import Path

from textual.app import App

from keyturn import log


class Discreet(App[None], inherit_bindings=False):
    """An app that ends after a fault of its own with one line, and never writes the screen to a file.

    Textual's handler prints a traceback with every local variable of every frame, secrets among them.
    """

    fault: str | None = None
    """What is said after a crash; None if there was none."""

    def _handle_exception(self, error: Exception) -> None:
        cause = error.__cause__ if type(error).__name__ == "WorkerFailed" and error.__cause__ else error
        log.unforeseen(cause)
        self.fault = _one_line(cause)
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


def _one_line(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = "" if frame is None else f" at {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
    return f"a fault of its own, {type(error).__name__}{place}. keyturn.log in the state folder says more."
