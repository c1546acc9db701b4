"""Any failure in a verb while a secret is in memory leaks nothing, prints one line, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.adversarial.secret_leaks.cases import VERBS, Case, bursts, recorded
from tests.adversarial.secret_leaks.leak_bench import PASSPHRASE, Bench, bench

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bursts")) as one:
        yield one


@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", [VERBS[4]], ids=lambda case: case.name)
def test_an_exception_at_a_few_moments(ground: Bench, case: Case, record_property: Record) -> None:
    ended = bursts(ground, case, 4)
    assert ended.wrong == []
    assert ended.raised == 4
    record_property(f"canaries: exception points, sample, {case.name}", ended.raised)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", VERBS, ids=lambda case: case.name)
def test_an_exception_at_every_kind_of_moment(ground: Bench, case: Case, record_property: Record) -> None:
    ended = bursts(ground, case, case.most)
    assert ended.wrong == []
    assert ended.raised >= case.most - 2, "moments come again"
    record_property(f"canaries: exception points, {case.name}", ended.raised)
    record_property(f"canaries: exception points, {case.name}, done in spite of it", ended.in_spite)


@pytest.mark.timeout(400)
def test_moments_are_told_from_each_other_and_the_exception_is_raised(ground: Bench) -> None:
    """A check of the harness: moments are many and of many kinds, and raising at one changes the result."""
    case = VERBS[4]
    moments = recorded(ground, case).moments
    assert len({(one.caller, one.called) for one in moments}) > 30
    ground.put_back(case.beginning)
    said = ground.run(case.task(ground), moments[0])
    assert said.raised
    assert said.code != 0
    assert PASSPHRASE not in said.stderr
