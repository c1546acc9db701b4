"""Rotation as front ends drive it: act by act, with the waits in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keyturn.model.errors import RotationHalted
from keyturn.operations.rotation.delete_key import DeletionFacts, deletion_facts_from
from keyturn.operations.rotation.progress import Progress, progress_from
from keyturn.system.clock import Clock

#: Seconds that a new key may take until AWS knows it everywhere, before the rotation waits for a person instead.
TIMEOUT = 150.0


class RotationClient:
    """The acts of rotations, done where the vault is open.

    :param act: has an act done, and gives its result.
    :param check: says why a profile's key cannot be rotated, before anybody is asked for a passphrase.
    """

    def __init__(
        self, act: Callable[[str, Mapping[str, object]], Any], clock: Clock, check: Callable[[str], object]
    ) -> None:
        self._run = act
        self._clock = clock
        self.check = check

    def start(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.create_key.start`; :meth:`on` does the rest."""
        self.check(name)
        return self._one("rotate-begin", name, code)

    def advance(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.runner.advance`: one act."""
        return self._one("rotate-step", name, code)

    def undo(self, name: str, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.runner.undo`: the first act of the way back; :meth:`on` does the others."""
        return self._one("rotate-undo", name, code)

    def deletion_facts(self, name: str, code: str | None = None) -> DeletionFacts:
        """See :func:`keyturn.operations.rotation.delete_key.deletion_facts`."""
        return deletion_facts_from(self._run("rotate-ending", {"name": name, "code": code}))

    def finish(self, name: str, last_four: str | None, code: str | None = None) -> Progress:
        """See :func:`keyturn.operations.rotation.delete_key.finish`."""
        return self._one("rotate-finish", name, code, last_four=last_four)

    def delete_other_key(self, name: str, last_four: str, code: str | None = None) -> str:
        """See :func:`keyturn.operations.rotation.delete_key.delete_other_key`."""
        return str(self._run("rotate-drop", {"name": name, "last_four": last_four, "code": code}))

    def status(self, name: str, code: str | None = None) -> dict[str, Any]:
        """See :func:`keyturn.operations.rotation.status.status`."""
        return dict(self._run("rotate-status", {"name": name, "code": code}))

    def run_to_end(
        self,
        first: Progress,
        step: Callable[[], Progress],
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[Progress]:
        """All that follows on `first`, until the rotation is over or a person decides.

        :param step: one more act.
        :raises RotationHalted: AWS does not know a key everywhere within :data:`PATIENCE`.
        :raises KeyturnError: what an act raised.
        """
        progress, since = first, self._clock()
        yield progress
        while not (progress.is_over or progress.is_halted):
            if progress.wait:
                if (self._clock() - since).total_seconds() > TIMEOUT:
                    raise RotationHalted(f"rotation of {progress.profile}", progress.note, progress.summary())
                sleep(progress.wait)
            before = progress
            progress = step()
            if progress.step is not before.step:
                since = self._clock()
            yield progress

    def _one(self, op: str, name: str, code: str | None, **more: str | None) -> Progress:
        return progress_from(self._run(op, {"name": name, "code": code, **more}))
