"""Rotations in a given state, and the state of AWS then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from tests.core.operations.rotation.direct_iam import Trouble
from tests.core.operations.rotation.rotation_home import PROFILE, Home


def on(action: str, trouble: Trouble, times: int = 1) -> Callable[[str], Trouble]:
    """Inject a fault into the next `count` calls of one action."""
    left = [times]

    def next_(asked: str) -> Trouble:
        if asked != action or not left[0]:
            return Trouble.NONE
        left[0] -= 1
        return trouble

    return next_


def through(home: Home) -> Iterator[Progress]:
    rotating = home.service.rotation
    return rotating.run_to_end(rotating.start(PROFILE), lambda: rotating.advance(PROFILE), home.time.sleep)


def back(home: Home) -> Progress:
    """Undo the halted rotation to its end."""
    rotating = home.service.rotation
    *_, last = rotating.run_to_end(rotating.undo(PROFILE), lambda: rotating.advance(PROFILE), home.time.sleep)
    return last


def until(home: Home, step: Step) -> Progress:
    """Run a rotation to a step and leave it there."""
    for progress in through(home):
        if progress.step is step:
            return progress
    raise AssertionError(f"it never came to {step}")


def statuses(home: Home) -> dict[str, str]:
    return {key.key_id: key.status for key in home.user.keys}
