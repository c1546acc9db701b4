"""Rotations in a given state, and the state of AWS then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from tests.core.operations.rotation.direct_iam import Fault
from tests.core.operations.rotation.rotation_home import PROFILE, Home


def fault_at(action: str, trouble: Fault, times: int = 1) -> Callable[[str], Fault]:
    """Inject a fault into the next `times` calls of one action."""
    left = [times]

    def next_(requested: str) -> Fault:
        if requested != action or not left[0]:
            return Fault.NONE
        left[0] -= 1
        return trouble

    return next_


def run_rotation(home: Home) -> Iterator[Progress]:
    rotation = home.service.rotation
    return rotation.run_to_end(rotation.start(PROFILE), lambda: rotation.advance(PROFILE), home.time.sleep)


def undo_rotation(home: Home) -> Progress:
    """Undo the halted rotation to its end."""
    rotation = home.service.rotation
    *_, last = rotation.run_to_end(rotation.undo(PROFILE), lambda: rotation.advance(PROFILE), home.time.sleep)
    return last


def run_until(home: Home, step: Step) -> Progress:
    """Run a rotation to a step and leave it there."""
    for progress in run_rotation(home):
        if progress.step is step:
            return progress
    raise AssertionError(f"it never came to {step}")


def statuses(home: Home) -> dict[str, str]:
    return {key.key_id: key.status for key in home.user.keys}
