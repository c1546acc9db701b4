"""Keyturn's writers beside `aws configure set`, which truncates in place, and beside a script that writes
slowly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.resilience.concurrency import programs
from tests.resilience.concurrency.parallel_processes import SharedFileRace

Number = Callable[[str, object], None]


def race(folder: Path, seeds: range, edits: int, record_property: Number) -> None:
    runs = len(seeds)
    own_edits = kept_profiles = foreign = slow = 0
    for seed in seeds:
        race = SharedFileRace(folder / str(seed))
        by_cli, by_slow = race.run(seed, edits)
        foreign, slow = foreign + by_cli, slow + by_slow
        present, remaining = race.count_own_edits(edits), race.count_kept_profiles()
        own_edits, kept_profiles = own_edits + present, kept_profiles + remaining
        assert (present, remaining) == (4 * edits, 40), (
            f"run {seed}: {present} of {4 * edits} edits, {remaining} of 40 profiles"
        )
    record_property("races: runs beside the AWS CLI and a slow writer", runs)
    record_property(
        "races: our edits present, of those made beside them", f"{own_edits} of {runs * 4 * edits}"
    )
    record_property("races: profiles that were there before, present", f"{kept_profiles} of {runs * 40}")
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
    race = SharedFileRace(tmp_path)
    loops = [programs.start(programs.CLI_ALONE, name, 50, environ=race.environ) for name in "abcd"]
    made = sum(int(line) for line in programs.finish(loops, 280))
    data = race.path.read_bytes()
    remaining = sum(b"c_%c_%d = " % (ord(name), number) in data for name in "abcd" for number in range(50))
    record_property(
        "races: control, edits by four AWS CLI loops alone, present", f"{remaining} of 200 ({made} said done)"
    )
