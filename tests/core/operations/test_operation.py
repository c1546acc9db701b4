"""An operation gives its arguments and results as JSON and takes them back in the format of the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from keyturn.model.profile import Delivery, DiffLine, Plan
from keyturn.model.secret import Secret
from keyturn.operations import registry
from keyturn.operations.context import Context
from keyturn.operations.operation import operation

HERE = cast("Context", None)


@operation("try", as_name="as", min_left="least_seconds")
def attempt(
    _context: Context,
    name: str,
    to: Delivery = Delivery.NOWHERE,
    names: Sequence[str] = (),
    as_name: str | None = None,
    min_left: timedelta | None = None,
    *,
    secret: Secret | None = None,
    is_sure: bool = False,
) -> tuple[str, ...]:
    """Return the argument."""
    given = (name, to, names, as_name, min_left, secret.reveal() if secret else None, is_sure)
    return tuple(repr(one) for one in given)


def test_arguments_are_plain_values_under_their_names_on_the_wire() -> None:
    given = attempt.arguments(
        "a", Delivery.CREDENTIALS_FILE, ["b"], "c", timedelta(minutes=1), secret=Secret("s"), is_sure=True
    )
    assert given == {
        "name": "a", "to": "credentials-file", "names": ["b"], "as": "c", "least_seconds": 60, "secret": "s",
        "is_sure": True
    }  # fmt: skip


def test_a_run_with_json_is_the_call_with_values() -> None:
    called = attempt(
        HERE,
        "a",
        Delivery.CREDENTIALS_FILE,
        ("b",),
        "c",
        timedelta(minutes=1),
        secret=Secret("s"),
        is_sure=True,
    )
    arguments = attempt.arguments(
        "a", Delivery.CREDENTIALS_FILE, ["b"], "c", timedelta(minutes=1), secret=Secret("s"), is_sure=True
    )
    assert attempt.run(HERE, arguments) == list(called)
    assert attempt.result_from_json(list(called)) == called


def test_what_is_left_out_has_its_default_and_what_is_unknown_is_ignored() -> None:
    assert attempt.run(HERE, {"name": "a", "files": ["x", "y"], "later": 1}) == list(attempt(HERE, "a"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, KeyError),
        ({"name": "a", "to": "the moon"}, ValueError),
        ({"name": "a", "names": 5}, TypeError),
        ({"name": "a", "least_seconds": "soon"}, ValueError),
        ({"name": "a", "least_seconds": 10**20}, OverflowError),
    ],
)
def test_arguments_that_are_missing_or_off_are_refused(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        attempt.run(HERE, arguments)


def test_text_is_taken_from_any_plain_value_as_the_wire_always_has() -> None:
    assert attempt.run(HERE, {"name": 5}) == list(attempt(HERE, "5"))


@operation("look")
def planned(_context: Context) -> Plan:
    """Return a plan."""
    return Plan("release", ("a",), (), (DiffLine("+", "x"),), ("s",), (), digest="d")


def test_a_dataclass_is_a_table_and_comes_back() -> None:
    table = cast("dict[str, Any]", planned.run(HERE, {}))
    assert table == {
        "action": "release", "names": ["a"], "also": [], "diff": [["+", "x"]], "secrets": ["s"],
        "warnings": [], "digest": "d"
    }  # fmt: skip
    assert planned.result_from_json(table) == planned(HERE)


def test_names_on_the_wire_stay() -> None:
    assert sorted(registry.OPERATIONS) == [
        "adopt", "allow-key-delivery", "deliver", "document", "forbid-key-delivery", "hand", "mfa-devices",
        "plan-release", "refresh", "refresh-many", "release",
        "rotate-begin", "rotate-drop",
        "rotate-ending", "rotate-finish", "rotate-status", "rotate-step", "rotate-undo", "stop",
    ]  # fmt: skip
