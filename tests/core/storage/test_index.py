"""The index remembers that the recovery key was shown; until then, keyturn reminds of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keyturn.storage.index import Index, IndexFile


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
