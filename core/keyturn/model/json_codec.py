"""Conversion of dataclasses to JSON tables and back by field types.

:func:`stored` marks fields whose stored form differs. A dataclass of a stored file has the field
    `other_fields` with the metadata :data:`OTHER`, which holds the keys of its table that this version does
    not know; they are written back, because a later version of keyturn may need them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from keyturn.model.text import from_iso, iso

T = TypeVar("T")
OtherFields = Mapping[str, Any]


def stored(
    name: str = "",
    *,
    flat: bool = False,
    row: bool = False,
    exact: bool = False,
    omit: bool = False,
    local: bool = False,
    other: bool = False,
    encode: Callable[[Any], object] | None = None,
    decode: Callable[[Any], object] | None = None,
) -> dict[str, object]:
    """Return the metadata of a dataclass field whose stored form differs from the plain one.

    :param name: the key in the table, if it is not the field's name.
    :param flat: the members of the nested dataclass are stored in the outer table.
    :param row: the nested dataclass is a list of its members.
    :param exact: a time keeps its fraction of a second and its offset.
    :param omit: the key is omitted if the value is the field's default.
    :param local: the field is not stored; reading gives it its default.
    :param other: the field holds the unknown keys of the table; see :data:`OTHER`.
    :param encode: returns the JSON form of a value other than None, for a type that the codec rejects.
    :param decode: the reverse of `encode`.
    """
    given = {
        "name": name, "flat": flat, "row": row, "exact": exact, "omit": omit, "local": local,
        "other": other, "encode": encode, "decode": decode,
    }  # fmt: skip
    return {key: value for key, value in given.items() if value}


#: Metadata of a dataclass field for the keys that this version does not know. Leave it out of the `repr`,
#: because a later version may keep a secret there.
OTHER = stored(other=True)


def to_table(value: Any) -> dict[str, Any]:
    """Return a dataclass as a table of plain JSON values.

    :raises TypeError: if a member has no JSON form, or a field has `encode`, because it may hold a secret and
        most tables are not encrypted.
    """
    if any("encode" in field.metadata for field in fields(value)):
        raise TypeError(f"a {type(value).__name__} may hold a secret")
    return to_secret_table(value)


def to_secret_table(value: Any) -> dict[str, Any]:
    """Return a dataclass as :func:`to_table` does, with the values of fields that have `encode`. Only for
    encryption.
    """
    table: dict[str, Any] = {}
    for field in fields(value):
        member, meta = getattr(value, field.name), field.metadata
        if "local" in meta or ("omit" in meta and member == _default(field)):
            continue
        if "other" in meta:
            table = {**member, **table}
            continue
        if "flat" in meta:
            table |= to_table(member)
        else:
            table[_key(field)] = _encode(member, meta)
    return table


def from_table(kind: type[T], table: Mapping[str, Any]) -> T:
    """Return the dataclass that :func:`to_table` stored.

    A missing key gives the field's default, or None where the type allows it.

    :raises KeyError: if a required key is missing.
    :raises ValueError: or TypeError, AttributeError: if a value is not of the field's type.
    """
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    given: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass, as its callers say
        hint, meta = hints[field.name], field.metadata
        if "local" in meta:
            continue
        if "other" in meta:
            given[field.name] = {key: item for key, item in table.items() if key not in keys_of(kind)}
        elif "flat" in meta:
            given[field.name] = from_table(hint, {key: table[key] for key in keys_of(hint) & table.keys()})
        elif _key(field) in table or (not _has_default(field) and not _allows_none(hint)):
            given[field.name] = _decode(hint, table[_key(field)], meta)
        elif not _has_default(field):
            given[field.name] = None
    return kind(**given)


def keys_of(kind: Any) -> frozenset[str]:
    """Return the keys of a dataclass's table that this version knows, without those of flat fields."""
    return frozenset(_key(field) for field in fields(kind) if "other" not in field.metadata)


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _key(field: Field[Any]) -> str:
    return str(field.metadata.get("name", field.name))


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _allows_none(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)


def _encode(value: Any, meta: Mapping[str, Any]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return str(value) if isinstance(value, str) else value
    if "encode" in meta:
        return meta["encode"](value)
    if isinstance(value, datetime):
        return value.isoformat() if "exact" in meta else iso(value)
    if isinstance(value, Mapping):
        return {str(key): _encode(item, meta) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_encode(item, meta) for item in value]
    if is_dataclass(value):
        return (
            [_encode(getattr(value, one.name), meta) for one in fields(value)]
            if "row" in meta
            else to_table(value)
        )
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _decode(hint: Any, value: Any, meta: Mapping[str, Any]) -> Any:
    if _allows_none(hint):
        (inner,) = (one for one in get_args(hint) if one is not type(None))
        if inner is datetime:
            return from_iso(value)
        return None if value is None else _decode(inner, value, meta)
    if "decode" in meta:
        return meta["decode"](value)
    origin = get_origin(hint)
    if origin is tuple:
        item = get_args(hint)[0]
        return tuple(_decode(item, each, meta) for each in value)
    if origin is not None and issubclass(origin, Mapping):
        key, item = get_args(hint)
        return {_decode(key, name, meta): _decode(item, each, meta) for name, each in value.items()}
    return _decode_plain(hint, value, meta)


def _decode_plain(hint: Any, value: Any, meta: Mapping[str, Any]) -> Any:
    if hint is Any or hint is bool:
        return bool(value) if hint is bool else value
    if hint is datetime:
        moment = from_iso(value)
        if moment is None:
            raise ValueError
        return moment
    if is_dataclass(hint):
        if "row" in meta:
            return hint(*value)  # type: ignore[operator]  # a dataclass is called with its members
        return from_table(hint, value)  # type: ignore[arg-type]  # the same
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    expected = int | float if hint is float else hint
    if not isinstance(value, expected):
        raise TypeError
    return value
