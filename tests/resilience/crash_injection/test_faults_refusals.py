"""strace refuses system calls to files: ENOSPC, EIO, EACCES, EROFS, EMFILE, EDQUOT and EINTR (a campaign).

Each of the thirteen ways (six errors once and for good, EINTR once) is tried at each call of a writer of one file that
opens, changes or confirms something. Calls that only look get two ways each in turn, and so do all calls of whole verbs:
the full product would take hours, and a refused look is met at one place, whatever the error.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.resilience.crash_injection import acts, plan, traced
from tests.resilience.crash_injection.home import Home
from tests.resilience.crash_injection.judge import Verdicts
from tests.support.needs import needs

Record = Callable[[str, object], None]


def _every_way(call: traced.Call) -> int:
    return 1 if call.name in plan.LOOKS else len(plan.REFUSALS)


def _in_turns(call: traced.Call) -> int:
    return 0 if call.name in plan.LOOKS else 1


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("act", [*acts.WRITERS, *acts.VERBS], ids=lambda act: act.name)
def test_refused_system_calls(home: Home, act: acts.Act, record_property: Record) -> None:
    needs("strace")
    verdicts = Verdicts()
    plan.refuse_everywhere(home, [act], verdicts, _in_turns if act in acts.VERBS else _every_way)
    record_property(f"faults: refusals to {act.name}", verdicts.figures())
    verdicts.check()
