"""A rotation is killed at every system call it makes, and gone on with: a key that works is on disk, none is
forgotten."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.core.operations.rotation.kill_points import Cloud, broken_promises, rotate
from tests.resilience.crash_injection import strace_runs
from tests.resilience.crash_injection.conftest import home
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.fault_plan import KILL, take_spread
from tests.support.needs import needs

__all__ = ["home"]

Record = Callable[[str, object], None]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with tempfile.TemporaryDirectory(prefix="kt-") as folder:
        found = Cloud(str(Path(folder) / "aws"))
        yield found
        found.close()


def _kill(
    home: Home, cloud: Cloud, chosen: Callable[[Sequence[strace_runs.Call]], Sequence[strace_runs.Call]]
) -> tuple[int, list[str]]:
    run = rotate(cloud)
    home.restore_stage("adopted")
    points = strace_runs.calls(run, home)
    faults = []
    calls = chosen(points)
    for call in calls:
        cloud.reset()
        home.restore_stage("adopted")
        outcome = strace_runs.inject(run, home, call, KILL)
        where = f"killed at {call.name} {call.number} ({call.line:.120})"
        faults += [f"{where}: {fault}" for fault in broken_promises(home, cloud)]
        complaint = outcome.complaint()
        faults += [f"{where}: {complaint}"] if complaint else []
    return len(calls), faults


def test_some_kills_of_a_rotation(home: Home, cloud: Cloud) -> None:
    needs("strace")
    runs, faults = _kill(home, cloud, lambda points: take_spread(points, 10))
    assert not faults
    assert runs == 10


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("half", [0, 1])
def test_a_rotation_killed_at_every_system_call(
    home: Home, cloud: Cloud, half: int, record_property: Record
) -> None:
    needs("strace")
    runs, faults = _kill(home, cloud, lambda points: points[half::2])
    record_property(
        f"rotation: killed and gone on with, half {half + 1}", f"{runs} points, {len(faults)} amiss"
    )
    assert not faults, "\n".join(faults[:12])
