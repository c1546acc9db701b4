"""The size of the source is counted in statements, so prose and layout do not change it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.benchmarks import count_statements

SOURCE = '''\
"""Module."""
import os


class Thing:
    """Class."""

    size: int = 1

    async def grow(self) -> None:
        """Function."""
        if os.name:
            self.size += 1
'''


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one revision, `first`: two statements in core, one in tui."""
    for tree, source in (("core", "a = 1\nb = 2\n"), ("tui", "c = 3\n")):
        (tmp_path / tree).mkdir()
        (tmp_path / tree / "module.py").write_text(source)
        (tmp_path / tree / "notes.txt").write_text("no Python {")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=keyturn", "-c", "user.email=keyturn@example.com")
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first"), ("tag", "first")):
        subprocess.run([*git, *words], check=True)
    return tmp_path


def test_statements_of_every_level_count() -> None:
    assert count_statements.count("import os\nif os.name:\n    while True:\n        break\n") == 4


def test_docstrings_do_not_count() -> None:
    bare = "\n".join(line for line in SOURCE.splitlines() if '"""' not in line)
    assert count_statements.count(SOURCE) == count_statements.count(bare) == 6


def test_a_revision_counts_as_it_was(repository: Path) -> None:
    (repository / "core" / "module.py").write_text("")
    assert count_statements.count_revision("first", repository) == {"core": 2, "tui": 1}


def test_a_folder_counts_as_it_is(repository: Path) -> None:
    (repository / "core" / "module.py").write_text("")
    assert count_statements.count_folder(repository) == {"core": 0, "tui": 1}


def test_a_revision_that_git_does_not_know_is_named(repository: Path) -> None:
    with pytest.raises(LookupError, match="second"):
        count_statements.count_revision("second", repository)
