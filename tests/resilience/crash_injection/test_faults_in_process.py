"""Faults in the process itself, on every machine: the sample that runs every time, and all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.resilience.crash_injection import fault_plan, file_writers
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.state_checks import Verdicts

Record = Callable[[str, object], None]


@pytest.mark.timeout(400)
def test_spread_faults_leave_every_file_old_or_new_and_the_next_start_ends_well(
    home: Home, record_property: Record
) -> None:
    verdicts = Verdicts()
    fault_plan.in_process(home, file_writers.SAMPLE_WRITERS, verdicts, kills=1, refusals=1, shorts=1)
    fault_plan.in_process(home, file_writers.SAMPLE_VERBS, verdicts, kills=3, refusals=2, shorts=1)
    record_property("faults: runs in the process (sample)", verdicts.figures())
    verdicts.check()


@pytest.mark.campaign
@pytest.mark.timeout(1500)
def test_every_call_killed_refused_and_cut_short(home: Home, record_property: Record) -> None:
    verdicts = Verdicts()
    fault_plan.in_process(home, file_writers.WRITERS, verdicts, kills=400, refusals=400, shorts=400)
    record_property("faults: runs in the process", verdicts.figures())
    verdicts.check()
