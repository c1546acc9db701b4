"""The length of chains of source profiles, as a table, and its cost as a count of visits."""

from __future__ import annotations

from collections import Counter

import pytest

from keyturn.model.chain import MAX_CHAIN, Step, count_sources, length_problem

#: Sources by profile, the profiles that end a chain, then the length of the chain of `a`.
CHAINS: list[tuple[str, dict[str, str], str, int | None]] = [
    ("no source", {}, "", 0),
    ("one source", {"a": "b"}, "b", 1),
    ("two sources", {"a": "b", "b": "c"}, "c", 2),
    ("a source without one", {"a": "b"}, "", 1),
    ("an end that has a source too", {"a": "b", "b": "a"}, "b", 1),
    ("its own source, with a key", {"a": "a"}, "a", 1),
    ("its own source", {"a": "a"}, "", None),
    ("a cycle", {"a": "b", "b": "a"}, "", None),
    ("a way into a cycle", {"a": "b", "b": "c", "c": "b"}, "", None),
]


@pytest.mark.parametrize(
    ("sources", "ends", "length"), [row[1:] for row in CHAINS], ids=[row[0] for row in CHAINS]
)
def test_the_length_of_a_chain(sources: dict[str, str], ends: str, length: int | None) -> None:
    def step_of(name: str) -> Step:
        source = sources.get(name)
        return source, source is not None and source in ends

    known: dict[str, int | None] = {}
    assert count_sources("a", step_of, known) == length
    assert count_sources("a", step_of, known) == length


@pytest.mark.parametrize("shape", ["chain", "cycle", "star"])
def test_each_profile_is_visited_once_in_all_calls_together(shape: str) -> None:
    visits: Counter[str] = Counter()

    def step_of(name: str) -> Step:
        visits[name] += 1
        number = int(name)
        if shape == "star":
            return "5000", True
        return (None if shape == "chain" and number == 4999 else str((number + 1) % 5000)), False

    known: dict[str, int | None] = {}
    lengths = {count_sources(str(number), step_of, known) for number in range(5000)}
    assert lengths == {"chain": set(range(5000)), "cycle": {None}, "star": {1}}[shape]
    assert set(visits.values()) == {1}


def test_the_problem_names_the_length_or_the_cycle() -> None:
    assert length_problem(3000) == f"its chain has 3000 source profiles, and at most {MAX_CHAIN} are followed"
    assert length_problem(None) == "its source profiles form a cycle"
