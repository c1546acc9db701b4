"""Whatever goes wrong while a secret is in memory, nobody is told it, one line says what happened, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.canaries.bench import PASSPHRASE, Bench, Said, bench
from tests.canaries.bursting import KINDS

Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Case:
    """Something that is done with a secret in hand."""

    name: str
    words: tuple[Any, ...]
    act: str = "verb"
    adopted: bool = True
    """Whether it begins with `ci-deploy` in the vault, else in the shared file."""
    gives: bool = False
    """Whether its stdout is where a secret belongs."""
    key: bool = True
    """Whether the vault is opened by the recovery key on a descriptor."""


CASES = (
    Case("adopt", ("adopt", "ci-deploy", "--yes"), adopted=False),
    Case("refresh", ("refresh", "ci-deploy", "ci-release")),
    Case("deliver", ("deliver", "ci-release", "--to", "credentials-file")),
    Case("release", ("release", "ci-deploy", "--yes")),
    Case("credential-process", ("credential-process", "ci-release"), gives=True),
    Case("recovery key", ("vault", "recovery-key", "--yes"), gives=True),
    Case(
        "agent",
        (
            {"op": "credential-process", "profile": "nobody"},
            {"op": "run", "act": "refresh", "args": {"name": "ci-deploy", "code": None, "files": None}},
            {"op": "status"},
        ),
        act="agent",
    ),
)


@dataclass
class Ground:
    """A bench with both beginnings, and the key that must never be lost."""

    bench: Bench
    key: str = field(repr=False)
    beginnings: dict[bool, Path] = field(default_factory=dict)

    def begin(self, *, adopted: bool) -> None:
        self.bench._kept = self.beginnings[adopted]
        self.bench.put_back()


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with bench(tmp_path_factory.mktemp("bursts")) as one:
        key = one.sandbox.state.user("aws", "444455556666", "ci-deploy")
        assert key is not None
        found = Ground(one, key.keys[0].secret.reveal())
        for adopted in (False, True):
            if adopted:
                said = one.run("verb", ("adopt", "ci-deploy", "--yes"), at=-2)
                assert said.code == 0, said.stderr
            one._kept = one._out / f"kept {adopted}"
            one.keep()
            found.beginnings[adopted] = one._kept
        yield found


def moments_of(ground: Ground, case: Case) -> list[str]:
    """The moments of a run in which nothing goes wrong."""
    ground.begin(adopted=case.adopted)
    words = _words(ground, case)
    said = ground.bench.run(case.act, words, key=case.key, extra={"CANARY_COUNT": "1"})
    assert said.code == 0, (case.name, said)
    assert said.moments, case.name
    return said.moments


def _words(ground: Ground, case: Case) -> Sequence[Any]:
    if case.act != "agent":
        return case.words
    environ = ground.bench.environ
    files = [environ["AWS_CONFIG_FILE"], environ["AWS_SHARED_CREDENTIALS_FILE"]]
    return [
        {**line, "args": {**line["args"], "files": files}} if "args" in line else line for line in case.words
    ]


def spread(moments: Sequence[str], most: int) -> list[int]:
    """Moments to try: each pair of functions once, then as many others as there is room for, evenly."""
    first = {place: number for number, place in reversed(list(enumerate(moments)))}
    chosen = sorted(first.values())
    if len(chosen) >= most:
        step = len(chosen) / most
        return [chosen[int(number * step)] for number in range(most)]
    step = max(1, len(moments) // (most - len(chosen)))
    return sorted({*chosen, *range(0, len(moments), step)})


def burst(ground: Ground, case: Case, at: int) -> list[str]:
    """What is wrong after an exception at one moment; nothing, it is hoped."""
    ground.begin(adopted=case.adopted)
    one, kind = ground.bench, KINDS[at % len(KINDS)]
    said = one.run(case.act, _words(ground, case), at=at, kind=kind, key=case.key)
    wrong = [str(hit) for hit in one.hits(said, gives=case.gives)]
    wrong += shown(said, case)
    if not one.holds(ground.key):
        wrong.append("the key is lost")
    return [f"{case.name}, {kind} at moment {at}: {what}" for what in wrong]


def shown(said: Said, case: Case) -> list[str]:
    """What is wrong with what a person sees."""
    if case.act == "agent":
        lines = [line for line in said.stdout.splitlines() if line not in ("Silence", "TimeoutError", "")]
        bad = [line[:80] for line in lines if not _is_answer(line)]
        return [f"no answer of the agent's: {bad}"] if bad or said.stderr else []
    wrong = []
    if said.code == "late":
        wrong.append("it did not end")
    if "Traceback" in said.stderr or 'File "' in said.stderr:
        wrong.append("a traceback")
    last = said.stderr.splitlines()[-1:] or [""]
    if said.code not in (0, 130) and not last[0].startswith("keyturn: "):
        wrong.append(f"code {said.code} without a line: {said.stderr[-200:]!r}")
    if said.code != 0 and case.gives and said.stdout:
        wrong.append("a failed verb gave something")
    return wrong


def _is_answer(line: str) -> bool:
    if line.startswith(("the agent: ", "locking: ")):
        return True
    try:
        return set(json.loads(line)) in ({"ok", "result"}, {"ok", "error"})
    except (ValueError, TypeError):
        return False


@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", [CASES[1], CASES[-1]], ids=lambda case: case.name)
def test_an_exception_at_a_few_moments(ground: Ground, case: Case, record_property: Record) -> None:
    chosen = spread(moments_of(ground, case), 3)
    assert [wrong for at in chosen for wrong in burst(ground, case, at)] == []
    record_property(f"canaries: exception points, sample, {case.name}", len(chosen))


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_exception_at_every_kind_of_moment(ground: Ground, case: Case, record_property: Record) -> None:
    chosen = spread(moments_of(ground, case), 16)
    assert [wrong for at in chosen for wrong in burst(ground, case, at)] == []
    record_property(f"canaries: exception points, {case.name}", len(chosen))


@pytest.mark.timeout(400)
def test_moments_are_told_from_each_other_and_the_exception_is_raised(ground: Ground) -> None:
    """The check itself: moments are many and of many kinds, and one that is raised at changes the end."""
    case = CASES[4]
    moments = moments_of(ground, case)
    assert len(set(moments)) > 30
    ground.begin(adopted=True)
    said = ground.bench.run("verb", case.words, at=0, kind="runtime")
    assert said.code != 0
    assert PASSPHRASE not in said.stderr
