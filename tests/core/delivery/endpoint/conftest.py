"""Users whose programs have endpoints, each in its own sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.delivery.endpoint.exec_program import Program, start_program
from tests.end_to_end.conftest import person as newly_founded
from tests.end_to_end.person import Person

__all__ = ["newly_founded"]


@pytest.fixture(scope="module")
def person(newly_founded: Person) -> Person:
    """A user whose `ci` profiles are managed."""
    newly_founded.does("adopt", "ci-deploy", "--yes")
    return newly_founded


@pytest.fixture
def program(person: Person) -> Iterator[Program]:
    """A program that runs under `exec ci-release --endpoint`."""
    with start_program(person) as running:
        yield running


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process that has no variables yet."""
    return {"HOME": str(tmp_path), "KEYTURN_HOME": str(tmp_path / "k")}
