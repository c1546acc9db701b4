"""Textual's driver for a terminal that may be lost while it takes no output."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

#: Exit code after the loss of the terminal: as after SIGHUP.
HANG_UP_CODE = 128 + signal.SIGHUP


class TerminalDriver(LinuxDriver):
    """Textual's driver, which ends the app when the terminal is gone.

    Textual's own output thread ends with the first error. The app waits for that thread once 30 writes are
    pending, so it would not see the hang-up and would never end.
    """

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)

        def end_app() -> None:
            self._loop.call_soon_threadsafe(app.exit, None, HANG_UP_CODE)

        self._file: Any = LosableOutput(self._file, end_app)


class LosableOutput:
    """A text stream that discards everything after the first error.

    :param on_loss: called once, in the thread that writes.
    """

    def __init__(self, stream: Any, on_loss: Callable[[], None]) -> None:
        self._stream = stream
        self._on_loss = on_loss
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, or discard it if the terminal is gone."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream if the terminal is still there."""
        self._try(self._stream.flush)

    def _try(self, call: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            call()
        except OSError:
            self._is_lost = True
            self._on_loss()
