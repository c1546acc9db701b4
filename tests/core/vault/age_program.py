"""The independent `age` program, with a user who types at its terminal."""

from __future__ import annotations

import os
import pty

from tests.support.needs import needs


def run_age(passphrase: str, *arguments: str) -> bytes:
    """Run `age ARGUMENTS` on its own terminal, type the passphrase at each prompt, and return its output.

    The program must exit with status 0.
    """
    age = needs("age")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(age, [age, *arguments])  # noqa: S606  # the real program, on a terminal
    output, answered = b"", 0
    with os.fdopen(terminal, "r+b", buffering=0) as screen:
        while True:
            try:
                part = screen.read(4096)
            except OSError:
                break
            if not part:
                break
            output += part
            prompts = output.count(b"nter passphrase") + output.count(b"onfirm passphrase")
            while answered < prompts:
                screen.write(passphrase.encode() + b"\n")
                answered += 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, output
    return output
