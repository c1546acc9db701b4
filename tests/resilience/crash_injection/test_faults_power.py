"""Power loss at every step of a writer: no file is torn, no key lost, and the next start continues."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.resilience.crash_injection import fault_plan, file_writers, power_loss
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.state_checks import Verdicts, reference
from tests.resilience.crash_injection.traced_child import Outcome

Record = Callable[[str, object], None]


def _without_power(
    home: Home, chosen: Sequence[file_writers.Operation], verdicts: Verdicts, max_losses: int
) -> None:
    home.max_torn_lines = 1
    for operation in chosen:
        expected = reference(operation, home)
        home.restore_stage(operation.stage)
        for loss in fault_plan.take_spread(power_loss.possible_losses(operation.run, home), max_losses):
            power_loss.write_disk(loss.disk, home)
            # A reported success must also be true after the power loss.
            claimed = Outcome(0 if loss.is_complete else None, "", "")
            verdicts.judge(operation, expected, home, claimed, f"power lost after {loss.after}")
    home.max_torn_lines = 0


@pytest.mark.timeout(300)
def test_power_lost_at_some_steps(home: Home, record_property: Record) -> None:
    chosen = [
        operation
        for operation in (*file_writers.VERBS, *file_writers.WRITERS)
        if operation.name in ("adopt", "keys.age", "profiles.toml")
    ]
    verdicts = Verdicts()
    _without_power(home, chosen, verdicts, 5)
    record_property("faults: power losses (sample)", verdicts.figures())
    verdicts.check()


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "operation", [*file_writers.VERBS, *file_writers.WRITERS], ids=lambda operation: operation.name
)
def test_power_lost_at_every_step(
    home: Home, operation: file_writers.Operation, record_property: Record
) -> None:
    verdicts = Verdicts()
    _without_power(home, [operation], verdicts, 600)
    record_property(f"faults: power losses of {operation.name}", verdicts.figures())
    verdicts.check()
