"""A person whose programs have endpoints, in a sandbox of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.endpoint.program import Program, started
from tests.whole.conftest import person
from tests.whole.person import Person

__all__ = ["person", "program"]


@pytest.fixture(scope="module", autouse=True)
def _adopted(person: Person) -> None:
    person.does("adopt", "ci-deploy", "--yes")


@pytest.fixture
def program(person: Person) -> Iterator[Program]:
    """One that runs by `exec ci-release --endpoint`."""
    with started(person) as running:
        yield running
