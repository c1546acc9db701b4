"""Dataclasses become JSON tables and come back unchanged; a value of the wrong type is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from keyturn.model.json_codec import from_table, stored, to_table
from keyturn.model.profile import Kind
from keyturn.model.secret import Secret

NOON = datetime(2026, 11, 23, 12, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=1)))


@dataclass(frozen=True)
class Point:
    x: int
    label: str = ""


@dataclass(frozen=True)
class Sample:
    name: str
    kind: Kind = Kind.ROLE
    at: datetime | None = None
    exact: datetime | None = field(default=None, metadata=stored(exact=True))
    renamed: bool = field(default=False, metadata=stored("is"))
    names: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    points: dict[str, Point] = field(default_factory=dict)
    rows: tuple[Point, ...] = field(default=(), metadata=stored(row=True))
    origin: Point = field(default=Point(0), metadata=stored(flat=True))
    empty: str = field(default="", metadata=stored(omit=True))
    secret: str = field(default="kept here", metadata=stored(local=True))
    ratio: float = 0.0


FULL = Sample(
    "a", Kind.IAM_KEY, NOON, NOON, True, ("x", "y"), (("k", "v"),), {"p": Point(1, "one")}, (Point(2, "two"),
    ), Point(3, "three"),
    "filled", ratio=1.5,
)  # fmt: skip
TABLE: dict[str, Any] = {
    "name": "a", "kind": "iam-key", "at": "2026-11-23T11:00:00Z", "exact": "2026-11-23T12:00:00.500000+01:00",
    "is": True,
    "names": ["x", "y"], "pairs": [["k", "v"]], "points": {"p": {"x": 1, "label": "one"}}, "rows": [[2,
    "two"]],
    "x": 3, "label": "three", "empty": "filled", "ratio": 1.5,
}  # fmt: skip


def test_every_kind_of_member_has_its_form() -> None:
    assert json.loads(json.dumps(to_table(FULL))) == TABLE
    assert list(to_table(FULL)) == list(TABLE), "in the order of the fields"


def test_a_table_gives_the_same_dataclass_again() -> None:
    again = from_table(Sample, TABLE)
    assert again.at == NOON.replace(microsecond=0)
    assert again.exact == NOON
    assert (again.kind, again.renamed, again.pairs, again.points, again.rows, again.origin) == (
        FULL.kind, FULL.renamed, FULL.pairs, FULL.points, FULL.rows, FULL.origin
    )  # fmt: skip
    assert again.secret == "kept here"


def test_an_empty_member_that_may_be_omitted_is_not_written_and_a_local_one_never() -> None:
    table = to_table(Sample("a"))
    assert "empty" not in table
    assert "secret" not in table
    assert table["at"] is None


@pytest.mark.parametrize("key", sorted(set(TABLE) - {"name", "x"}))
def test_a_missing_key_gives_the_default(key: str) -> None:
    whole = {name: value for name, value in TABLE.items() if name != key}
    assert from_table(Sample, whole).name == "a"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": 5}, TypeError),
        ({"name": None}, TypeError),
        ({"kind": "nothing"}, ValueError),
        ({"names": [1]}, TypeError),
        ({"names": None}, TypeError),
        ({"points": []}, AttributeError),
        ({"points": {"p": {"x": "1"}}}, TypeError),
        ({"rows": [[1, 2, 3]]}, TypeError),
        ({"ratio": "1"}, TypeError),
        ({"x": "3"}, TypeError),
    ],
)
def test_a_value_of_another_type_is_refused(change: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        from_table(Sample, {**TABLE, **change})


@pytest.mark.parametrize("table", [{}, {"kind": "role", "x": 1}])
def test_a_required_key_must_be_there(table: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        from_table(Sample, table)


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23T12:00:00", "", None, 5])
def test_an_optional_time_that_cannot_be_read_is_none(text: object) -> None:
    assert from_table(Sample, {**TABLE, "at": text}).at is None


@dataclass(frozen=True)
class Started:
    at: datetime


@pytest.mark.parametrize("text", ["yesterday", "2026-11-23T12:00:00", None])
def test_a_required_time_must_be_readable(text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # it carries no text on purpose: the value may be anything
        from_table(Started, {"at": text})
    assert from_table(Started, {"at": "2026-11-23T12:00:00Z"}).at == datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Holder:
    key: Any


@pytest.mark.parametrize("value", [Secret("x"), b"bytes", object(), {1, 2}, timedelta(1)])
def test_what_has_no_json_form_and_secrets_above_all_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"^a \w+ has no JSON form$"):
        to_table(Holder(value))
