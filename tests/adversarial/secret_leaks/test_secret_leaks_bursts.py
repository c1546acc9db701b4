"""Any failure in a verb while a secret is in memory leaks nothing, prints one line, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.adversarial.secret_leaks.cases import VERBS, Case, record_run, run_bursts
from tests.adversarial.secret_leaks.leak_bench import PASSPHRASE, Bench, bench

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def prepared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bursts")) as new_bench:
        yield new_bench


@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", [VERBS[4]], ids=lambda case: case.name)
def test_an_exception_at_a_few_moments(prepared_bench: Bench, case: Case, record_property: Record) -> None:
    result = run_bursts(prepared_bench, case, 4)
    assert result.faults == []
    assert result.raised == 4
    record_property(f"canaries: exception points, sample, {case.name}", result.raised)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", VERBS, ids=lambda case: case.name)
def test_an_exception_at_every_kind_of_moment(
    prepared_bench: Bench, case: Case, record_property: Record
) -> None:
    result = run_bursts(prepared_bench, case, case.max_moments)
    assert result.faults == []
    assert result.raised >= case.max_moments - 2, "moments come again"
    record_property(f"canaries: exception points, {case.name}", result.raised)
    record_property(f"canaries: exception points, {case.name}, done in spite of it", result.in_spite)


@pytest.mark.timeout(400)
def test_moments_are_told_from_each_other_and_the_exception_is_raised(prepared_bench: Bench) -> None:
    """A check of the harness: moments are many and of many kinds, and raising at one changes the result."""
    case = VERBS[4]
    moments = record_run(prepared_bench, case).moments
    assert len({(one.caller, one.called) for one in moments}) > 30
    prepared_bench.restore_beginning(case.beginning)
    output = prepared_bench.run(case.task(prepared_bench), moments[0])
    assert output.raised
    assert output.code != 0
    assert PASSPHRASE not in output.stderr
