"""Faults that a test orders for the next calls: refusals, throttling, lost connections and lost answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum

from keyturn_sandbox.refusals import Refusal, throttled


class Cut(Enum):
    """A connection that ends without an answer."""

    BEFORE = "before"
    """Nothing was done."""
    AFTER = "after"
    """All was done, and the answer got lost."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call. At most one of `refusal` and `cut` is set."""

    refusal: Refusal | None = None
    cut: Cut | None = None
    wait: float = 0.0
    """Seconds before anything happens."""


class Faults:
    """The orders, by action; each is for the next `times` calls, in the order given. Signatures are checked first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: dict[str, list[Fault]] = {}

    def refuse(self, action: str, code: str, message: str = "", *, status: int = 400, times: int = 1) -> None:
        """Answer the next `times` calls of `action` with an error."""
        self._order(action, Fault(refusal=Refusal(code, message or code, status)), times)

    def throttle(self, action: str, *, times: int = 1) -> None:
        """Answer with `Throttling: Rate exceeded`."""
        self._order(action, Fault(refusal=throttled()), times)

    def reset(self, action: str, *, times: int = 1) -> None:
        """Drop the connection and do nothing."""
        self._order(action, Fault(cut=Cut.BEFORE), times)

    def lose_answer(self, action: str, *, times: int = 1) -> None:
        """Do what was asked, and drop the connection instead of answering."""
        self._order(action, Fault(cut=Cut.AFTER), times)

    def slow(self, action: str, seconds: float, *, times: int = 1) -> None:
        """Wait before doing what was asked."""
        self._order(action, Fault(wait=seconds), times)

    def clear(self) -> None:
        """Forget every order."""
        with self._lock:
            self._orders.clear()

    def waiting(self) -> dict[str, int]:
        """How many orders each action still has."""
        with self._lock:
            return {action: len(orders) for action, orders in self._orders.items() if orders}

    def take(self, action: str) -> Fault:
        """The order for this call, used up by this; an empty one if there is none."""
        with self._lock:
            orders = self._orders.get(action)
            return orders.pop(0) if orders else Fault()

    def _order(self, action: str, fault: Fault, times: int) -> None:
        with self._lock:
            self._orders.setdefault(action, []).extend([fault] * times)
