"""Eventual consistency: for a while after a change, some of AWS's responses still show the previous state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Change(Generic[T]):
    """A change that propagates."""

    before: T
    starts: datetime
    """Until then every response shows the previous state."""
    ends: datetime
    """From then on every response shows the new state. Between the two times, responses alternate."""
    seed: str
    """Makes the alternation deterministic."""
    reads: int = 0


def _flip(seed: str, read: int) -> bool:
    """Return a deterministic pseudo-random bool. The first two results are False and True (previous state,
    then new state), so that a client cannot rely on a single request."""
    if read <= 2:
        return read == 2
    return bool(hashlib.sha256(f"{seed}:{read}".encode()).digest()[0] & 1)


def visible(change: Change[T] | None, after: T, now: datetime) -> T:
    """Return what a request at `now` sees of a value that may have changed recently.

    :param change: the last change, if there was one.
    :param after: the true value.
    """
    if change is None or now >= change.ends:
        return after
    if now < change.starts:
        return change.before
    change.reads += 1
    return after if _flip(change.seed, change.reads) else change.before
