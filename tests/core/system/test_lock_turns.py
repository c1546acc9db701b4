"""A wait for a lock is as long as one process may hold it, and longer while others take it in turn."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.model.errors import FileBusy
from keyturn.system import files


class OtherProcess:
    """Another holder of a lock; it takes a new turn every `period` seconds of the clock that it moves."""

    def __init__(self, path: Path, period: float) -> None:
        self.now = 0.0
        self._period = period
        self._handle = files.open_lock_file(path)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def elapsed(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        os.pwrite(self._handle, b"%-20d\n%-20d\n" % (1, int(self.now / self._period)), 0)

    def end(self) -> None:
        os.close(self._handle)


@pytest.fixture
def wait(tmp_path: Path) -> Callable[[float, float | None], float]:
    """Return a function that waits for a lock with turns of a number of seconds, in vain, and returns the
    seconds that it waited."""

    def waited(period: float, longest: float | None) -> float:
        other = OtherProcess(tmp_path / "lock", period)
        handle = files.open_lock_file(tmp_path / "lock")
        try:
            assert not files.poll_flock(handle, 10, longest=longest, elapsed=other.elapsed, sleep=other.sleep)
        finally:
            os.close(handle)
            other.end()
        return other.now

    return waited


@pytest.mark.parametrize(
    ("period", "longest", "seconds"),
    [
        pytest.param(1000, 60, 10, id="one holder"),
        pytest.param(1000, None, 10, id="one holder, no longer wait"),
        pytest.param(3, None, 10, id="turns, no longer wait"),
        pytest.param(3, 60, 60, id="turns"),
        pytest.param(11, 60, 10, id="turns that are too long"),
        pytest.param(3, 5, 10, id="a longest wait below the limit of a turn"),
    ],
)
def test_the_wait_begins_again_with_each_turn(
    wait: Callable[[float, float | None], float], period: float, longest: float | None, seconds: float
) -> None:
    # The first sleep writes the first turn, so that the wait begins 2 ms late.
    assert wait(period, longest) == pytest.approx(seconds, abs=0.12)


def test_the_error_says_if_one_process_holds_the_lock_or_many_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with files.lock_for_change(path, what="Could not wait", seconds=1):
        with (
            pytest.raises(FileBusy, match=rf"keyturn process {os.getpid()} has held the lock"),
            files.lock_for_change(path, what="Could not wait", seconds=0.05),
        ):
            pytest.fail("two processes hold the lock")
        assert files.queue_error("Could not wait", 60).line() == (
            "Could not wait: other keyturn processes have taken the lock in turn for 60 s. "
            "Wait for those processes to end, then try again"
        )


def test_each_turn_is_another(tmp_path: Path) -> None:
    turns = set()
    for _ in range(3):
        with files.lock_for_change(tmp_path / "lock", what="Could not wait"):
            turns.add((tmp_path / "lock").read_bytes())
    assert len(turns) == 3
