"""Faults without ptrace: the Python calls that reach a file are counted, and one is killed, refused or cut
short.

A kill is a real SIGKILL of the forked child, so it cannot be caught and nothing is cleaned up.
"""

from __future__ import annotations

import builtins
import dataclasses
import errno
import fcntl
import io
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from keyturn.system import files
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.traced_child import Outcome, Run, run_in_child

CALLS: tuple[tuple[Any, str], ...] = (
    *(
        (os, name)
        for name in [
            "open",
            "write",
            "pread",
            "pwrite",
            "read",
            "fsync",
            "close",
            "fstat",
            "stat",
            "lstat",
            "readlink",
            "listdir",
            "scandir",
            "rename",
            "replace",
            "link",
            "unlink",
            "mkdir",
            "rmdir",
            "chmod",
            "fchmod",
            "fchown",
            "ftruncate",
            "listxattr",
            "getxattr",
            "setxattr",
        ]
        if hasattr(os, name)
    ),
    (fcntl, "flock"),
    (io, "open"),
    (builtins, "open"),
    (files, "exchange"),
)
KILL = "kill"
SHORT = "short"
#: Refusals as errno values, in the order in which a sample takes them.
ERRORS = ("ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "EDQUOT")


@dataclass(frozen=True)
class Call:
    """A Python call that reaches a file of the user, the `number`th of all."""

    name: str
    number: int
    what: str


@dataclass
class Faults:
    """Counts the calls of one run; the `fault` happens at the `number`th, and at all later ones if
    `lasting`."""

    person: str
    fault: str = ""
    number: int = 0
    is_permanent: bool = False
    mark: Path | None = None
    """A file that is created when the fault happens."""
    calls: list[Call] = field(default_factory=list)
    _descriptors: set[int] = field(default_factory=set)

    @contextmanager
    def install(self, recorded: Path | None) -> Iterator[None]:
        real = [(owner, name, getattr(owner, name)) for owner, name in CALLS]
        for owner, name, function in real:
            setattr(owner, name, self._counted(name, function))
        try:
            yield
        finally:
            for owner, name, function in real:
                setattr(owner, name, function)
            if recorded is not None:
                recorded.write_bytes(pickle.dumps(self.calls))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self._is_of_user(args):
                return real(*args, **kwargs)
            self.calls.append(Call(name, len(self.calls) + 1, f"{args[:2]!r:.120}"))
            count = len(self.calls)
            if self.number and (count == self.number or (self.is_permanent and count > self.number)):
                args = self._apply(name, args)
            result = real(*args, **kwargs)
            if name == "open" and isinstance(result, int):
                self._descriptors.add(result)
            elif name == "close":
                self._descriptors.discard(args[0])
            return result

        return call

    def _is_of_user(self, args: tuple[Any, ...]) -> bool:
        if not args:
            return False
        first = args[0]
        if isinstance(first, int):
            return first in self._descriptors
        return isinstance(first, (str, os.PathLike)) and os.fspath(first).startswith(self.person)

    def _apply(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.mark is not None and not self.mark.exists():
            os.mknod(self.mark)
        if self.fault == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == SHORT:
            shortened = name in ("write", "pwrite") and len(args[1]) > 1
            return (args[0], memoryview(args[1])[: len(args[1]) // 2], *args[2:]) if shortened else args
        code = getattr(errno, self.fault)
        raise OSError(code, os.strerror(code))


def calls(run: Run, home: Home) -> list[Call]:
    """Return every call of an undisturbed run."""
    recorded = home.root / "calls"
    outcome = run_in_child(run, home, partial(Faults(str(home.person)).install, recorded))
    if outcome.code != 0:
        raise AssertionError(f"it fails by itself: {outcome}")
    with recorded.open("rb") as file:
        parsed: list[Call] = pickle.load(file)  # noqa: S301  # written by our own child
    return parsed


def inject(run: Run, home: Home, call: Call, fault: str, *, is_permanent: bool = False) -> Outcome:
    """Run with a fault at one call, or at all calls from there on."""
    mark = home.root / "struck"
    mark.unlink(missing_ok=True)
    faults = Faults(str(home.person), fault, call.number, is_permanent, mark)
    outcome = run_in_child(run, home, partial(faults.install, None))
    return dataclasses.replace(outcome, reached=mark.exists())
