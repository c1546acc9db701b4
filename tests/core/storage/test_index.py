"""The index remembers that the recovery key was shown; until then, keyturn reminds of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.storage.index import Index, IndexFile
from keyturn.system.file_fingerprint import FileFingerprint


@pytest.fixture
def file(tmp_path: Path) -> IndexFile:
    return IndexFile(tmp_path / "index.json")


def test_the_recovery_key_was_not_shown_before_it_is_noted(file: IndexFile) -> None:
    assert not file.load().recovery_key_seen
    file.change(lambda index: index.update("ci", last_use=None))
    assert not file.load().recovery_key_seen


@pytest.mark.parametrize("seen", [True, False])
def test_what_was_noted_of_the_recovery_key_is_read_back(file: IndexFile, seen: bool) -> None:
    def note(index: Index) -> Index:
        return replace(index, recovery_key_seen=seen)

    file.change(note)
    assert file.load().recovery_key_seen is seen


def test_a_change_reads_the_file_though_its_stat_values_seem_unchanged(
    file: IndexFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system that caches them, after another host's change."""
    monkeypatch.setattr(FileFingerprint, "is_reliable", lambda _: True)
    monkeypatch.setattr(FileFingerprint, "is_unchanged", lambda _: True)
    file.change(lambda index: index.update("ci", accepted_seconds=1))
    assert list(file.load().profiles) == ["ci"]
    IndexFile(file.path).change(lambda index: index.update("other", accepted_seconds=2))
    file.change(lambda index: index.update("third", accepted_seconds=3))
    assert list(IndexFile(file.path).load().profiles) == ["ci", "other", "third"]


@pytest.mark.parametrize(("seconds", "opened"), [(0.9, 1), (1.1, 2)])
def test_a_reading_is_reused_for_a_second(
    file: IndexFile, monkeypatch: pytest.MonkeyPatch, seconds: float, opened: int
) -> None:
    file.change(lambda index: index.update("ci", accepted_seconds=1))
    readings: list[Path] = []
    clock = iter((0.0, seconds))
    monkeypatch.setattr("keyturn.storage.index.files.read", readings.append)
    monkeypatch.setattr("keyturn.storage.index.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(FileFingerprint, "is_reliable", lambda _: True)
    monkeypatch.setattr(FileFingerprint, "is_unchanged", lambda _: True)
    file.load()
    file.load()
    assert len(readings) == opened
