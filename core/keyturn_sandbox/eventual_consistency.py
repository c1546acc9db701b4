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

    def visible(self, after: T, now: datetime) -> T:
        """Return the value that a request at `now` sees; `after` is the true value."""
        if now >= self.ends:
            return after
        if now < self.starts:
            return self.before
        self.reads += 1
        return after if _flip(self.seed, self.reads) else self.before


def _flip(seed: str, read: int) -> bool:
    """Return a deterministic pseudo-random bool. The first two results are False and True (previous state,
    then new state), so that a client cannot rely on a single request."""
    if read <= 2:
        return read == 2
    return bool(hashlib.sha256(f"{seed}:{read}".encode()).digest()[0] & 1)


def visible(change: Change[T] | None, after: T, now: datetime) -> T:
    """Return the value that a request at `now` sees of a value that may have changed recently."""
    return after if change is None else change.visible(after, now)
