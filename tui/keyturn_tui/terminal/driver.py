"""Textual's driver for a terminal that may be lost while it takes no output."""

from __future__ import annotations

from typing import Any

from textual.drivers.linux_driver import LinuxDriver


class TerminalDriver(LinuxDriver):
    """Textual's driver, whose output thread goes on when the terminal is gone.

    Textual's own thread ends with the first error. The app waits for that thread once 30 writes are pending,
    so it would not see the hang-up and would never end.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file: Any = LosableOutput(self._file)


class LosableOutput:
    """A text stream that discards everything after the first error."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, or discard it if the terminal is gone."""
        if not self._is_lost:
            try:
                self._stream.write(text)
            except OSError:
                self._is_lost = True
        return len(text)

    def flush(self) -> None:
        """Flush the stream if the terminal is still there."""
        if not self._is_lost:
            try:
                self._stream.flush()
            except OSError:
                self._is_lost = True
