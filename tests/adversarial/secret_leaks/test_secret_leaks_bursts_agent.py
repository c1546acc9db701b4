"""Any failure in the agent, which holds the identity: its client gets one line of the protocol or nothing,
and no other place gets anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.adversarial.secret_leaks.cases import AGENT, run_bursts
from tests.adversarial.secret_leaks.leak_bench import Bench, bench

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def prepared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bursts")) as new_bench:
        yield new_bench


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_an_exception_at_every_kind_of_moment_of_the_agent(
    prepared_bench: Bench, record_property: Record
) -> None:
    result = run_bursts(prepared_bench, AGENT, AGENT.max_moments)
    assert result.faults == []
    assert result.raised >= AGENT.max_moments - 2, "moments come again"
    record_property("canaries: exception points, agent", result.raised)
