"""A child process with its group: end both at a give-up, and also if this process ends first, in any way.

A shell beside the group reads a pipe that this process holds open. When this process ends, by SIGKILL too,
the system closes the pipe, and the shell ends the group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from keyturn.system.terminal_loan import TerminalLoan

#: Seconds that a group gets between SIGTERM and SIGKILL.
GRACE_SECONDS = 0.5
_POLL_SECONDS = 0.01
#: Reads the group's id, then nothing until the pipe is closed. It may be in the group itself.
_WATCH = """
trap "" TERM
read -r group || exit
read -r _
kill -s TERM -- "-$group"
sleep 1
kill -s KILL -- "-$group"
"""


class ProcessGroup:
    """The group of a child. As a context manager it ends the group if the body raises.

    Neither the child nor the watcher is reaped before the end of the body, so that the group's id is not used
    again meanwhile.

    :param argv: the child's command line.
    :param terminal: is lent to the group, which the watcher leads then, to learn of an interrupt there.
        Without it the child leads a new session, which has no terminal.
    :param options: as of :class:`subprocess.Popen`.
    :raises OSError: or ValueError: if the child or the watcher cannot be started.
    """

    def __init__(self, argv: Sequence[str], terminal: TerminalLoan | None = None, **options: Any) -> None:
        self._terminal = terminal
        self._is_ended = False
        has_session = terminal is None
        # The watcher comes first, so that there is hardly a moment when it does not watch.
        self._watcher: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603  # a constant script
            ["/bin/sh", "-c", _WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            cwd="/",
            process_group=None if has_session else 0,
            start_new_session=has_session,
        )
        try:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603  # as the caller checked
                argv,
                process_group=None if has_session else self._watcher.pid,
                start_new_session=has_session,
                **options,
            )
            self.id = self.process.pid if has_session else self._watcher.pid
            self._tell_watcher()
        except BaseException:
            self._end_watcher()
            raise

    def _tell_watcher(self) -> None:
        assert self._watcher.stdin is not None  # noqa: S101  # requested above
        with contextlib.suppress(BrokenPipeError):
            self._watcher.stdin.write(f"{self.id}\n".encode())
            self._watcher.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                self.end()
        finally:
            self._reap()

    def status(self) -> int | None:
        """Return the child's exit status, negative for a signal, or None while it runs."""
        return _status(self.process)

    def is_interrupted(self) -> bool:
        """Return True if the user has interrupted the group at the terminal."""
        status = None if self._terminal is None else _status(self._watcher)
        return self._terminal is not None and status in (-signal.SIGINT, -signal.SIGQUIT)

    def is_stopped(self) -> bool:
        """Return True, once, if the user has stopped the group at the terminal."""
        if self._terminal is None or not hasattr(os, "waitid"):
            return False
        try:
            result = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:  # it has exited
            return False
        return result is not None and result.si_status == signal.SIGTSTP

    def end(self) -> None:
        """End all processes of the group. A second call does nothing."""
        if self._is_ended:
            return
        self._is_ended = True
        try:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
            while self.status() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        finally:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.id, number)

    def _reap(self) -> None:
        self._end_watcher()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(None if self.status() is not None else 1.0)

    def _end_watcher(self) -> None:
        self._watcher.kill()
        if self._watcher.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._watcher.stdin.close()
        self._watcher.wait()


def _status(process: subprocess.Popen[bytes]) -> int | None:
    """Return the exit status of a process without reaping it, or None while it runs."""
    if process.returncode is not None or not hasattr(os, "waitid"):
        return process.poll()
    try:
        result = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # reaped by the system, because this process was started with SIGCHLD ignored
        return process.poll()
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
