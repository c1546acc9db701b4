"""Run a program that is not keyturn's: with a limit of time and of output, and without leaving anything of it
behind at a give-up.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import IO

from keyturn.system import running_call
from keyturn.system.process_group import ProcessGroup
from keyturn.system.secret_channel import WaitCancelled
from keyturn.system.terminal_loan import TerminalLoan

#: The end of stderr that is kept, because a program's last words say why it failed.
STDERR_BYTES = 8 * 1024
#: Longest stderr. Some programs log a lot there.
MAX_STDERR_BYTES = 16 * 1024 * 1024
_CHUNK = 64 * 1024
#: Most chunks of one pipe in one pass, so that an endless output does not hide the deadline.
_CHUNKS = 16
#: Shortest and longest pause between two looks at the program and at who waits for it.
_MIN_PAUSE, _MAX_PAUSE = 0.002, 0.05


class End(Enum):
    """The end of a run."""

    EXITED = auto()
    TOO_LATE = auto()
    """It took longer than its limit, and was ended with its group."""
    TOO_LONG = auto()
    """It printed more than its limit, and was ended with its group."""


class Children(Enum):
    """The fate of the rest of a program's group when the program has exited by itself."""

    END = auto()
    KEEP = auto()
    """It keeps running, as under botocore: a program may leave another in the background."""


@dataclass(frozen=True, slots=True)
class Result:
    """The output of a program until its end."""

    end: End
    status: int | None
    """Exit status, negative for a signal; None unless it exited."""
    stdout: bytes = field(repr=False)
    stderr: bytes = field(repr=False)
    """At most the last `STDERR_BYTES`, from the start of a line."""


class CannotStart(Exception):
    """The program could not be started.

    :param error: an OSError, or a ValueError for an argument that no program can get.
    """

    def __init__(self, error: OSError | ValueError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run."""

    seconds: float
    stdout_bytes: int


def run(
    argv: Sequence[str],
    limits: Limits,
    *,
    stdin: int | None = subprocess.DEVNULL,
    terminal: TerminalLoan | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | None = None,
    is_complete: Callable[[bytes], bool] = lambda _stdout: True,
    children: Children = Children.END,
) -> Result:
    """Run a program until it exits or reaches a limit.

    It leads a process group. The group is ended at a limit, at an interrupt, when nobody waits for the result
    any more (:mod:`keyturn.system.running_call`), and when this process ends.

    :param stdin: as of :class:`subprocess.Popen`; None for this process's own.
    :param terminal: is lent to the program. Without it the program gets a session without a terminal.
    :param is_complete: decides by its stdout if what a program left open by a child of it, after it exited
        with 0, is no longer read.
    :param children: what happens to those of a program that has exited.
    :raises CannotStart: if it does not start.
    :raises WaitCancelled: if nobody waits for the result any more.
    :raises KeyboardInterrupt: if the user has interrupted the program at the terminal.
    """
    call = running_call.current()
    if call.is_abandoned():
        raise WaitCancelled
    try:
        group = ProcessGroup(
            argv, terminal, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ, cwd=cwd
        )
    except (OSError, ValueError) as error:
        raise CannotStart(error) from None
    with group:
        try:
            if terminal is not None:
                terminal.lend(group.id)
            result = _Reader(group, limits, terminal).read(call.is_abandoned, is_complete)
            if result.end is not End.EXITED or children is Children.END:
                group.end()
        except BaseException:
            group.end()
            raise
        finally:
            if terminal is not None:
                terminal.take_back()
    return result


class _Reader:
    """Reads both pipes of a program that runs."""

    def __init__(self, group: ProcessGroup, limits: Limits, terminal: TerminalLoan | None) -> None:
        process = group.process
        assert process.stdout is not None  # noqa: S101  # both are pipes, requested above
        assert process.stderr is not None  # noqa: S101  # see above
        self._group, self._limits, self._terminal = group, limits, terminal
        self._pipes: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
        self._stdout, self._stderr = self._pipes.values()
        self._stdout_pipe = process.stdout
        self._stderr_count = 0

    def read(self, is_abandoned: Callable[[], bool], is_complete: Callable[[bytes], bool]) -> Result:
        deadline, pause = time.monotonic() + self._limits.seconds, _MIN_PAUSE
        with selectors.DefaultSelector() as selector:
            for pipe in self._pipes:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            while True:
                status = self._group.status()  # first, so that all that it wrote is read
                is_quiet = self._read_all(selector)
                if len(self._stdout) > self._limits.stdout_bytes or self._stderr_count > MAX_STDERR_BYTES:
                    return self._result(End.TOO_LONG, None)
                if status is not None and is_quiet:
                    is_at_end = all(
                        key.fileobj is not self._stdout_pipe for key in selector.get_map().values()
                    )
                    if status != 0 or is_at_end or is_complete(bytes(self._stdout)):
                        return self._result(End.EXITED, status)
                deadline += self._check_user(is_abandoned)
                left = deadline - time.monotonic()
                if left <= 0:
                    return self._result(End.TOO_LATE, None)
                pause = min(pause * 2, _MAX_PAUSE) if is_quiet else _MIN_PAUSE
                if selector.get_map():
                    selector.select(min(left, pause))
                else:
                    time.sleep(min(left, pause))

    def _read_all(self, selector: selectors.BaseSelector) -> bool:
        """Read what the pipes have, and drop those at their end. Return True if there was nothing."""
        before = len(self._stdout) + self._stderr_count
        for pipe in [pipe for pipe in self._pipes if pipe in selector.get_map()]:
            if not self._read_available(pipe):
                selector.unregister(pipe)
        return len(self._stdout) + self._stderr_count == before

    def _check_user(self, is_abandoned: Callable[[], bool]) -> float:
        """End the run if nobody waits for it any more. Stop this process if the user has stopped the program
        at the terminal, and return the seconds that this took.
        """
        if is_abandoned():
            raise WaitCancelled
        if self._group.is_interrupted():
            raise KeyboardInterrupt
        if self._terminal is None or not self._group.is_stopped():
            return 0.0
        started = time.monotonic()
        self._terminal.stop_with(self._group.id)
        return time.monotonic() - started

    def _read_available(self, pipe: IO[bytes]) -> bool:
        """Read what a pipe has. Return False at its end."""
        text = self._pipes[pipe]
        for _ in range(_CHUNKS):
            try:
                chunk = os.read(pipe.fileno(), _CHUNK)
            except BlockingIOError:
                return True
            text += chunk
            if text is self._stderr:
                self._stderr_count += len(chunk)
                del text[: -STDERR_BYTES - 1]
            if not chunk:
                return False
        return True

    def _result(self, end: End, status: int | None) -> Result:
        stderr = bytes(self._stderr)
        if len(stderr) > STDERR_BYTES:
            # A line whose start is lost may hold the rest of a secret that nothing recognises.
            stderr = stderr[-STDERR_BYTES:].partition(b"\n")[2]
        return Result(end, status, bytes(self._stdout), stderr)
