"""A user with a vault, in their own sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.person import Person, new_person


@pytest.fixture
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A user with the seeded files and no vault yet."""
    with new_person(tmp_path_factory.mktemp("newcomer")) as person:
        yield person


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A user with the seeded files and an open vault, for a whole module."""
    with new_person(tmp_path_factory.mktemp("person")) as somebody:
        somebody.makes_vault()
        yield somebody
