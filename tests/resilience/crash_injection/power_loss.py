"""Possible contents of a disk after a power loss, derived from the order of the calls of one run.

Only fsynced data is certain. Other contents may be absent, partial or complete. A name that was created,
changed or removed may be old or new until its folder was fsynced, each independently.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from keyturn.system import files
from tests.resilience.crash_injection.crash_home import NOW, Home
from tests.resilience.crash_injection.traced_child import Run, run_in_child

Step = tuple[Any, ...]
"""A change: `make`, `mkdir`, `unlink`, `sync` or `sync-folder` of a path, `content` of a path with all its
bytes, `rename` or `link` from one path to another, `exchange` of two."""
Disk = tuple[tuple[str, bytes | None], ...]
"""Every path with its contents; None for a folder."""
CALLS: tuple[tuple[Any, str], ...] = (
    *(
        (os, name)
        for name in [
            "open",
            "close",
            "write",
            "pwrite",
            "ftruncate",
            "fsync",
            "rename",
            "replace",
            "link",
            "unlink",
            "mkdir",
            "rmdir",
        ]
    ),
    (files, "exchange"),
)
#: Parts that remain of contents that were not fsynced.
LEFT: tuple[Callable[[bytes], bytes], ...] = (
    lambda _: b"",
    lambda content: content[: len(content) // 2],
    lambda content: content,
)


@dataclass
class Recorder:
    """Records every change of one run."""

    person: str
    steps: list[Step] = field(default_factory=list)
    _open: dict[int, str] = field(default_factory=dict)

    @contextmanager
    def install(self, out: Path) -> Iterator[None]:
        real = [(owner, name, getattr(owner, name)) for owner, name in CALLS]
        for owner, name, function in real:
            setattr(owner, name, self._record_call(name, function))
        try:
            yield
        finally:
            for owner, name, function in real:
                setattr(owner, name, function)
            out.write_bytes(pickle.dumps(self.steps))

    def _record_call(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            new = name == "open" and not os.path.lexists(args[0])
            result = real(*args, **kwargs)
            self._note(name, args, result, new=new)
            return result

        return call

    def _note(self, name: str, args: tuple[Any, ...], result: Any, *, new: bool) -> None:
        first = args[0]
        if isinstance(first, (str, os.PathLike)):
            first = os.fspath(first)
            if not first.startswith(self.person):
                return
        elif first not in self._open:
            return
        if name == "open":
            self._open[result] = first
            if new:
                self.steps.append(("make", first))
        elif name == "close":
            self._open.pop(first)
        elif name in ("write", "pwrite", "ftruncate"):
            self.steps.append(("content", self._open[first], Path(f"/proc/self/fd/{first}").read_bytes()))
        elif name == "fsync":
            folder = Path(self._open[first]).is_dir()
            self.steps.append(("sync-folder" if folder else "sync", self._open[first]))
        elif name in ("rename", "replace"):
            self.steps.append(("rename", first, os.fspath(args[1])))
        elif name in ("link", "exchange") and result is not False:
            self.steps.append((name, first, os.fspath(args[1])))
        elif name in ("unlink", "rmdir", "mkdir"):
            self.steps.append(("mkdir" if name == "mkdir" else "unlink", first))


class Model:
    """A disk whose names and contents are certain or not."""

    def __init__(self, person: Path) -> None:
        self.names: dict[str, int | None] = {}
        """Number of the certain contents by path, None for a folder."""
        self.now: dict[str, int | None] = {}
        """Number of the contents by path, as a running process sees them."""
        self.certain: dict[int, bytes] = {}
        self.volatile: dict[int, bytes] = {}
        self.pending: list[tuple[str, dict[str, int | None], tuple[str, ...]]] = []
        """Changes of names that no fsync of their folder has confirmed: the folder, names created, names
        removed."""
        for path in sorted(person.rglob("*")):
            number = None if path.is_dir() else len(self.certain)
            if number is not None:
                self.certain[number] = path.read_bytes()
            self.names[str(path)] = number
        self.now = dict(self.names)

    def running(self) -> Disk:
        """Return the disk as a process sees it now, which is its state after an orderly end."""
        return tuple(
            sorted((path, self._contents_left(number, LEFT[-1])) for path, number in self.now.items())
        )

    def apply(self, step: Step) -> None:
        kind, first = step[0], step[1]
        if kind == "make":
            number = len(self.certain) + 1000
            self.certain[number] = b""
            self._change_names(first, {first: number}, ())
        elif kind == "mkdir":
            self._change_names(first, {first: None}, ())
        elif kind == "content":
            self.volatile[self._number(first)] = step[2]
        elif kind == "sync":
            number = self._number(first)
            self.certain[number] = self.volatile.pop(number, self.certain[number])
        elif kind == "sync-folder":
            for change in [each for each in self.pending if each[0] == first]:
                _apply(self.names, change)
                self.pending.remove(change)
        elif kind == "unlink":
            self._change_names(first, {}, (first,))
        elif kind == "exchange":
            self._change_names(first, {first: self._number(step[2]), step[2]: self._number(first)}, ())
        elif kind == "link":
            self._change_names(step[2], {step[2]: self._number(first)}, ())
        elif kind == "rename":
            moved = {
                step[2] + path.removeprefix(first): number
                for path, number in self.now.items()
                if path == first or path.startswith(first + "/")
            }
            gone = tuple(path for path in self.now if path == first or path.startswith(first + "/"))
            self._change_names(step[2], moved, gone)

    def _number(self, path: str) -> int:
        number = self.now[path]
        assert number is not None
        return number

    def _change_names(self, path: str, made: dict[str, int | None], gone: tuple[str, ...]) -> None:
        change = (os.path.dirname(path), made, gone)  # noqa: PTH120  # paths are texts here
        _apply(self.now, change)
        self.pending.append(change)

    def afterwards(self) -> Iterator[Disk]:
        """Yield the possible states of the disk after a power loss now."""
        several = range(len(self.pending))
        most = len(self.pending) <= 4
        kept = (
            chain.from_iterable(combinations(several, size) for size in range(len(self.pending) + 1))
            if most
            else [
                *(tuple(range(end)) for end in range(len(self.pending) + 1)),
                *(tuple(at for at in several if at != left_out) for left_out in several),
            ]
        )
        for happened in kept:
            names = dict(self.names)
            for at in happened:
                _apply(names, self.pending[at])
            for left in LEFT:
                yield tuple(
                    sorted((path, self._contents_left(number, left)) for path, number in _reachable(names))
                )

    def _contents_left(self, number: int | None, left: Callable[[bytes], bytes]) -> bytes | None:
        if number is None:
            return None
        return left(self.volatile[number]) if number in self.volatile else self.certain[number]


def _apply(names: dict[str, int | None], change: tuple[str, dict[str, int | None], tuple[str, ...]]) -> None:
    for path in change[2]:
        names.pop(path, None)
    names.update(change[1])


def _reachable(names: dict[str, int | None]) -> Iterator[tuple[str, int | None]]:
    """Return the paths whose folders exist; the user's own folder always does."""
    top = min(len(path.split("/")) for path in names)
    for path, number in names.items():
        parents = [str(each) for each in Path(path).parents if len(str(each).split("/")) >= top]
        if all(parent in names for parent in parents):
            yield path, number


