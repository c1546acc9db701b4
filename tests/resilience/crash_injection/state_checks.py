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

from keyturn.awsconfig import atomic_replace
from keyturn.system import temp_files
from tests.resilience.crash_injection.crash_home import Corrupt, Home, Views
from tests.resilience.crash_injection.file_writers import Act, plain_verb
from tests.resilience.crash_injection.traced_child import Outcome, perform

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
    (atomic_replace, "exchange"),
)
#: Share of runs that may miss their call, in percent, because a machine under load may take another path.
MISSED = 1


@dataclass
class Reference:
    """The states that an undisturbed run of an operation goes through, and the final one."""

    legal: dict[str, list[Any]] = field(default_factory=dict)
    final: Views = field(default_factory=dict)

    def note(self, found: Views) -> None:
        for name, view in found.items():
            seen = self.legal.setdefault(name, [])
            if view not in seen:
                seen.append(view)


def reference(act: Act, home: Home) -> Reference:
    """Run `act` undisturbed and look at every file after each call that changes one."""
    home.back_to(act.stage)
    found = Reference()
    notes = home.root / "seen"
    outcome = perform(act.run, home, partial(_looking, home, notes))
    if outcome.code != 0:
        raise AssertionError(f"{act.name} fails by itself: {outcome}")
    home_views = home.views()
    with notes.open("rb") as file:
        for views in pickle.load(file):  # noqa: S301  # written by our own child
            found.note(views)
    found.note(home_views)
    found.final = home_views
    _never_emptied(act, found)
    return found


def _never_emptied(act: Act, found: Reference) -> None:
    """Reject a writer that truncates a file and then fills it, because its torn state would count as
    legal."""
    for name in ("config", "credentials", "profiles"):
        if b"" in (found.legal[name] or [None])[1:] and found.final[name] != b"":
            raise Corrupt(f"{act.name}: {name} is empty for a while")


@contextmanager
def _looking(home: Home, notes: Path) -> Iterator[None]:
    seen: list[Views] = [home.views()]
    looking = False

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal looking
            result = real(*args, **kwargs)
            if not looking:
                looking = True
                try:
                    seen.append(home.views())
                finally:
                    looking = False
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
        notes.write_bytes(pickle.dumps(seen))


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
        found = "\n".join(self.corrupt[:12])
        assert not self.corrupt, f"{self.figures()}:\n{found}"
        missed = "\n".join(self.missed[:12])
        assert len(self.missed) * 100 <= self.runs * MISSED, f"{self.figures()}:\n{missed}"

    def judge(self, act: Act, known: Reference, home: Home, outcome: Outcome, what: str) -> None:
        """Judge one more run."""
        self.runs += 1
        if not outcome.reached:
            self.missed.append(f"{act.name}, {what}")
        try:
            self._judge(act, known, home, outcome)
        except Corrupt as fault:
            self.corrupt.append(f"{act.name}, {what}: {fault}")

    def _judge(self, act: Act, known: Reference, home: Home, outcome: Outcome) -> None:
        found = home.views()
        _whole(known, found, STRICT)
        if not home.key_is_safe(found):
            raise Corrupt("the long-term key is neither in the vault nor in the shared file")
        complaint = outcome.complaint()
        if complaint:
            raise Corrupt(complaint)
        if outcome.code == 0:
            _ended(known, found, "it said that all went well", act.may_miss)
        state = (act.name, home.fingerprint())
        if state not in self._known_good:
            _go_on(act, known, home)
            self._known_good.add(state)


def _whole(known: Reference, found: Views, names: tuple[str, ...]) -> None:
    for name in names:
        if found[name] not in known.legal[name]:
            raise Corrupt(f"{name} is neither old nor new: {found[name]!r:.1500}")


@contextmanager
def an_hour_later() -> Iterator[None]:
    """Make the files left by a killed process old enough to be removed. For a child process, until its
    end."""
    temp_files.MIN_AGE_SECONDS = -1.0
    yield


def _go_on(act: Act, known: Reference, home: Home) -> None:
    """Assert that the next start works and cleans up, and that the repeated operation ends in the reference's
    final state."""
    start = perform(plain_verb("list", "--json"), home, an_hour_later)
    if start.code != 0:
        raise Corrupt(f"the next start fails: {start.code} {start.stderr[-600:]}")
    again = perform(act.settles or act.run, home)
    complaint = again.complaint()
    if complaint:
        raise Corrupt(f"done again, {complaint}")
    if again.code not in act.once_more:
        raise Corrupt(f"done again, it ends with {again.code}: {again.stderr[-600:]}")
    if not act.settles:
        _ended(known, home.views(), f"done again (exit {again.code}: {again.stderr[-300:]!r})")
    home.views()
    left = home.leftovers()
    if left:
        raise Corrupt(f"left over: {left}")


def _ended(known: Reference, found: Views, when: str, may_miss: tuple[str, ...] = ()) -> None:
    for name in ENDS:
        if found[name] != known.final[name] and name not in may_miss:
            raise Corrupt(
                f"{when}, yet {name} is not as it should be: {_difference(found[name], known.final[name])}"
            )


def _difference(found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [key for key in {*found, *wanted} if found.get(key) != wanted.get(key)]
        return f"other in {sorted(keys)}: {[found.get(key) for key in keys]!r:.500}"
    return f"{found!r:.700} instead of {wanted!r:.700}"
