"""Client of the rotation operations for front ends: one step per call, with the waits between the steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar

from keyturn.operations.operation import Operation
from keyturn.operations.rotation import advance, create_key, delete_key, key_status
from keyturn.operations.rotation.delete_key import DeletionFacts, Obstacle
from keyturn.operations.rotation.progress import Progress, StepWaits
from keyturn.system.clock import Clock

P = ParamSpec("P")
R = TypeVar("R")


class OperationRunner(Protocol):
    """Runs an operation where the vault is open."""

    def __call__(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...


class RotationClient:
    """The operations of a rotation, run where the vault is open.

    :param check: raises the reason why a profile's key cannot be rotated. Called before a passphrase is asked
        for.
    """

    def __init__(self, run: OperationRunner, clock: Clock, check: Callable[[str], object]) -> None:
        self._run = run
        self._clock = clock
        self.check = check

    def start(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.create_key.start`. :meth:`advance` performs the other
        steps."""
        self.check(name)
        return self._run(create_key.start, name, code)

    def advance(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.advance.advance`: one step."""
        return self._run(advance.advance, name, code)

    def undo(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.advance.undo`: the first step of the undo. :meth:`advance`
        performs the others."""
        return self._run(advance.undo, name, code)

    def deletion_facts(self, name: str, code: str | None = None) -> DeletionFacts:
        """See :func:`keyturn.operations.rotation.delete_key.deletion_facts`."""
        return self._run(delete_key.deletion_facts, name, code)

    def finish(
        self, name: str, last_four: str | None, code: str | None = None, force: tuple[Obstacle, ...] = ()
    ) -> Progress:
        """See :func:`keyturn.operations.rotation.delete_key.finish`."""
        return self._run(delete_key.finish, name, code, last_four, force)

    def delete_other_key(self, name: str, last_four: str, code: str | None = None) -> str:
        """See :func:`keyturn.operations.rotation.delete_key.delete_other_key`."""
        return self._run(delete_key.delete_other_key, name, last_four, code)

    def status(self, name: str, code: str | None = None) -> dict[str, Any]:
        """See :func:`keyturn.operations.rotation.key_status.status`."""
        return self._run(key_status.status, name, code)

    def run_to_end(
        self, first: Progress, step: Callable[[], Progress], sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[Progress]:
        """Yield `first` and the progress after each further step, until the rotation is finished or the user
        must decide.

        :param step: performs the next step.
        :param sleep: waits for a number of seconds.
        :raises RotationHalted: if AWS does not accept a key everywhere in time (:class:`StepWaits`).
        :raises KeyturnError: if a step raises it.
        """
        waits, progress = StepWaits(), first
        yield progress
        while (wait := waits.next_wait(progress, self._clock())) is not None:
            if wait:
                sleep(wait)
            progress = step()
            yield progress
