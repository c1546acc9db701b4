"""Timing things against each other: in turn, so that a busy machine is busy for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

WARM_UP = 3


def seconds(act: Callable[[], object]) -> float:
    """What one call takes by the clock on the wall."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def in_turn(acts: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The seconds of each act in each round. Each round begins with another act; the first few rounds do not count."""
    names = list(acts)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + WARM_UP):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            took = seconds(acts[name])
            if number >= WARM_UP:
                found[name].append(took)
    return found


def quarters(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quarter, the median and the upper quarter."""
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """Median to median."""
    return statistics.median(of) / statistics.median(to)


def share(values: Sequence[float], part: float) -> float:
    """The value that `part` of all, from 0 to 1, do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
