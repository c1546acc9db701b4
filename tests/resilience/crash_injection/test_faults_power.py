"""Power loss at every step of a writer: no file is torn, no key lost, and the next start continues."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.resilience.crash_injection import fault_plan, file_writers, power_loss
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.state_checks import Verdicts, reference
from tests.resilience.crash_injection.traced_child import Outcome

Record = Callable[[str, object], None]


def _without_power(home: Home, chosen: Sequence[file_writers.Act], verdicts: Verdicts, most: int) -> None:
    home.torn_log_lines = 1
    for act in chosen:
        known = reference(act, home)
        home.back_to(act.stage)
        for loss in fault_plan.spread(power_loss.losses(act.run, home), most):
            power_loss.lay_out(loss.disk, home)
            # A reported success must also be true after the power loss.
            said = Outcome(0 if loss.ended else None, "", "")
            verdicts.judge(act, known, home, said, f"power lost after {loss.after}")
    home.torn_log_lines = 0


@pytest.mark.timeout(300)
def test_power_lost_at_some_steps(home: Home, record_property: Record) -> None:
    chosen = [
        act
        for act in (*file_writers.VERBS, *file_writers.WRITERS)
        if act.name in ("adopt", "keys.age", "profiles.toml")
    ]
    verdicts = Verdicts()
    _without_power(home, chosen, verdicts, 10)
    record_property("faults: power losses (sample)", verdicts.figures())
    verdicts.check()


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("act", [*file_writers.VERBS, *file_writers.WRITERS], ids=lambda act: act.name)
def test_power_lost_at_every_step(home: Home, act: file_writers.Act, record_property: Record) -> None:
    verdicts = Verdicts()
    _without_power(home, [act], verdicts, 600)
    record_property(f"faults: power losses of {act.name}", verdicts.figures())
    verdicts.check()
