"""strace kills a writer, or a whole verb, at each of its system calls (a campaign; two files, so that both
cores work).

There is one run for every call of every operation, including reads. The disk is judged after each run. The
next start and the repeated operation are tried once per new state of the disk; those are far fewer, because
most calls only read.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.resilience.crash_injection import fault_plan, file_writers
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.state_checks import Verdicts
from tests.support.needs import needs

Record = Callable[[str, object], None]
HALF = len(file_writers.VERBS) // 2


@pytest.mark.timeout(120)
def test_some_kills_and_refusals_by_strace(home: Home, record_property: Record) -> None:
    """The sample: the same functions on the smallest writers."""
    needs("strace")
    verdicts = Verdicts()
    small = [
        operation for operation in file_writers.WRITERS if operation.name in ("index.json", "keyturn.log")
    ]
    fault_plan.kill_everywhere(home, small[:1], verdicts)
    fault_plan.refuse_everywhere(home, small[1:], verdicts, lambda _: 1)
    record_property("faults: runs by strace (sample)", verdicts.figures())
    verdicts.check()


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("operation", file_writers.VERBS[:HALF], ids=lambda operation: operation.name)
def test_a_verb_killed_at_every_system_call(
    home: Home, operation: file_writers.Operation, record_property: Record
) -> None:
    needs("strace")
    verdicts = Verdicts()
    fault_plan.kill_everywhere(home, [operation], verdicts)
    record_property(f"faults: kills of {operation.name}", verdicts.figures())
    verdicts.check()
