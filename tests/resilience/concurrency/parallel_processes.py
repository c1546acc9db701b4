"""One file with forty profiles and concurrent writers: four of keyturn's, the AWS CLI, and a slow script."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from keyturn.awsconfig.document import parse
from tests.resilience.concurrency import programs

OLD = b"# mine\n" + b"".join(b"[profile p%d]\nregion = eu-west-1\n" % n for n in range(40))


@dataclass(frozen=True)
class EditReport:
    """The reports of keyturn's writers on their edits."""

    done: list[str]
    refused: list[tuple[int, str]]
    """Exit code and line."""


class SharedFileRace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        aws = folder / "aws"
        aws.mkdir(mode=0o700, parents=True)
        self.path = aws / "config"
        self.path.write_bytes(OLD)
        self.environ = programs.environment(self.path)

    def run(self, seed: int, edits: int) -> tuple[int, int]:
        """Run four of keyturn's writers beside two foreign ones. Return the number of edits by `aws configure
        set` and by the script."""
        others = [
            programs.start(self.cli_program(seed), self.path, "cli", 10_000, environ=self.environ),
            programs.start(programs.SLOW_SCRIPT, self.path, seed),
        ]
        while not all(key in self.path.read_bytes() for key in (b"c_cli_0 =", b"f_0 =")):
            assert all(one.poll() is None for one in others), "one of the others ended"
            time.sleep(0.01)
        writers = [
            programs.start(programs.WRITER, self.folder / "locks", name, edits, self.path) for name in "abcd"
        ]
        try:
            programs.finish(writers, 250)
        finally:
            (self.folder / "stop").touch()
            outputs = programs.finish(others)
        return int(outputs[0]), int(outputs[1])

    @staticmethod
    def cli_program(seed: int) -> str:
        """Return the program that runs the AWS CLI or, for more edits per second, its command line in one
        interpreter."""
        return programs.CLI if seed % 2 else programs.CLI_PROGRAM

    def count_kept_profiles(self) -> int:
        """Return the number of earlier profiles that still exist unchanged."""
        document = parse(self.path.read_bytes())
        sections = [document.section(f"profile p{number}") for number in range(40)]
        return sum(section is not None and section.values == {"region": "eu-west-1"} for section in sections)

    def count_own_edits(self, edits: int) -> int:
        """Return the number of keyturn's edits in the file."""
        keys = programs.keys_of(self.path)
        return len({f"k_{name}_{number}" for name in "abcd" for number in range(edits)} & keys)

    def run_without_turns(self, seed: int, edits: int, profile: str) -> tuple[EditReport, int, int]:
        """Run the writers with foreign ones that do not take turns with each other.

        :param profile: the profile that the AWS CLI writes to.
        """
        alone = programs.CLI_ALONE if seed % 2 else programs.CLI_PROGRAM_ALONE
        top = Path(__file__).parents[3]
        others = [
            programs.start(alone, profile, 10_000, environ=self.environ),
            programs.start(programs.SLOW_SCRIPT_ALONE, self.path, seed, top),
        ]
        writers: list[subprocess.Popen[str]] = []
        try:
            while not (b"c_c_" in (data := self.path.read_bytes()) and b"f_" in data):
                assert all(one.poll() is None for one in others), "one of the others ended"
                time.sleep(0.01)
            writers += [
                programs.start(programs.REPORTING_WRITER, self.folder / "locks", name, edits, self.path)
                for name in "abcd"
            ]
            reports = [json.loads(line) for line in programs.finish(writers, 600)]
        finally:
            (self.folder / "stop").touch()
            outputs = programs.finish(others, 600)
        report = EditReport(
            [key for edits_done, _ in reports for key in edits_done],
            [(code, line) for _, refused in reports for code, line in refused],
        )
        return report, int(outputs[0]), int(outputs[1])
