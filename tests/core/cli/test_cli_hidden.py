"""A typed secret is hidden, even after Ctrl+Z and `fg`, because a shell restores its terminal with echo."""

from __future__ import annotations

import os
import pty
import signal
import sys
import termios
import time

PROGRAM = "from keyturn.cli.prompts import ask_secret; print(len(ask_secret('Passphrase').reveal()))"


def _echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def _until(holds: bool, terminal: int) -> None:
    end = time.monotonic() + 20
    while _echoes(terminal) is not holds:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_passphrase_is_hidden_again_after_a_pause() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])  # noqa: S606  # our own program
    output = b""
    while not output.endswith(b"Passphrase: "):
        output += os.read(terminal, 1024)
    _until(False, terminal)
    state = termios.tcgetattr(terminal)
    state[3] |= termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, state)
    os.kill(pid, signal.SIGCONT)
    _until(False, terminal)
    output = os.read(terminal, 1024)
    assert output.endswith(b"Passphrase: "), "it asks again"
    os.write(terminal, b"three small words\n")
    output = b""
    while b"17" not in output:
        output += os.read(terminal, 1024)
    assert b"small" not in output
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
