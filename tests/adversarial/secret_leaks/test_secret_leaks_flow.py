"""No secret of a whole working life leaks: output, files, command lines, environments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adversarial.secret_leaks.forwarded_flow import lending
from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.verb_flow import Flow, flow, founding, moving, parting, rotating, working

Record = Callable[[str, object], None]


def report(one: Flow, record: Record, part: str) -> None:
    record(f"canaries: secrets searched for, {part}", len(one.search.names))
    record(f"canaries: places looked at, {part}", one.search.places)
    record(f"canaries: found, {part}", len(one.hits))
    assert [str(hit) for hit in one.hits] == []


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_no_secret_leaves_in_a_whole_working_life(tmp_path: Path, record_property: Record) -> None:
    with Sampler() as sampler, flow(tmp_path) as one:
        founding(one)
        working(one)
        lending(one)
        rotating(one)
        moving(one, tmp_path)
        parting(one)
        one.checks_files()
    one.checks_processes(sampler)
    record_property("canaries: processes seen", len(sampler.processes))
    record_property("canaries: commands run", one.commands)
    report(one, record_property, "verbs")
