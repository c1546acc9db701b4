"""Another program saves the file during a write by keyturn: before each of its system calls, in every way of
saving."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from keyturn.awsconfig.document import Document, FileKind, parse, set_items
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import ChangeRefused, KeyturnError
from tests.resilience.concurrency.editors import WAYS
from tests.resilience.concurrency.step_scheduler import Stepper

OLD = b"# mine\n" + b"".join(b"[profile p%d]\nregion = eu-west-1\n" % n for n in range(40))
THEIRS = b"[profile theirs]\nregion = us-east-1\n"
Number = Callable[[str, object], None]


def ours(document: Document) -> bytes:
    return set_items(document, "profile p1", {"output": "json"})


def theirs(data: bytes) -> bytes:
    return data.replace(b"[profile p3]\nregion = eu-west-1", b"[profile p3]\nregion = ap-east-1") + THEIRS


class Case:
    """One edit by keyturn, with a foreign save that begins before keyturn's system call number `at`."""

    def __init__(self, folder: Path, way: str, at: int, *, stepwise: bool, stale: bool) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        shutil.rmtree(folder.with_name("locks"), ignore_errors=True)
        self.folder = folder
        self.path = folder / "config"
        self.path.write_bytes(OLD)
        os.utime(self.path, (past := time.time() - 60, past))
        self.way, self.at, self.stepwise, self.stale = way, at, stepwise, stale
        self.backups: list[bytes] = []
        self.stepper = Stepper(self._before)
        self.save: Iterator[None] | None = None
        self.refused: KeyturnError | None = None

    def __str__(self) -> str:
        call = self.stepper.calls[self.at] if self.at < len(self.stepper.calls) else ("the end",)
        loaded = "loaded before" if self.stale else "just loaded"
        pieces = "step by step" if self.stepwise else "at once"
        return f"{self.way}, {loaded}, {pieces}, from call {self.at} ({' '.join(call)})"

    def _before(self, number: int) -> None:
        if number == self.at:
            loaded = (lambda: OLD) if self.stale else self.path.read_bytes
            self.save = WAYS[self.way](self.path, loaded, theirs)
        if self.save is not None:
            for _ in itertools.islice(self.save, 1 if self.stepwise else None):
                pass

    def run(self) -> None:
        files = SharedFiles(
            self.folder.with_name("locks"),
            keep=lambda _, data: self.backups.append(data),
            timing=self.stepper.timing(),
        )
        with self.stepper.count_calls():
            try:
                files.edit(self.path, ours, kind=FileKind.CONFIG)
            except KeyturnError as error:
                self.refused = error
        for _ in self.save or ():
            pass

    def lost_edits(self) -> list[str]:
        """Return the edits that are neither in the file nor, where keyturn reported failure, in a backup or
        an error."""
        data = self.path.read_bytes()
        document = parse(data)
        missing = [f"p{n}" for n in range(40) if document.section(f"profile p{n}") is None]
        if THEIRS not in data and not (self.refused and any(THEIRS in one for one in self.backups)):
            missing.append("theirs")
        section = document.section("profile p1")
        if self.refused is None and (section is None or section.item("output") is None):
            missing.append("ours")
        if self.refused is not None and not isinstance(self.refused, ChangeRefused):
            missing.append("exit code 5")
        left = sorted(one.name for one in self.folder.iterdir() if one.name.startswith(".keyturn-"))
        return missing + left


def last_reading_call(folder: Path) -> int:
    """Return the number of keyturn's last call that looks at the file if no other program comes in. A save of
    older contents after that is the same as one made tomorrow."""
    case = Case(folder, "nano", -1, stepwise=False, stale=False)
    case.run()
    return case.stepper.last_read(case.path)


def exchange_call(folder: Path) -> int:
    """Return the number of the call that puts keyturn's version in place of the old one."""
    case = Case(folder, "nano", -1, stepwise=False, stale=False)
    case.run()
    return [name for name, _ in case.stepper.calls].index("exchange")


def cases(folder: Path, points: Sequence[int]) -> Iterator[Case]:
    for way, stepwise, stale, at in itertools.product(WAYS, (True, False), (True, False), points):
        yield Case(folder, way, at, stepwise=stepwise, stale=stale)


def run_cases(all_cases: Iterator[Case], number: Number) -> None:
    count = stopped = 0
    failures = []
    for case in all_cases:
        case.run()
        count += 1
        stopped += case.refused is not None
        if missing := case.lost_edits():
            failures.append(f"{case}: {', '.join(missing)}; {case.refused}")
    number("races: saves by others amid a write of ours", count)
    number("races: saves after which ours stopped with a reason", stopped)
    assert not failures, f"{len(failures)} of {count}:\n" + "\n".join(failures[:40])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory if there is one, because thousands of writes to a disk take long."""
    memory = Path("/dev/shm")  # noqa: S108  # a private folder is created in it
    made = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    yield made / "aws"
    shutil.rmtree(made)


def test_a_save_in_any_moment_of_ours_is_joined_or_told(folder: Path, record_property: Number) -> None:
    """Every seventh case of the campaign."""
    points = range(last_reading_call(folder) + 1)
    run_cases(itertools.islice(cases(folder, points), 0, None, 7), record_property)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_a_save_in_every_moment_of_ours_is_joined_or_told(folder: Path, record_property: Number) -> None:
    run_cases(cases(folder, range(last_reading_call(folder) + 1)), record_property)


def test_a_save_right_before_ours_takes_its_place_is_joined_or_told(
    folder: Path, record_property: Number
) -> None:
    """After keyturn's last look, the replaced file is compared once more."""
    run_cases(cases(folder, [exchange_call(folder)]), record_property)
