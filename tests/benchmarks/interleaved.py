"""Timing of functions in turn, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

WARM_UP = 3


def seconds(function: Callable[[], object]) -> float:
    """Return the wall-clock time of one call in seconds."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turn(functions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each function in each round. Each round begins with another function; the first
    few rounds do not count."""
    names = list(functions)
    durations: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + WARM_UP):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            elapsed = seconds(functions[name])
            if number >= WARM_UP:
                durations[name].append(elapsed)
    return durations


def quarters(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return low, middle, high


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(of) / statistics.median(to)


def share(values: Sequence[float], part: float) -> float:
    """Return the value that `part` of all, from 0 to 1, do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
