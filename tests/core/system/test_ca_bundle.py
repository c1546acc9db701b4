"""A CA bundle is a regular file of at most 1 MiB, read once without waiting."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

from keyturn.model.errors import KeyturnError
from keyturn.system.ca_bundle import MAX_BYTES, CaBundle


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_its_content_stays_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("own")
    bundle = CaBundle(str(path))
    path.unlink()
    os.mkfifo(path)
    assert [Path(bundle.path).read_text() for _ in range(2)] == ["own", "own"]


def test_it_is_released_with_the_object(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"x" * MAX_BYTES)
    gc.collect()
    before = descriptors()
    for _ in range(20):
        CaBundle(str(path))
    gc.collect()
    assert descriptors() == before


@pytest.mark.parametrize(
    ("name", "why"),
    [("fifo", "not a regular file"), ("folder", "not a regular file"), ("huge", "larger than 1 MiB"),
        ("absent", "No such file"), ("a\0b", "no valid path"), ("\ud800", "no valid path")],
)  # fmt: skip
def test_anything_else_is_one_line(tmp_path: Path, name: str, why: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").write_bytes(b"x" * (MAX_BYTES + 1))
    started = time.monotonic()
    with pytest.raises(KeyturnError) as caught:
        CaBundle(f"{tmp_path}/{name}")
    assert time.monotonic() - started < 1
    assert why in caught.value.line()
    assert caught.value.line().isprintable()


def test_a_long_path_is_cut_in_the_line() -> None:
    with pytest.raises(KeyturnError) as caught:
        CaBundle("/" + "x" * 10_000)
    assert len(caught.value.line()) < 500
