"""A user with a vault, in their own sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyturn_sandbox import Sandbox
from tests.end_to_end.person import Person


@pytest.fixture
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A user with the seeded files and no vault yet."""
    with Sandbox(tmp_path_factory.mktemp("newcomer")) as sandbox:
        person = Person(sandbox)
        try:
            yield person
        finally:
            person.leaves()


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A user with the seeded files and an open vault, for a whole module."""
    with Sandbox(tmp_path_factory.mktemp("person")) as sandbox:
        somebody = Person(sandbox)
        somebody.makes_vault()
        try:
            yield somebody
        finally:
            somebody.leaves()
