"""Our writers beside `aws configure set`, which truncates in place, and beside a script that takes its time to write."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.awsfiles.document import parse
from tests.races import programs

OLD = b"# mine\n" + b"".join(b"[profile p%d]\nregion = eu-west-1\n" % n for n in range(40))
Number = Callable[[str, object], None]


class Beside:
    """One file with forty profiles, and everybody at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        aws = folder / "aws"
        aws.mkdir(mode=0o700, parents=True)
        self.path = aws / "config"
        self.path.write_bytes(OLD)
        self.environ = programs.environment(self.path)

    def run(self, seed: int, edits: int) -> tuple[int, int]:
        """Four of our writers beside two that are not ours; how many edits `aws configure set` and the script made."""
        others = [
            programs.start(self.cli(seed), self.path, "cli", 10_000, environ=self.environ),
            programs.start(programs.SLOW, self.path, seed),
        ]
        while not all(key in self.path.read_bytes() for key in (b"c_cli_0 =", b"f_0 =")):
            assert all(one.poll() is None for one in others), "one of the others ended"
            time.sleep(0.01)
        ours = [
            programs.start(programs.OURS, self.folder / "locks", name, edits, self.path) for name in "abcd"
        ]
        try:
            programs.finish(ours, 250)
        finally:
            (self.folder / "stop").touch()
            made = programs.finish(others)
        return int(made[0]), int(made[1])

    @staticmethod
    def cli(seed: int) -> str:
        """The program itself, or, more often per second, its command line in one interpreter."""
        return programs.CLI if seed % 2 else programs.CLI_PROGRAM

    def kept(self) -> int:
        """How many of the profiles that were there before are there, as they were."""
        document = parse(self.path.read_bytes())
        sections = [document.section(f"profile p{number}") for number in range(40)]
        return sum(section is not None and section.values == {"region": "eu-west-1"} for section in sections)

    def ours(self, edits: int) -> int:
        """How many of our edits are there."""
        found = programs.keys_of(self.path)
        return len({f"k_{name}_{number}" for name in "abcd" for number in range(edits)} & found)


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
    """No promise of ours: what is to be expected where nobody takes care."""
    beside = Beside(tmp_path)
    loops = [programs.start(programs.CLI_ALONE, name, 50, environ=beside.environ) for name in "abcd"]
    made = sum(int(line) for line in programs.finish(loops, 280))
    data = beside.path.read_bytes()
    left = sum(b"c_%c_%d = " % (ord(name), number) in data for name in "abcd" for number in range(50))
    record_property(
        "races: control, edits by four AWS CLI loops alone, present", f"{left} of 200 ({made} said done)"
    )
