"""Chains of source profiles: their length, and the problems of one that is endless or too long. Pure."""

from __future__ import annotations

from collections.abc import Callable

#: Longest chain of source profiles that is followed. Each of them is a call to AWS within one time limit, and
#: AWS tools fail at about twice as many, because they follow a chain recursively.
MAX_CHAIN = 64

Step = tuple[str | None, bool]
"""The source of a profile, None if it has none, and True if the chain ends at that source."""


def count_sources(name: str, step_of: Callable[[str], Step], known: dict[str, int | None]) -> int | None:
    """Return the number of source profiles in the chain of a profile, None if they form a cycle.

    :param known: results of earlier calls, to which this call adds, so that all calls together visit each
        profile once.
    """
    path: dict[str, None] = {}
    current = name
    while current not in known and current not in path:
        path[current] = None
        source, is_end = step_of(current)
        if source is None or is_end:
            known[current] = 0 if source is None else 1
            path.popitem()
            break
        current = source
    length = known.get(current)  # None too if the path has returned to itself
    for each in reversed(path):
        length = None if length is None else length + 1
        known[each] = length
    return known[name]


def cycle_problem(name: str) -> str:
    """Return the problem of a profile whose chain returns to `name`."""
    return f"its source profiles form a cycle at {name}"


def length_problem(length: int | None) -> str:
    """Return the problem of a profile whose chain exceeds :data:`MAX_CHAIN`.

    :param length: as :func:`count_sources` returned it.
    """
    if length is None:
        return "its source profiles form a cycle"
    return f"its chain has {length} source profiles, and at most {MAX_CHAIN} are followed"
