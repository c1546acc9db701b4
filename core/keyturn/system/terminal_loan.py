"""The terminal, lent to a program in a process group of its own, so that the program can ask there.

A shell does the same with its jobs (POSIX, job control). The keys for interrupt and stop go to the program's
group meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STDIN = 0


class TerminalLoan:
    """The terminal on standard input and its settings now."""

    def __init__(self, settings: list[Any]) -> None:
        self._settings = settings

    @classmethod
    def available(cls) -> TerminalLoan | None:
        """Return the terminal on standard input, or None if there is none, another process group has it, or
        it is in raw mode: then a full-screen app reads it.
        """
        try:
            if not os.isatty(_STDIN) or not _is_ours():
                return None
            settings = termios.tcgetattr(_STDIN)
        except (OSError, termios.error):
            return None
        return cls(settings) if settings[3] & termios.ICANON else None

    def lend(self, group: int) -> None:
        """Give the terminal to a process group, and continue what has asked for it too early."""
        with contextlib.suppress(OSError):
            with _background_output():
                os.tcsetpgrp(_STDIN, group)
            os.killpg(group, signal.SIGCONT)

    def take_back(self) -> None:
        """Take the terminal back, with the settings that it had."""
        with contextlib.suppress(OSError, termios.error), _background_output():
            os.tcsetpgrp(_STDIN, os.getpgrp())
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._settings)

    def stop_with(self, group: int) -> None:
        """Stop this process too, because the user has stopped the program, and continue the program when the
        user continues this process.
        """
        self.take_back()
        os.killpg(0, signal.SIGTSTP)
        with contextlib.suppress(OSError):
            if _is_ours():
                self.lend(group)
            else:
                os.killpg(group, signal.SIGCONT)


def _is_ours() -> bool:
    return os.tcgetpgrp(_STDIN) == os.getpgrp()


@contextmanager
def _background_output() -> Iterator[None]:
    """Allow a process in the background to change the terminal, for which the system would stop it."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
