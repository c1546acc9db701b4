"""Keyturn's own writers beside each other: every edit is in the file at the end, and no reader sees half a
file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.awsconfig.document import FileKind
from tests.resilience.concurrency import programs

NAMES = [f"p{number}" for number in range(40)]
OLD = b"# mine\r\n" + b"".join(b"[p%d]\nregion = eu-west-1\n" % n for n in range(40))
WRITERS = "abcdefgh"
EDITS = 25
Number = Callable[[str, object], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder_path = tmp_path / "aws"
    folder_path.mkdir(mode=0o700)
    return folder_path


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "names",
    [("config",), pytest.param(("config", "credentials"), marks=pytest.mark.campaign)],
    ids=["one", "two"],
)
def test_eight_writers_with_twenty_five_edits_each_lose_none(
    folder: Path, tmp_path: Path, names: tuple[str, ...], record_property: Number
) -> None:
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(OLD)
    programs.finish(
        [programs.start(programs.WRITER, tmp_path / "locks", name, EDITS, *paths) for name in WRITERS], 280
    )
    for path in paths:
        kind = FileKind.CREDENTIALS if path.name == "credentials" else FileKind.CONFIG
        edits = {key for key in programs.keys_of(path, kind) if key.startswith("k_")}
        record_property(f"races: of 200 edits by eight of our writers, in {path.name}", len(edits))
        assert len(edits) == len(WRITERS) * EDITS
        assert path.read_bytes().startswith(OLD)
    assert sorted(one.name for one in folder.iterdir()) == sorted(names)


def read_beside_writers(
    folder: Path, tmp_path: Path, readers: int, reads: int, record_property: Number
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    readers_running = [
        programs.start(programs.READER, path, reads, ",".join(NAMES), environ=programs.environment(path))
        for _ in range(readers)
    ]
    edits = 0
    while any(reader.poll() is None for reader in readers_running):
        # The same settings repeat, so that the file does not grow with the time of the test.
        writers = [programs.start(programs.WRITER, tmp_path / "locks", name, 10, path) for name in "ab"]
        programs.finish(writers)
        edits += 20
        (tmp_path / "stop").touch()
    counts = [tuple(map(int, line.split())) for line in programs.finish(readers_running)]
    done, torn = (sum(column) for column in zip(*counts, strict=True))
    record_property("races: reads with botocore's parser beside our writers", done)
    record_property("races: reads of a torn file", torn)
    record_property("races: our edits while they read", edits)
    assert torn == 0
    assert done >= readers * reads


@pytest.mark.timeout(300)
def test_a_reader_never_sees_half_a_file(folder: Path, tmp_path: Path, record_property: Number) -> None:
    read_beside_writers(folder, tmp_path, 1, 500, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_readers_never_see_half_a_file_in_a_hundred_thousand_reads(
    folder: Path, tmp_path: Path, record_property: Number
) -> None:
    read_beside_writers(folder, tmp_path, 4, 25_000, record_property)
