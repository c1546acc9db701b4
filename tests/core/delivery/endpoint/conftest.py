"""A person whose programs have endpoints, in a sandbox of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.delivery.endpoint.exec_program import Program, started
from tests.end_to_end.conftest import person as newly_founded
from tests.end_to_end.person import Person

__all__ = ["newly_founded"]


@pytest.fixture(scope="module")
def person(newly_founded: Person) -> Person:
    """Somebody whose `ci` profiles are managed."""
    newly_founded.does("adopt", "ci-deploy", "--yes")
    return newly_founded


@pytest.fixture
def program(person: Person) -> Iterator[Program]:
    """One that runs by `exec ci-release --endpoint`."""
    with started(person) as running:
        yield running


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Of a process without anything yet."""
    return {"HOME": str(tmp_path), "KEYTURN_HOME": str(tmp_path / "k")}
