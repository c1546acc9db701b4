"""Client of the rotation operations for front ends: one step per call, with the waits between the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from keyturn.model.errors import RotationHalted
from keyturn.operations.rotation import create_key, delete_key, runner, status
from keyturn.operations.rotation.delete_key import DeletionFacts
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.routing import OperationRouter
from keyturn.system.clock import Clock

#: Seconds that the propagation of a new key may take before the rotation stops and waits for the user.
TIMEOUT = 150.0


class RotationClient:
    """The operations of a rotation, run where the vault is open.

    :param check: raises the reason why a profile's key cannot be rotated. Called before a passphrase is asked
        for.
    """

    def __init__(self, router: OperationRouter, clock: Clock, check: Callable[[str], object]) -> None:
        self._router = router
        self._clock = clock
        self.check = check

    def start(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.create_key.start`. :meth:`advance` performs the other steps."""
        self.check(name)
        return self._router.run(create_key.start, name, code)

    def advance(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.runner.advance`: one step."""
        return self._router.run(runner.advance, name, code)

    def undo(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.runner.undo`: the first step of the undo. :meth:`advance`
        performs the others."""
        return self._router.run(runner.undo, name, code)

    def deletion_facts(self, name: str, code: str | None = None) -> DeletionFacts:
        """See :func:`keyturn.operations.rotation.delete_key.deletion_facts`."""
        return self._router.run(delete_key.deletion_facts, name, code)

    def finish(self, name: str, last_four: str | None, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.delete_key.finish`."""
        return self._router.run(delete_key.finish, name, code, last_four)

    def delete_other_key(self, name: str, last_four: str, code: str | None = None) -> str:
        """See :func:`keyturn.operations.rotation.delete_key.delete_other_key`."""
        return self._router.run(delete_key.delete_other_key, name, last_four, code)

    def status(self, name: str, code: str | None = None) -> dict[str, Any]:
        """See :func:`keyturn.operations.rotation.status.status`."""
        return self._router.run(status.status, name, code)

    def run_to_end(
        self, first: Progress, step: Callable[[], Progress], sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[Progress]:
        """Yield `first` and the progress after each further step, until the rotation is finished or the user
        must decide.

        :param step: performs the next step.
        :param sleep: waits for a number of seconds.
        :raises RotationHalted: if AWS does not accept a key everywhere within :data:`TIMEOUT`.
        :raises KeyturnError: if a step raises it.
        """
        progress, step_started = first, self._clock()
        yield progress
        while not (progress.is_finished or progress.is_halted):
            if progress.wait:
                if (self._clock() - step_started).total_seconds() > TIMEOUT:
                    raise RotationHalted(
                        f"Rotation of {progress.profile} stopped", progress.note, progress.summary()
                    )
                sleep(progress.wait)
            previous = progress
            progress = step()
            if progress.step is not previous.step:
                step_started = self._clock()
            yield progress
