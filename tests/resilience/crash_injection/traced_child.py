"""An operation in a forked child: the real verb or writer, with a fixed clock, no waiting and an AWS of its
own.

The modules are loaded in the parent, so a run costs a fork and not the start of an interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

import boto3  # noqa: F401  # loaded once, here
import pyrage  # noqa: F401  # the same

from keyturn import service
from keyturn.awsconfig import writer
from keyturn.cli import main  # noqa: F401  # the verbs
from keyturn.operations.context import Context
from keyturn.vault import passphrase
from tests.core.vault import weak_age
from tests.resilience.crash_injection.crash_home import NOW, FixedAws, Home
from tests.support.instant_timing import instant_timing

Run = Callable[[Home], int]
#: Exit code that only a mistake of the harness itself produces.
HARNESS = 70
GO = signal.SIGCONT
SECONDS = 30


@dataclass(frozen=True)
class Outcome:
    """The result of a child."""

    code: int | None
    """None if it was killed."""
    stderr: str
    stdout: str
    reached: bool = True
    """True if the call that a fault was meant for was made at all."""
    mute: bool = False
    """True if nothing could be written anywhere, so nothing could be reported; the exit code still counts."""

    def complaint(self) -> str | None:
        """Return the fault in its output: an error must be one line of keyturn's, never a traceback."""
        if "Traceback" in self.stderr or '.py", line' in self.stderr or self.code == HARNESS:
            return f"it printed a traceback: {self.stderr[-3000:]}"
        if self.code is None:
            return None
        lines = [line for line in self.stderr.splitlines() if line.startswith("keyturn: ")]
        if self.mute and self.code and not lines:
            return None
        if self.code and len(lines) != 1:
            return f"exit {self.code} with {len(lines)} lines: {self.stderr[-1000:]}"
        if self.code and ". " not in lines[0] and not lines[0].endswith("."):
            return f"no next step: {lines[0]}"
        return None


def fork(run: Run, home: Home, around: Callable[[], AbstractContextManager[Any]] | None = None) -> int:
    """Start a child that waits for :data:`GO` and then runs the operation, with `around` about it."""
    pid = os.fork()
    if pid == 0:
        _run_operation(run, home, around or contextlib.nullcontext)
    # A tracer that attaches before the child has stopped would count a varying number of its setup calls.
    os.waitpid(pid, os.WUNTRACED)
    return pid


def wait_for(pid: int, home: Home) -> Outcome:
    """Wait for a child of :func:`fork`."""
    _, status = os.waitpid(pid, 0)
    code = None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
    if code is None and os.WTERMSIG(status) != signal.SIGKILL:
        raise AssertionError(f"ended by signal {os.WTERMSIG(status)}: {_text(home, 'stderr')}")
    return Outcome(code, _text(home, "stderr"), _text(home, "stdout"))


def run_in_child(
    run: Run, home: Home, around: Callable[[], AbstractContextManager[Any]] | None = None
) -> Outcome:
    """Run an operation in a child, from beginning to end."""
    pid = fork(run, home, around)
    os.kill(pid, GO)
    return wait_for(pid, home)


def _text(home: Home, name: str) -> str:
    return (home.root / name).read_text("utf-8", "replace")


def _run_operation(run: Run, home: Home, around: Callable[[], AbstractContextManager[Any]]) -> Never:
    code = HARNESS
    try:
        _leave_pytest(home.root)
        _set_up(home)
        signal.alarm(SECONDS)
        # A garbage collection would copy all of pytest's memory, and finalize objects at another moment each
        # time.
        gc.disable()
        os.kill(os.getpid(), signal.SIGSTOP)
        with around():
            code = run(home)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  # nothing may return into the copy of pytest
        os.write(2, traceback.format_exc().encode())
        code = HARNESS
    finally:
        os._exit(code)


def _leave_pytest(root: Path) -> None:
    """Replace the standard descriptors, so that pytest's output stays untouched."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        handle = os.open(root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # for the process's life
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # the same
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)  # noqa: SIM115  # the same


def _set_up(home: Home) -> None:
    """Make a run short and reproducible; every change ends with the child."""
    os.environ.clear()
    os.environ.update(home.environ)
    os.chdir("/")
    real = service.CredentialService.from_environ.__func__  # type: ignore[attr-defined]  # of the classmethod

    def here(cls: Any, environ: Any, /, **_: Any) -> service.CredentialService:
        secrets_made: service.CredentialService = real(
            cls, environ, use_agent=False, aws=lambda *_, **__: FixedAws()
        )
        return secrets_made

    def at_once(operation: Callable[[], None], wait: float) -> None:
        del wait
        operation()

    changes: list[tuple[Any, str, Any]] = [
        (service.CredentialService, "from_environ", classmethod(here)),
        (service, "clock_for", lambda _: lambda: NOW),
        (service, "keyturn_program", lambda _: "/opt/keyturn/bin/keyturn"),
        (writer, "Timing", instant_timing),
        (Context, "run_in_background", staticmethod(at_once)),
        (passphrase, "seal", weak_age.seal),
    ]
    for owner, name, value in changes:
        if not hasattr(owner, name):
            raise AttributeError(f"{owner} has no {name} to replace")
        setattr(owner, name, value)