@dataclass(frozen=True)
class Loss:
    """A possible state of the disk after a power loss."""

    disk: Disk
    after: str
    """The step before the loss."""
    is_complete: bool
    """True if the run had reported success before the loss."""


def possible_losses(run: Run, home: Home) -> list[Loss]:
    """Return every disk that a power loss during or after an undisturbed run could leave, each once."""
    model = Model(home.person)
    out = home.root / "steps"
    outcome = run_in_child(run, home, partial(Recorder(str(home.person)).install, out))
    if outcome.code != 0:
        raise AssertionError(f"it fails by itself: {outcome}")
    with out.open("rb") as file:
        steps: list[Step] = pickle.load(file)  # noqa: S301  # written by our own child
    seen: set[int] = set()
    found = []
    for at, step in enumerate(steps, 1):
        model.apply(step)
        for disk in model.afterwards():
            mark = hash(disk)
            if mark not in seen:
                seen.add(mark)
                found.append(Loss(disk, f"step {at}, {step[:2]!r:.200}", is_complete=False))
    found += [Loss(disk, "the end", is_complete=True) for disk in dict.fromkeys(model.afterwards())]
    if model.running() != _read_disk(home.person):
        raise AssertionError("a change of the disk was not written down, so nothing can be said of its loss")
    return found


def _read_disk(person: Path) -> Disk:
    return tuple(
        sorted((str(path), None if path.is_dir() else path.read_bytes()) for path in person.rglob("*"))
    )


def write_disk(disk: Disk, home: Home) -> None:
    """Write the contents of `disk` to the user's files."""
    shutil.rmtree(home.person)
    home.person.mkdir(mode=0o700)
    for path, content in disk:
        if content is None:
            Path(path).mkdir(mode=0o700)
        else:
            Path(path).write_bytes(content)
            Path(path).chmod(0o600)
            os.utime(path, (NOW.timestamp(), NOW.timestamp()))
