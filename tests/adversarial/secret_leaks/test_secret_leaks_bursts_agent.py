"""Any failure in the agent, which holds the identity: its client gets one line of the protocol or nothing,
and no other place gets anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.adversarial.secret_leaks.cases import AGENT, bursts
from tests.adversarial.secret_leaks.leak_bench import Bench, bench

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bursts")) as one:
        yield one


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_an_exception_at_every_kind_of_moment_of_the_agent(ground: Bench, record_property: Record) -> None:
    ended = bursts(ground, AGENT, AGENT.most)
    assert ended.wrong == []
    assert ended.raised >= AGENT.most - 2, "moments come again"
    record_property("canaries: exception points, agent", ended.raised)
