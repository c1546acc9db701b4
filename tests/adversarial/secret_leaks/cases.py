"""Operations with a secret in memory during which an exception is raised, and the conditions that must hold
afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keyturn.agent.client import AgentNotRunning, AgentUnresponsive, NoAgent
from tests.adversarial.secret_leaks.exception_bursts import KINDS, Moment
from tests.adversarial.secret_leaks.leak_bench import NEW_PASSPHRASE, PASSPHRASE, Bench, Said, Task


@dataclass(frozen=True)
class Case:
    """An operation with a secret in memory."""

    name: str
    words: tuple[Any, ...]
    beginning: str = "adopted"
    act: str = "verb"
    reads: dict[str, str] = field(default_factory=lambda: {"--recovery-key-fd": ""}, repr=False)
    """Options that take a descriptor, with the text to read there; empty for the recovery key."""
    writes: tuple[str, ...] = ()
    has_agent: bool = False
    gives: bool = False
    """True if its stdout is meant to hold a secret."""
    is_whole: bool = False
    """True if its output is a document, which must be complete or absent."""
    most: int = 16
    """Number of moments that the campaign tries."""

    def task(self, bench: Bench) -> Task:
        reads = {option: text or bench.recovery_key for option, text in self.reads.items()}
        words = [self._with_files(bench, word) if isinstance(word, dict) else word for word in self.words]
        words = [str(bench.out / word) if word == "export.age" else word for word in words]
        return Task(self.act, words, reads, self.writes, self.has_agent)

    @staticmethod
    def _with_files(bench: Bench, line: dict[str, Any]) -> dict[str, Any]:
        files = [bench.environ["AWS_CONFIG_FILE"], bench.environ["AWS_SHARED_CREDENTIALS_FILE"]]
        return {**line, "args": {**line["args"], "files": files}} if "args" in line else line


VERBS = (
    Case("adopt", ("adopt", "ci-deploy", "--yes"), "founded", most=20),
    Case("refresh", ("refresh", "ci-deploy", "ci-release")),
    Case("deliver", ("deliver", "ci-release", "--to", "credentials-file")),
    Case("release", ("release", "ci-deploy", "--yes"), most=20),
    Case("credential-process", ("credential-process", "ci-release"), gives=True, is_whole=True),
    Case("recovery key", ("vault", "recovery-key", "--yes"), gives=True, most=8),
    Case(
        "unlock",
        ("vault", "unlock"),
        reads={"--passphrase-fd": PASSPHRASE},
        has_agent=True,
        most=12,
    ),
    Case(
        "init",
        ("vault", "init", "--slot", "passphrase"),
        "bare",
        reads={"--passphrase-fd": PASSPHRASE},
        writes=("--recovery-out-fd",),
        has_agent=True,
    ),
    Case(
        "export",
        ("vault", "export", "export.age", "--yes"),
        reads={"--recovery-key-fd": "", "--new-passphrase-fd": NEW_PASSPHRASE},
        most=12,
    ),
)
AGENT = Case(
    "agent",
    (
        {"op": "credential-process", "profile": "nobody"},
        {"op": "run", "act": "refresh", "args": {"name": "ci-deploy", "code": None, "files": None}},
        {"op": "credential-process", "profile": "ci-release"},
        {"op": "status"},
    ),
    act="agent",
    reads={},
    gives=True,
    most=24,
)


@dataclass
class Ended:
    """The result of runs with an exception in them."""

    wrong: list[str] = field(default_factory=list)
    raised: int = 0
    in_spite: int = 0
    """Number of runs that did their work in spite of the exception."""


def recorded(bench: Bench, case: Case) -> Said:
    """Return a run without exceptions, with its moments."""
    bench.put_back(case.beginning)
    said = bench.run(case.task(bench), "record")
    assert said.code == 0, (case.name, said.code, said.stderr)
    assert said.moments, case.name
    return said


def spread(moments: Sequence[Moment], most: int) -> list[Moment]:
    """Return moments to try, from first to last: each pair of functions once before any repeats."""
    firsts: dict[tuple[str, str], Moment] = {}
    for one in moments:
        firsts.setdefault((one.caller, one.called), one)
    chosen = list(firsts.values())
    if len(chosen) < most:
        return chosen
    return [chosen[int(number * len(chosen) / most)] for number in range(most)]


def bursts(bench: Bench, case: Case, most: int) -> Ended:
    """Raise at moments of `case`, one run each."""
    smooth = recorded(bench, case)
    ended = Ended()
    for number, moment in enumerate(spread(smooth.moments, most)):
        kind = KINDS[number % len(KINDS)]
        wrong, said = _burst(bench, case, moment, kind, smooth)
        ended.raised += said.raised
        ended.in_spite += said.raised and said.code == 0 and case.act == "verb"
        ended.wrong += [f"{case.name}, {kind} at {moment}: {what}" for what in wrong]
    return ended


def _burst(bench: Bench, case: Case, moment: Moment, kind: str, smooth: Said) -> tuple[list[str], Said]:
    bench.put_back(case.beginning)
    said = bench.run(case.task(bench), moment, kind)
    wrong = [str(hit) for hit in bench.hits(said, gives=case.gives)]
    wrong += shown_by_agent(said) if case.act == "agent" else shown(said, smooth, is_whole=case.is_whole)
    return wrong + bench.lost(), said


def shown(said: Said, smooth: Said, *, is_whole: bool) -> list[str]:
    """Return the faults in the visible output of a verb."""
    wrong = []
    if "Traceback" in said.stderr or 'File "' in said.stderr:
        wrong.append("a traceback")
    if said.code == 0:
        return wrong if _words(said) == _words(smooth) else [*wrong, "it says that it did what it did not"]
    lines = said.stderr.splitlines()
    if said.code == 130:
        return wrong
    if not lines or not lines[-1].startswith("keyturn: "):
        wrong.append(f"code {said.code} without a line: {said.stderr[-200:]!r}")
    if sum(line.startswith("keyturn: ") for line in lines) > 1:
        wrong.append(f"more than one line: {lines}")
    if is_whole and said.stdout:
        wrong.append("a failed verb gave something")
    return wrong


def _words(said: Said) -> list[list[str]]:
    """Return its lines without the parts that vary from run to run."""
    return [re.findall(r"[a-z]{3,}", line)[:3] for line in said.stdout.splitlines()]


#: Lines of a client whose agent says nothing or is gone.
_NO_ANSWER = (*(kind.__name__ for kind in (NoAgent, AgentNotRunning, AgentUnresponsive, TimeoutError)), "")


def shown_by_agent(said: Said) -> list[str]:
    """Return the faults in the answers of an agent: one line of JSON each, or nothing."""
    lines = [line for line in said.stdout.splitlines() if line not in _NO_ANSWER]
    bad = [line[:80] for line in lines if not _is_answer(line)]
    wrong = [f"no answer of the agent's: {bad}"] if bad else []
    return [*wrong, f"said aside: {said.stderr}"] if said.stderr else wrong


def _is_answer(line: str) -> bool:
    if line.startswith(("Agent ", "Could not stop the agent: ")):
        return True
    try:
        return set(json.loads(line)) in ({"ok", "result"}, {"ok", "error"})
    except (ValueError, TypeError):
        return False
