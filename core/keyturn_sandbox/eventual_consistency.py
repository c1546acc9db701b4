"""Eventual consistency: for a while after a change, some of AWS still answers by what was before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Change(Generic[T]):
    """A change that spreads."""

    before: T
    begins: datetime
    """Until here every answer is by what was before."""
    settles: datetime
    """From here on every answer is by what is now; between the two, answers flap."""
    seed: str
    """Makes the flapping the same at each run."""
    looks: int = 0

    def seen(self, after: T, now: datetime) -> T:
        """What a request at `now` finds, where `after` is what is true."""
        if now >= self.settles:
            return after
        if now < self.begins:
            return self.before
        self.looks += 1
        return after if _flip(self.seed, self.looks) else self.before


def _flip(seed: str, look: int) -> bool:
    """A coin that falls the same way at each run. The first two looks differ from each other, old before new, so that
    nobody can settle for one look."""
    if look <= 2:
        return look == 2
    return bool(hashlib.sha256(f"{seed}:{look}".encode()).digest()[0] & 1)


def seen(change: Change[T] | None, after: T, now: datetime) -> T:
    """What a request at `now` finds of something that may have changed lately."""
    return after if change is None else change.seen(after, now)
