"""Operations with a secret in memory during which an exception is raised, and the conditions that must hold
afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keyturn.agent.rpc_client import AgentNotRunning, AgentUnresponsive, NoAgent
from tests.adversarial.secret_leaks.exception_bursts import KINDS, Moment
from tests.adversarial.secret_leaks.leak_bench import NEW_PASSPHRASE, PASSPHRASE, Bench, RunOutput, Task


@dataclass(frozen=True)
class Case:
    """An operation with a secret in memory."""

    name: str
    words: tuple[Any, ...]
    beginning: str = "adopted"
    target: str = "verb"
    reads: dict[str, str] = field(default_factory=lambda: {"--recovery-key-fd": ""}, repr=False)
    """Options that take a descriptor, with the text to read there; empty for the recovery key."""
    writes: tuple[str, ...] = ()
    has_agent: bool = False
    gives: bool = False
    """True if its stdout is meant to hold a secret."""
    is_whole: bool = False
    """True if its output is a document, which must be complete or absent."""
    max_moments: int = 16
    """Number of moments that the campaign tries."""

    def task(self, bench: Bench) -> Task:
        reads = {option: text or bench.recovery_key for option, text in self.reads.items()}
        words = [self._with_files(bench, word) if isinstance(word, dict) else word for word in self.words]
        words = [str(bench.out / word) if word == "export.age" else word for word in words]
        return Task(self.target, words, reads, self.writes, self.has_agent)

    @staticmethod
    def _with_files(bench: Bench, line: dict[str, Any]) -> dict[str, Any]:
        files = [bench.environ["AWS_CONFIG_FILE"], bench.environ["AWS_SHARED_CREDENTIALS_FILE"]]
        return {**line, "args": {**line["args"], "files": files}} if "args" in line else line


VERBS = (
    Case("adopt", ("adopt", "ci-deploy", "--yes"), "founded", max_moments=20),
    Case("refresh", ("refresh", "ci-deploy", "ci-release")),
    Case("deliver", ("deliver", "ci-release", "--to", "credentials-file")),
    Case("release", ("release", "ci-deploy", "--yes"), max_moments=20),
    Case("credential-process", ("credential-process", "ci-release"), gives=True, is_whole=True),
    Case("recovery key", ("vault", "recovery-key", "--yes"), gives=True, max_moments=8),
    Case(
        "unlock", ("vault", "unlock"), reads={"--passphrase-fd": PASSPHRASE}, has_agent=True, max_moments=12
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
        max_moments=12,
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
    target="agent",
    reads={},
    gives=True,
    max_moments=24,
)


@dataclass
class BurstResult:
    """The result of runs with an exception in them."""

    faults: list[str] = field(default_factory=list)
    raised: int = 0
    in_spite: int = 0
    """Number of runs that did their work in spite of the exception."""


def record_run(bench: Bench, case: Case) -> RunOutput:
    """Return a run without exceptions, with its moments."""
    bench.restore_beginning(case.beginning)
    output = bench.run(case.task(bench), "record")
    assert output.code == 0, (case.name, output.code, output.stderr)
    assert output.moments, case.name
    return output


def spread_moments(moments: Sequence[Moment], max_moments: int) -> list[Moment]:
    """Return moments to try, from first to last: each pair of functions once before any repeats."""
    firsts: dict[tuple[str, str], Moment] = {}
    for one in moments:
        firsts.setdefault((one.caller, one.called), one)
    chosen = list(firsts.values())
    if len(chosen) < max_moments:
        return chosen
    return [chosen[int(number * len(chosen) / max_moments)] for number in range(max_moments)]


def run_bursts(bench: Bench, case: Case, max_moments: int) -> BurstResult:
    """Raise at moments of `case`, one run each."""
    undisturbed = record_run(bench, case)
    result = BurstResult()
    for number, moment in enumerate(spread_moments(undisturbed.moments, max_moments)):
        kind = KINDS[number % len(KINDS)]
        faults, output = _burst(bench, case, moment, kind, undisturbed)
        result.raised += output.raised
        result.in_spite += output.raised and output.code == 0 and case.target == "verb"
        result.faults += [f"{case.name}, {kind} at {moment}: {what}" for what in faults]
    return result


def _burst(
    bench: Bench, case: Case, moment: Moment, kind: str, undisturbed: RunOutput
) -> tuple[list[str], RunOutput]:
    bench.restore_beginning(case.beginning)
    output = bench.run(case.task(bench), moment, kind)
    faults = [str(hit) for hit in bench.hits(output, gives=case.gives)]
    faults += (
        answer_faults(output)
        if case.target == "agent"
        else output_faults(output, undisturbed, is_whole=case.is_whole)
    )
    return faults + bench.lost_keys(), output


def output_faults(output: RunOutput, undisturbed: RunOutput, *, is_whole: bool) -> list[str]:
    """Return the faults in the visible output of a verb."""
    faults = []
    if "Traceback" in output.stderr or 'File "' in output.stderr:
        faults.append("a traceback")
    if output.code == 0:
        return (
            faults
            if _words(output) == _words(undisturbed)
            else [*faults, "it says that it did what it did not"]
        )
    lines = output.stderr.splitlines()
    if output.code == 130:
        return faults
    if not lines or not lines[-1].startswith("keyturn: "):
        faults.append(f"code {output.code} without a line: {output.stderr[-200:]!r}")
    if sum(line.startswith("keyturn: ") for line in lines) > 1:
        faults.append(f"more than one line: {lines}")
    if is_whole and output.stdout:
        faults.append("a failed verb gave something")
    return faults


def _words(output: RunOutput) -> list[list[str]]:
    """Return its lines without the parts that vary from run to run."""
    return [re.findall(r"[a-z]{3,}", line)[:3] for line in output.stdout.splitlines()]


#: Lines of a client whose agent says nothing or is gone.
_NO_ANSWER = (*(kind.__name__ for kind in (NoAgent, AgentNotRunning, AgentUnresponsive, TimeoutError)), "")


def answer_faults(output: RunOutput) -> list[str]:
    """Return the faults in the answers of an agent: one line of JSON each, or nothing."""
    lines = [line for line in output.stdout.splitlines() if line not in _NO_ANSWER]
    bad = [line[:80] for line in lines if not _is_answer(line)]
    faults = [f"no answer of the agent's: {bad}"] if bad else []
    return [*faults, f"said aside: {output.stderr}"] if output.stderr else faults


def _is_answer(line: str) -> bool:
    if line.startswith(("Agent ", "Could not stop the agent: ")):
        return True
    try:
        return set(json.loads(line)) in ({"ok", "result"}, {"ok", "error"})
    except (ValueError, TypeError):
        return False
