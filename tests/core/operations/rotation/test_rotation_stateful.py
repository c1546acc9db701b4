"""Faults at any point: a working key is on disk, and no key at AWS is forgotten."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from keyturn.model.errors import KeyturnError
from keyturn.operations.rotation.delete_key import Obstacle
from keyturn.operations.rotation.record import Step
from tests.core.operations.rotation.direct_iam import Fault
from tests.core.operations.rotation.rotation_home import PROFILE, Home

Record = Callable[[str, object], None]


def _fault_at_one_of(most: int, kinds: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """Draw mostly no fault: one fault at one of the first places, or none."""
    fault = st.builds(lambda at, each: [""] * at + [each], st.integers(0, most - 1), kinds)
    return st.one_of(st.just([]), st.just([]), fault)


#: Faults of the calls of one operation, in order; later calls succeed.
CALL_FAULTS = _fault_at_one_of(6, st.sampled_from([str(trouble) for trouble in Fault if trouble]))
#: The same for the writes of the journal.
WRITE_FAULTS = _fault_at_one_of(3, st.sampled_from(["crash-before", "crash-after", "refuse", "refuse-all"]))
#: In memory if possible, because the campaign makes some hundred thousand small files.
_TEMP_FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of our own is made in it


class RotationMachine(RuleBasedStateMachine):
    """A user, a machine and an AWS that fail one another."""

    tally: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="keyturn-rotation-", dir=_TEMP_FOLDER))
        self.home = Home(self.folder)
        self.reported: set[str] = set()

    def teardown(self) -> None:
        self.tally["lives"] += 1
        try:
            self._check_end()
        finally:
            shutil.rmtree(self.folder)

    # -- actions and faults

    @rule(troubles=CALL_FAULTS, writes=WRITE_FAULTS)
    def start(self, troubles: list[str], writes: list[str]) -> None:
        with self._run_with_faults(troubles, writes):
            self.home.service.rotation.start(PROFILE)

    @rule()
    def rotate_without_faults(self) -> None:
        with self._run_with_faults([], []):
            rotation = self.home.service.rotation
            for _ in rotation.run_to_end(
                rotation.start(PROFILE), lambda: rotation.advance(PROFILE), self.home.time.sleep
            ):
                pass

    @rule(troubles=CALL_FAULTS, writes=WRITE_FAULTS)
    def resume(self, troubles: list[str], writes: list[str]) -> None:
        with self._run_with_faults(troubles, writes):
            self.home.service.rotation.advance(PROFILE)

    @rule(troubles=CALL_FAULTS, writes=WRITE_FAULTS)
    def undo(self, troubles: list[str], writes: list[str]) -> None:
        with self._run_with_faults(troubles, writes):
            self.home.service.rotation.undo(PROFILE)

    @rule(troubles=CALL_FAULTS, writes=WRITE_FAULTS)
    def finish(self, troubles: list[str], writes: list[str]) -> None:
        with self._run_with_faults(troubles, writes):
            facts = self.home.service.rotation.deletion_facts(PROFILE)
            self.home.service.rotation.finish(PROFILE, facts.old_id[-4:], force=facts.obstacles)

    @rule(troubles=CALL_FAULTS, writes=WRITE_FAULTS)
    def delete_unknown_key(self, troubles: list[str], writes: list[str]) -> None:
        with self._run_with_faults(troubles, writes):
            progress = self.home.service.rotation.advance(PROFILE)
            if progress.orphans:
                self.home.service.rotation.delete_other_key(PROFILE, progress.orphans[0][-4:])

    @rule()
    def restart_machine(self) -> None:
        self.home.restart()

    @rule(seconds=st.sampled_from([1, 30, 70, 300, 90_000]))
    def advance_time(self, seconds: int) -> None:
        self.home.time.now += timedelta(seconds=seconds)

    @rule(propagation=st.integers(0, 60), flapping=st.integers(0, 60))
    def slow_down_aws(self, propagation: int, flapping: int) -> None:
        self.home.state.propagation = timedelta(seconds=propagation)
        self.home.state.flapping = timedelta(seconds=flapping)

    @contextlib.contextmanager
    def _run_with_faults(self, troubles: list[str], writes: list[str]) -> Iterator[None]:
        """Run one operation under faults; it may end with an error."""
        trouble, write = iter(troubles), iter(writes)
        everywhere = "refuse-all" in writes

        def on_write(place: str) -> str:
            order = next(write, "")
            self.tally["writes that failed"] += everywhere or bool(order)
            if everywhere:
                return "refuse"
            return "" if order == "refuse" and place == "refuge" else order

        def on_call(_action: str) -> Fault:
            found = Fault(next(trouble, ""))
            self.tally["calls that failed"] += bool(found)
            return found

        self.tally["acts"] += 1
        self.home.line.next_fault = on_call
        self.home.on_write = on_write
        try:
            with self.home.run_service():
                yield
        except KeyturnError as error:
            self.reported |= {key.key_id for key in self.home.user.keys if key.key_id in error.line()}
        finally:
            self.home.line.next_fault = lambda _action: Fault.NONE
            self.home.on_write = lambda _place: ""

    # -- invariants

    @invariant()
    def a_working_key_is_on_disk(self) -> None:
        assert self.home.working_keys()

    @invariant()
    def the_vaults_key_exists_at_aws(self) -> None:
        """Check that the key served to clients exists at AWS and is active or about to be."""
        current = self.home.service.context.key(PROFILE).access_key_id
        assert current in {key.key_id for key in self.home.user.keys}

    @invariant()
    def a_key_is_unknown_only_if_its_reply_was_lost(self) -> None:
        known = self.home.keys_on_disk()
        orphans = [key for key in self.home.user.keys if key.key_id not in known]
        assert len(orphans) <= self.home.line.lost_replies

    @invariant()
    def no_key_is_deactivated_before_the_other_is_proved(self) -> None:
        assert not self.home.line.premature_ends

    def _check_end(self) -> None:
        """Check that the rotation ends by itself or by one command after all faults, and leaves no unknown
        key."""
        home = self.home
        home.state.propagation = home.state.flapping = timedelta(0)
        home.time.now += timedelta(minutes=10)
        home.restart()
        for _ in range(20):
            with contextlib.suppress(KeyturnError), home.run_service():
                progress = home.service.rotation.advance(PROFILE)
                home.time.sleep(progress.wait)
                if progress.orphans:
                    home.service.rotation.delete_other_key(PROFILE, progress.orphans[0][-4:])
                if progress.is_halted and progress.step is Step.DEACTIVATED:
                    home.service.rotation.finish(PROFILE, progress.old_id[-4:], force=tuple(Obstacle))
        assert not home.service.context.index.load().rotations
        keys = home.service.rotation.status(PROFILE)["keys"]
        assert {key["key_id"] for key in keys} == {key.key_id for key in home.user.keys}
        unknown = {key["key_id"] for key in keys if key["held"] is None}
        assert unknown <= self.reported
        assert home.working_keys()


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(4))
def test_no_run_of_mishaps_loses_a_key(part: int, record_property: Record) -> None:
    """Each part draws other examples, the same in each run."""
    RotationMachine.tally.clear()
    run_state_machine_as_test(
        seed(part)(type(f"Part{part}", (RotationMachine,), {})),
        settings=settings(
            max_examples=500, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    text = ", ".join(f"{count} {kinds}" for kinds, count in RotationMachine.tally.items())
    record_property(f"rotation: part {part + 1} of 4", text)
    assert RotationMachine.tally["lives"] >= 500


def test_a_sample_of_mishaps_loses_no_key() -> None:
    run_state_machine_as_test(
        RotationMachine,
        settings=settings(
            max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
