"""Keyturn's writers beside the AWS CLI and a slow script that take no turns with any other writer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.awsconfig.document import parse
from keyturn.model.errors import UnparsableFile
from tests.resilience.concurrency.parallel_processes import OLD, SharedFileRace

Number = Callable[[str, object], None]

#: Line of a refused edit: of a broken file, and of one that stays broken while others go on writing it, or of
#: the process of keyturn that waits for it.
_BROKEN = re.compile(r"line \d+")
_BUSY = re.compile(r"another program keeps changing it|keyturn process \d+ has held the lock for more")


def refused_by(data: bytes) -> bool:
    """Return True if AWS tools refuse a file."""
    try:
        parse(data)
    except UnparsableFile:
        return True
    return False


def race(folder: Path, seeds: range, edits: int, profile: str, number: Number) -> tuple[int, int]:
    """Run the race once per seed. Return the number of refused edits of keyturn and of files broken at the
    end."""
    own_edits = refused = broken = kept = cli = slow = 0
    for seed in seeds:
        race = SharedFileRace(folder / str(seed))
        report, by_cli, by_slow = race.run_without_turns(seed, edits, profile)
        data = race.path.read_bytes()
        missing = [key for key in report.done if b"%s = here" % key.encode() not in data]
        assert not missing, f"run {seed}: said to be done and lost: {missing}"
        assert data.startswith(OLD), f"run {seed}: not all is as it was"
        assert len(report.done) + len(report.refused) == 4 * edits
        for code, line in report.refused:
            assert code == 5
            assert _BROKEN.search(line) or _BUSY.search(line), line
            assert "\n" not in line
        own_edits, refused, kept = own_edits + len(report.done), refused + len(report.refused), kept + 40
        broken += refused_by(data)
        cli, slow = cli + by_cli, slow + by_slow
    what = "new profiles" if "{number}" in profile else "one profile"
    number(f"races: without turns, {what}: runs", len(seeds))
    number(
        f"races: without turns, {what}: our edits done and present",
        f"{own_edits} of {len(seeds) * 4 * edits}",
    )
    number(f"races: without turns, {what}: our edits refused for a broken file", refused)
    number(f"races: without turns, {what}: files that the others broke by themselves", broken)
    number(f"races: without turns, {what}: profiles that were there before, to the byte", f"{kept} of {kept}")
    number(f"races: without turns, {what}: writes by the AWS CLI and by the script", f"{cli} and {slow}")
    return refused, broken


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_without_turns_everything_survives_in_twenty_runs(tmp_path: Path, record_property: Number) -> None:
    """The AWS CLI writes to a new profile each time, so the two cannot break the file by themselves."""
    assert race(tmp_path, range(20), 6, "c{number}", record_property) == (0, 0)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_where_the_others_break_the_file_an_edit_of_ours_is_refused_and_never_lost(
    tmp_path: Path, record_property: Number
) -> None:
    """The AWS CLI writes to one profile: a file that the two broke by themselves stays broken."""
    refused, broken = race(tmp_path, range(20), 6, "cli", record_property)
    assert refused == 0 or broken > 0


@pytest.mark.timeout(300)
def test_without_turns_everything_survives(tmp_path: Path, record_property: Number) -> None:
    assert race(tmp_path, range(1, 2), 2, "c{number}", record_property) == (0, 0)
