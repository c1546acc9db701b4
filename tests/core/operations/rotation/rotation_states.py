"""A rotation brought to a point, and what AWS has then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from tests.core.operations.rotation.direct_iam import Trouble
from tests.core.operations.rotation.rotation_home import PROFILE, Home


def on(action: str, trouble: Trouble, times: int = 1) -> Callable[[str], Trouble]:
    """Trouble at the next so many calls of one action."""
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
    """The rotation that waits taken back to its end."""
    rotating = home.service.rotation
    *_, last = rotating.run_to_end(rotating.undo(PROFILE), lambda: rotating.advance(PROFILE), home.time.sleep)
    return last


def until(home: Home, step: Step) -> Progress:
    """A rotation brought to a step and left there."""
    for progress in through(home):
        if progress.step is step:
            return progress
    raise AssertionError(f"it never came to {step}")


def statuses(home: Home) -> dict[str, str]:
    return {key.key_id: key.status for key in home.user.keys}
