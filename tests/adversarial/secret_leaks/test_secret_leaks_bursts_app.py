"""Any failure in the app while a passphrase or a code is typed or a recovery key is shown: the terminal is
restored with one line and no secret on it, the log holds none, and nothing is lost. Or the app continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.adversarial.secret_leaks.cases import BurstResult, spread_moments
from tests.adversarial.secret_leaks.exception_bursts import KINDS
from tests.adversarial.secret_leaks.leak_bench import Bench, bench
from tests.adversarial.secret_leaks.terminal_driver import run_scenario, scenarios, screen_faults

Record = Callable[[str, object], None]
APP_KINDS = [kind for kind in KINDS if kind != "interrupt"]


@pytest.fixture(scope="module")
def prepared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bursts")) as new_bench:
        yield new_bench


def run_scenario_bursts(bench: Bench, nth: int, max_moments: int) -> BurstResult:
    """Raise at moments of one of the paths, one run each."""
    scenario = scenarios(bench)[nth]
    undisturbed = run_scenario(bench, scenario, "record")
    assert undisturbed.steps_done == len(scenario.steps), undisturbed.stream[-2000:]
    assert (undisturbed.output.code, screen_faults(bench, undisturbed)) == (0, [])
    result = BurstResult()
    for number, moment in enumerate(spread_moments(undisturbed.output.moments, max_moments)):
        kind = APP_KINDS[number % len(APP_KINDS)]
        scenario_result = run_scenario(bench, scenario, moment, kind)
        faults = (
            screen_faults(bench, scenario_result)
            + [str(hit) for hit in bench.leftover_hits()]
            + bench.lost_keys()
        )
        result.raised += scenario_result.output.raised
        result.in_spite += scenario_result.output.raised and scenario_result.output.code == 0
        result.faults += [f"{scenario.name}, {kind} at {moment}: {what}" for what in faults]
    return result


@pytest.mark.timeout(400)
@pytest.mark.campaign
def test_an_exception_at_a_moment_while_a_passphrase_is_typed(
    prepared_bench: Bench, record_property: Record
) -> None:
    result = run_scenario_bursts(prepared_bench, 1, 2)
    assert result.faults == []
    record_property("canaries: exception points, sample, app", result.raised)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("nth", [0, 1], ids=["new vault", "MFA"])
def test_an_exception_at_every_kind_of_moment_of_the_app(
    prepared_bench: Bench, nth: int, record_property: Record
) -> None:
    result = run_scenario_bursts(prepared_bench, nth, 20)
    assert result.faults == []
    assert result.raised >= 16, "moments come again"
    record_property(f"canaries: exception points, app, way {nth}", result.raised)
    record_property(f"canaries: exception points, app, way {nth}, went on", result.in_spite)
