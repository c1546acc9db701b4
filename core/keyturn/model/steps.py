"""Steps of an operation on many profiles: what it reports while it runs, and a request to stop it early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of an operation on many profiles."""

    doing: str
    """Activity that a front end names, such as `adopting`."""
    done: int
    """Number of profiles that are done."""
    total: int
    name: str = ""
    """The profile that is next; empty if none is."""


def _ignore(_step: Step) -> None:
    return


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Steps:
    """The front end of a running operation: it shows the steps and can stop between two profiles.

    Both functions are called from the thread of the operation, often, and must return at once.
    """

    report: Callable[[Step], None] = _ignore
    is_stopped: Callable[[], bool] = _never

    def each(self, doing: str, names: Sequence[str]) -> Iterator[str]:
        """Yield the names that an operation begins with, until it is stopped. Each is reported before it is
        yielded.
        """
        for done, name in enumerate(names):
            if self.is_stopped():
                return
            self.report(Step(doing, done, len(names), name))
            yield name
        self.report(Step(doing, len(names), len(names)))

    def show(self, doing: str, names: Sequence[str]) -> Iterator[str]:
        """Yield the names as :meth:`each` does, to the end, because the operation must not stop here."""
        return Steps(self.report).each(doing, names)


#: For an operation that nobody watches.
UNWATCHED = Steps()
