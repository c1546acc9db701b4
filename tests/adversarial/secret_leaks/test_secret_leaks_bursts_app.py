"""Any failure in the app while a passphrase or a code is typed or a recovery key is shown: the terminal is
restored with one line and no secret on it, the log holds none, and nothing is lost. Or the app continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.adversarial.secret_leaks.cases import Ended, spread
from tests.adversarial.secret_leaks.exception_bursts import KINDS
from tests.adversarial.secret_leaks.leak_bench import Bench, bench
from tests.adversarial.secret_leaks.terminal_driver import walk, walks, wrong_on_screen

Record = Callable[[str, object], None]
APP_KINDS = [kind for kind in KINDS if kind != "interrupt"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp("bursts")) as one:
        yield one


def bursts_on_the_way(bench: Bench, nth: int, most: int) -> Ended:
    """Raise at moments of one of the paths, one run each."""
    way = walks(bench)[nth]
    smooth = walk(bench, way, "record")
    assert smooth.done == len(way.steps), smooth.stream[-2000:]
    assert (smooth.said.code, wrong_on_screen(bench, smooth)) == (0, [])
    ended = Ended()
    for number, moment in enumerate(spread(smooth.said.moments, most)):
        kind = APP_KINDS[number % len(APP_KINDS)]
        walked = walk(bench, way, moment, kind)
        wrong = wrong_on_screen(bench, walked) + [str(hit) for hit in bench.left()] + bench.lost()
        ended.raised += walked.said.raised
        ended.in_spite += walked.said.raised and walked.said.code == 0
        ended.wrong += [f"{way.name}, {kind} at {moment}: {what}" for what in wrong]
    return ended


@pytest.mark.timeout(400)
def test_an_exception_at_a_moment_while_a_passphrase_is_typed(ground: Bench, record_property: Record) -> None:
    ended = bursts_on_the_way(ground, 1, 2)
    assert ended.wrong == []
    record_property("canaries: exception points, sample, app", ended.raised)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("nth", [0, 1], ids=["new vault", "MFA"])
def test_an_exception_at_every_kind_of_moment_of_the_app(
    ground: Bench, nth: int, record_property: Record
) -> None:
    ended = bursts_on_the_way(ground, nth, 20)
    assert ended.wrong == []
    assert ended.raised >= 16, "moments come again"
    record_property(f"canaries: exception points, app, way {nth}", ended.raised)
    record_property(f"canaries: exception points, app, way {nth}, went on", ended.in_spite)
