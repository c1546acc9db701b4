"""strace refuses system calls to files: ENOSPC, EIO, EACCES, EROFS, EMFILE, EDQUOT and EINTR (a campaign).

Each of the thirteen ways (six errors once and permanently, EINTR once) is tried at each call of a writer of
one file that opens, changes or confirms something. Calls that only read get two ways each in turn, and so do
all calls of whole verbs, because the full product would take hours and a refused read is handled in one place
for every error.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.resilience.crash_injection import fault_plan, file_writers, strace_runs
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.state_checks import Verdicts
from tests.support.needs import needs

Record = Callable[[str, object], None]


def _every_way(call: strace_runs.Call) -> int:
    return 1 if call.name in fault_plan.READ_CALLS else len(fault_plan.REFUSALS)


def _in_turns(call: strace_runs.Call) -> int:
    return 0 if call.name in fault_plan.READ_CALLS else 1


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "operation", [*file_writers.WRITERS, *file_writers.VERBS], ids=lambda operation: operation.name
)
def test_refused_system_calls(home: Home, operation: file_writers.Operation, record_property: Record) -> None:
    needs("strace")
    verdicts = Verdicts()
    fault_plan.refuse_everywhere(
        home, [operation], verdicts, _in_turns if operation in file_writers.VERBS else _every_way
    )
    record_property(f"faults: refusals to {operation.name}", verdicts.figures())
    verdicts.check()
