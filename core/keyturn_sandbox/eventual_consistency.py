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
    begins: datetime
    """Until then every response shows the previous state."""
    settles: datetime
    """From then on every response shows the new state. Between the two times, responses alternate."""
    seed: str
    """Makes the alternation deterministic."""
    looks: int = 0

    def seen(self, after: T, now: datetime) -> T:
        """Return the value that a request at `now` sees; `after` is the true value."""
        if now >= self.settles:
            return after
        if now < self.begins:
            return self.before
        self.looks += 1
        return after if _flip(self.seed, self.looks) else self.before


def _flip(seed: str, look: int) -> bool:
    """Return a deterministic pseudo-random bool. The first two results are False and True (previous state,
    then new state), so that a client cannot rely on a single request."""
    if look <= 2:
        return look == 2
    return bool(hashlib.sha256(f"{seed}:{look}".encode()).digest()[0] & 1)


def seen(change: Change[T] | None, after: T, now: datetime) -> T:
    """Return the value that a request at `now` sees of a value that may have changed recently."""
    return after if change is None else change.seen(after, now)
