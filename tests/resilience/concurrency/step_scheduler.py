"""Keyturn's writer, run in this process and stopped before each of its system calls, so that another program
can come in."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from keyturn.system.files import exchange
from keyturn.system.shared_file import Timing

Step = Callable[[], None]

#: All calls by which the writer reads or changes a file, except the lease, which makes others wait while it
#: is held.
_SYSTEM_CALLS = (
    "open", "close", "stat", "lstat", "fstat", "pread", "pwrite", "write", "fsync", "fchmod", "fchown",
    "readlink",
    "replace", "rename", "link", "unlink", "mkdir", "listxattr",
)  # fmt: skip


@dataclass
class Stepper:
    """Calls `before` with a number in front of each system call and each wait. Calls made by `before` itself
    are not counted."""

    before: Callable[[int], None] = lambda _: None
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Name and first argument of each call so far."""
    waited: float = 0.0
    """Seconds of waiting so far; a wait takes no real time."""
    _inside: bool = False

    def _step(self, name: str, first: object) -> None:
        if self._inside:
            return
        self.calls.append((name, str(first)))
        self._inside = True
        try:
            self.before(len(self.calls) - 1)
        finally:
            self._inside = False

    def _sleep(self, seconds: float) -> None:
        self.waited += seconds
        self._step("sleep", seconds)

    def timing(self) -> Timing:
        """Return timing whose clock is the real one plus the waits."""
        return Timing(
            wall=lambda: time.time() + self.waited,
            elapsed=lambda: self.waited,
            sleep=self._sleep,
            jitter=lambda: 0.5,
        )

    @contextmanager
    def count_calls(self) -> Iterator[None]:
        """Count the calls of this process inside the block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _SYSTEM_CALLS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            patch.setattr(fcntl, "flock", self._wrapped("flock", fcntl.flock))
            patch.setattr("keyturn.system.files.exchange", self._wrapped("exchange", exchange))
            yield

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self._step(name, args[0] if args else "")
            return real(*args, **options)

        return call

    def last_read(self, path: Path) -> int:
        """Return the number of the last call that looked up `path` by its name, or of the last wait if that
        came later."""
        lookups = ("open", "stat", "lstat")
        return max(
            n
            for n, (name, first) in enumerate(self.calls)
            if name == "sleep" or (name in lookups and first == str(path))
        )
