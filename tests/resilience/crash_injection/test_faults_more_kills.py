"""The other half of the verbs under kills, and every writer of one file under kills and refusals (a campaign)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.resilience.crash_injection import acts, plan
from tests.resilience.crash_injection.home import Home
from tests.resilience.crash_injection.judge import Verdicts
from tests.support.needs import needs

Record = Callable[[str, object], None]
HALF = len(acts.VERBS) // 2


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("act", [*acts.VERBS[HALF:], *acts.WRITERS], ids=lambda act: act.name)
def test_an_act_killed_at_every_system_call(home: Home, act: acts.Act, record_property: Record) -> None:
    needs("strace")
    verdicts = Verdicts()
    plan.kill_everywhere(home, [act], verdicts)
    record_property(f"faults: kills of {act.name}", verdicts.figures())
    verdicts.check()
