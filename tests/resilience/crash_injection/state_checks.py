"""Conditions that hold after any fault: whole files, no key lost, one line for the user, and a next start
that finishes the work."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from keyturn.system import files, temp_files
from tests.resilience.crash_injection.crash_home import Corrupt, Home, Views
from tests.resilience.crash_injection.file_writers import Operation, plain_verb
from tests.resilience.crash_injection.traced_child import Outcome, run_in_child

#: Files whose contents are, at every moment, one of those that an undisturbed run goes through.
STRICT = ("config", "credentials", "profiles", "keys", "sessions", "slots")
#: Files that define the final state of an operation; notes such as the index's times and the logs are not
#: part of it.
ENDS = ("config", "credentials", "profiles", "keys", "sessions", "slots")
#: Calls that change the disk.
CHANGES = (
    *(
        (os, name)
        for name in ("rename", "replace", "link", "unlink", "mkdir", "rmdir", "write", "open", "ftruncate")
    ),
    (files, "exchange"),
)
#: Share of runs that may miss their call, in percent, because a machine under load may take another path.
MAX_MISSED_PERCENT = 1


@dataclass
class Reference:
    """The states that an undisturbed run of an operation goes through, and the final one."""

    legal: dict[str, list[Any]] = field(default_factory=dict)
    final: Views = field(default_factory=dict)

    def note(self, found: Views) -> None:
        for name, view in found.items():
            views = self.legal.setdefault(name, [])
            if view not in views:
                views.append(view)


def reference(operation: Operation, home: Home) -> Reference:
    """Run an operation undisturbed and look at every file after each call that changes one."""
    home.restore_stage(operation.stage)
    result = Reference()
    notes = home.root / "seen"
    outcome = run_in_child(operation.run, home, partial(_watch_changes, home, notes))
    if outcome.code != 0:
        raise AssertionError(f"{operation.name} fails by itself: {outcome}")
    home_views = home.views()
    with notes.open("rb") as file:
        for views in pickle.load(file):  # noqa: S301  # written by our own child
            result.note(views)
    result.note(home_views)
    result.final = home_views
    _reject_emptied(operation, result)
    return result


def _reject_emptied(operation: Operation, result: Reference) -> None:
    """Reject a writer that truncates a file and then fills it, because its torn state would count as
    legal."""
    for name in ("config", "credentials", "profiles"):
        if b"" in (result.legal[name] or [None])[1:] and result.final[name] != b"":
            raise Corrupt(f"{operation.name}: {name} is empty for a while")


@contextmanager
def _watch_changes(home: Home, notes: Path) -> Iterator[None]:
    views: list[Views] = [home.views()]
    is_looking = False

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal is_looking
            result = real(*args, **kwargs)
            if not is_looking:
                is_looking = True
                try:
                    views.append(home.views())
                finally:
                    is_looking = False
            return result

        return call

    before = [(owner, name, getattr(owner, name)) for owner, name in CHANGES]
    for owner, name, real in before:
        setattr(owner, name, watched(real))
    try:
        yield
    finally:
        for owner, name, real in before:
            setattr(owner, name, real)
        notes.write_bytes(pickle.dumps(views))


@dataclass
class Verdicts:
    """The results of a series of runs."""

    runs: int = 0
    missed: list[str] = field(default_factory=list)
    """Runs that ended without the call that the fault was meant for."""
    corrupt: list[str] = field(default_factory=list)
    _known_good: set[tuple[Any, ...]] = field(default_factory=set)
    """States of the disk for which the next start was tried: a call that changes nothing leaves a known
    one."""

    def figures(self) -> str:
        """Return the figures for the end of a campaign."""
        return f"{self.runs} runs, {len(self.corrupt)} corrupt, {len(self.missed)} missed their call"

    def check(self) -> None:
        """Assert that every run was judged good, and that nearly all met their fault."""
        corrupt = "\n".join(self.corrupt[:12])
        assert not self.corrupt, f"{self.figures()}:\n{corrupt}"
        missed = "\n".join(self.missed[:12])
        assert len(self.missed) * 100 <= self.runs * MAX_MISSED_PERCENT, f"{self.figures()}:\n{missed}"

    def judge(
        self, operation: Operation, expected: Reference, home: Home, outcome: Outcome, what: str
    ) -> None:
        """Judge one more run."""
        self.runs += 1
        if not outcome.reached:
            self.missed.append(f"{operation.name}, {what}")
        try:
            self._judge(operation, expected, home, outcome)
        except Corrupt as fault:
            self.corrupt.append(f"{operation.name}, {what}: {fault}")

    def _judge(self, operation: Operation, expected: Reference, home: Home, outcome: Outcome) -> None:
        views = home.views()
        _whole(expected, views, STRICT)
        if not home.key_is_safe(views):
            raise Corrupt("the long-term key is neither in the vault nor in the shared file")
        complaint = outcome.complaint()
        if complaint:
            raise Corrupt(complaint)
        if outcome.code == 0:
            _is_final(expected, views, "it said that all went well", operation.may_skip)
        state = (operation.name, home.fingerprint())
        if state not in self._known_good:
            _check_next_start(operation, expected, home)
            self._known_good.add(state)


def _whole(expected: Reference, views: Views, names: tuple[str, ...]) -> None:
    for name in names:
        if views[name] not in expected.legal[name]:
            raise Corrupt(f"{name} is neither old nor new: {views[name]!r:.1500}")


@contextmanager
def an_hour_later() -> Iterator[None]:
    """Make the files left by a killed process old enough to be removed. For a child process, until its
    end."""
    temp_files.MIN_AGE_SECONDS = -1.0
    yield


def _check_next_start(operation: Operation, expected: Reference, home: Home) -> None:
    """Assert that the next start works and cleans up, and that the repeated operation ends in the reference's
    final state."""
    start = run_in_child(plain_verb("list", "--json"), home, an_hour_later)
    if start.code != 0:
        raise Corrupt(f"the next start fails: {start.code} {start.stderr[-600:]}")
    again = run_in_child(operation.finish or operation.run, home)
    complaint = again.complaint()
    if complaint:
        raise Corrupt(f"done again, {complaint}")
    if again.code not in operation.retry_codes:
        raise Corrupt(f"done again, it ends with {again.code}: {again.stderr[-600:]}")
    if not operation.finish:
        _is_final(expected, home.views(), f"done again (exit {again.code}: {again.stderr[-300:]!r})")
    home.views()
    left = home.leftovers()
    if left:
        raise Corrupt(f"left over: {left}")


def _is_final(expected: Reference, views: Views, when: str, may_miss: tuple[str, ...] = ()) -> None:
    for name in ENDS:
        if views[name] != expected.final[name] and name not in may_miss:
            raise Corrupt(
                f"{when}, yet {name} is not as it should be: {_difference(views[name], expected.final[name])}"
            )


def _difference(views: Any, wanted: Any) -> str:
    if isinstance(views, dict) and isinstance(wanted, dict):
        keys = [key for key in {*views, *wanted} if views.get(key) != wanted.get(key)]
        return f"other in {sorted(keys)}: {[views.get(key) for key in keys]!r:.500}"
    return f"{views!r:.700} instead of {wanted!r:.700}"
