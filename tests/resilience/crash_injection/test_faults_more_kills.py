"""The other half of the verbs under kills, and every writer of one file under kills and refusals (a
campaign)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.resilience.crash_injection import fault_plan, file_writers
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.state_checks import Verdicts
from tests.support.needs import needs

Record = Callable[[str, object], None]
HALF = len(file_writers.VERBS) // 2


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "operation", [*file_writers.VERBS[HALF:], *file_writers.WRITERS], ids=lambda operation: operation.name
)
def test_an_operation_killed_at_every_system_call(
    home: Home, operation: file_writers.Operation, record_property: Record
) -> None:
    needs("strace")
    verdicts = Verdicts()
    fault_plan.kill_everywhere(home, [operation], verdicts)
    record_property(f"faults: kills of {operation.name}", verdicts.figures())
    verdicts.check()
