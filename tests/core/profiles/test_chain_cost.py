"""Long and wide graphs of source profiles: what their rows say, and the growth of their cost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyturn.awsconfig.loader import read_files
from keyturn.awsconfig.native_profiles import NativeProfiles, dependants
from keyturn.model.chain import MAX_CHAIN
from keyturn.model.profile import Profile
from keyturn.profiles.status import View, rows
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile, ManagedProfiles
from keyturn.system.clock import system_clock
from tests.benchmarks.long_chain import KEY, chain_text

ARN = "arn:aws:iam::111122223333:role/r"


def _role(name: str, source: str) -> str:
    return f"[profile {name}]\nrole_arn = {ARN}\nsource_profile = {source}\n"


def _cycle(count: int) -> str:
    return "".join(_role(f"p{number}", f"p{(number + 1) % count}") for number in range(count))


def _star(count: int) -> str:
    return "".join(_role(f"p{number}", "base") for number in range(count)) + f"[profile base]\n{KEY}"


def _managed_chain(count: int) -> dict[str, ManagedProfile]:
    roles = {
        f"p{number}": ManagedProfile(f"p{number}", "role", role_arn=ARN, source_profile=f"p{number + 1}")
        for number in range(count)
    }
    return {**roles, f"p{count}": ManagedProfile(f"p{count}", "iam-key", key=f"p{count}")}


def _managed_cycle(count: int) -> dict[str, ManagedProfile]:
    return {
        f"p{number}": ManagedProfile(
            f"p{number}", "role", role_arn=ARN, source_profile=f"p{(number + 1) % count}"
        )
        for number in range(count)
    }


def _rows(folder: Path, config: str, managed: ManagedProfiles) -> dict[str, Profile]:
    (folder / "config").write_text(config)
    shared = read_files(folder / "config", folder / "credentials")
    now = system_clock()
    natives = NativeProfiles(shared, {"HOME": str(folder)})
    return {row.name: row for row in rows(View(natives, managed, Index(), shared.profiles, now))}


@contextmanager
def _counted_calls() -> Iterator[list[int]]:
    """Count the calls of Python functions of this thread."""
    calls = [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        if event == "call":
            calls[0] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


GRAPHS: dict[str, Callable[[int], tuple[str, ManagedProfiles]]] = {
    "chain": lambda count: (chain_text(count), {}),
    "cycle": lambda count: (_cycle(count), {}),
    "star": lambda count: (_star(count), {}),
    "managed chain": lambda count: ("", _managed_chain(count)),
    "managed cycle": lambda count: ("", _managed_cycle(count)),
    "managed profiles without their lines": lambda count: (_star(count), _managed_chain(count)),
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_three_times_the_profiles_cost_about_three_times_the_calls(tmp_path: Path, graph: str) -> None:
    costs = []
    for count in (500, 1500):
        config, managed = GRAPHS[graph](count)
        with _counted_calls() as calls:
            _rows(tmp_path, config, managed)
        costs.append(calls[0])
    assert costs[1] < 4 * costs[0]


def test_the_longest_chain_that_is_followed_and_the_next(tmp_path: Path) -> None:
    for config, managed in ((chain_text(MAX_CHAIN + 2), {}), ("", _managed_chain(MAX_CHAIN + 2))):
        found = _rows(tmp_path, config, managed)
        long = f"its chain has {MAX_CHAIN + 2} source profiles, and at most {MAX_CHAIN} are followed"
        assert found["p0"].problem == long
        assert len(found["p2"].chain) == MAX_CHAIN
        assert "chain" not in (found["p2"].problem or "")


def test_a_managed_chain_that_goes_on_in_the_shared_files_counts_as_one(tmp_path: Path) -> None:
    managed = {
        name: ManagedProfile(name, "role", role_arn=ARN, source_profile=source)
        for name, source in (("top", "mid"), ("mid", "p0"))
    }
    found = _rows(tmp_path, chain_text(MAX_CHAIN - 1), managed)
    assert found["top"].problem == (
        f"its chain has {MAX_CHAIN + 1} source profiles, and at most {MAX_CHAIN} are followed"
    )
    assert len(found["mid"].chain) == MAX_CHAIN


@pytest.mark.parametrize("graph", ["cycle", "managed cycle"])
def test_a_long_cycle_is_a_cycle(tmp_path: Path, graph: str) -> None:
    found = _rows(tmp_path, *GRAPHS[graph](3 * MAX_CHAIN))
    problem = found["p0"].problem or ""
    assert "cycle" in problem or "Infinite loop" in problem
    assert "at most" not in problem


def test_dependants_of_a_wide_graph_are_found_in_one_pass(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(_star(300))
    shared = read_files(tmp_path / "config", tmp_path / "credentials")
    assert dependants(shared) == {"base": tuple(f"p{number}" for number in range(300))}
