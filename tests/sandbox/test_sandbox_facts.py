"""The sandbox against the facts about AWS, row by row, by real AWS clients over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keyturn_sandbox import Sandbox
from tests.sandbox import facts_errors, facts_iam, facts_rotation, facts_sts
from tests.sandbox.iam_bench import Bench

TABLE = {
    fact: ask
    for module in (facts_sts, facts_errors, facts_iam, facts_rotation)
    for fact, ask in module.facts.rows.items()
}


@pytest.fixture(scope="module")
def bench(sandbox: Sandbox, client: Callable[..., Any]) -> Bench:
    return Bench(sandbox, client)


@pytest.fixture(scope="module")
def verified() -> set[str]:
    """The facts verified so far."""
    return set()


@pytest.mark.parametrize("fact", TABLE)
def test_fact(fact: str, bench: Bench, verified: set[str]) -> None:
    bench.sandbox.faults.clear()
    TABLE[fact](bench)
    verified.add(fact)


def test_the_whole_table_was_asked(
    verified: set[str], request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    count = sum(item.name.startswith("test_fact[") for item in request.session.items)
    if count < len(TABLE):
        pytest.skip("only a part of the table was chosen")
    record_property("sandbox: facts held", len(verified))
    assert verified == set(TABLE)
