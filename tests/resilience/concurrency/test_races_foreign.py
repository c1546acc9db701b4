"""Keyturn's writers beside `aws configure set`, which truncates in place, and beside a script that writes
slowly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.resilience.concurrency import programs
from tests.resilience.concurrency.parallel_processes import Beside

Number = Callable[[str, object], None]


def race(folder: Path, seeds: range, edits: int, record_property: Number) -> None:
    runs = len(seeds)
    ours = kept = foreign = slow = 0
    for seed in seeds:
        beside = Beside(folder / str(seed))
        by_cli, by_slow = beside.run(seed, edits)
        foreign, slow = foreign + by_cli, slow + by_slow
        found, left = beside.ours(edits), beside.kept()
        ours, kept = ours + found, kept + left
        assert (found, left) == (4 * edits, 40), (
            f"run {seed}: {found} of {4 * edits} edits, {left} of 40 profiles"
        )
    record_property("races: runs beside the AWS CLI and a slow writer", runs)
    record_property("races: our edits present, of those made beside them", f"{ours} of {runs * 4 * edits}")
    record_property("races: profiles that were there before, present", f"{kept} of {runs * 40}")
    record_property("races: writes by the AWS CLI meanwhile", foreign)
    record_property("races: writes by the slow writer meanwhile", slow)
    assert foreign >= runs
    assert slow >= runs


@pytest.mark.timeout(300)
def test_beside_others_everything_of_ours_and_all_that_was_there_survives(
    tmp_path: Path, record_property: Number
) -> None:
    race(tmp_path, range(1, 2), 4, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_beside_others_everything_survives_in_twenty_runs(tmp_path: Path, record_property: Number) -> None:
    race(tmp_path, range(20), 8, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_what_four_loops_of_the_aws_cli_lose_by_themselves(tmp_path: Path, record_property: Number) -> None:
    """The expected loss of programs that take no care; not a promise of keyturn."""
    beside = Beside(tmp_path)
    loops = [programs.start(programs.CLI_ALONE, name, 50, environ=beside.environ) for name in "abcd"]
    made = sum(int(line) for line in programs.finish(loops, 280))
    data = beside.path.read_bytes()
    left = sum(b"c_%c_%d = " % (ord(name), number) in data for name in "abcd" for number in range(50))
    record_property(
        "races: control, edits by four AWS CLI loops alone, present", f"{left} of 200 ({made} said done)"
    )
