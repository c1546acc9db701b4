"""Conversion of dataclasses to JSON tables and back by field types.

:func:`stored` marks fields whose stored form differs. A dataclass of a stored file has the field
    `other_fields` with the metadata :data:`OTHER`, which holds the keys of its table that this version does
    not know; they are written back, because a later version of keyturn may need them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache, partial
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

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
    if any("encode" in member.meta for member in _members(type(value))):
        raise TypeError(f"a {type(value).__name__} may hold a secret")
    return to_secret_table(value)


def to_secret_table(value: Any) -> dict[str, Any]:
    """Return a dataclass as :func:`to_table` does, with the values of fields that have `encode`. Only for
    encryption.
    """
    table: dict[str, Any] = {}
    for member in _members(type(value)):
        item, meta = getattr(value, member.name), member.meta
        if member.is_local or ("omit" in meta and item == member.default()):
            continue
        if member.is_other:
            table = {**item, **table}
            continue
        if member.is_flat:
            table |= to_table(item)
        else:
            table[member.key] = _encode(item, meta)
    return table


def from_table(kind: type[T], table: Mapping[str, Any]) -> T:
    """Return the dataclass that :func:`to_table` stored.

    A missing key gives the field's default, or None where the type allows it.

    :raises KeyError: if a required key is missing.
    :raises ValueError: or TypeError, AttributeError: if a value is not of the field's type.
    """
    given: dict[str, Any] = {}
    for member in _members(kind):
        if member.is_local:
            continue
        if member.is_other:
            known = keys_of(kind)
            given[member.name] = {key: item for key, item in table.items() if key not in known}
        elif member.is_flat:
            keys = keys_of(member.hint) & table.keys()
            given[member.name] = from_table(member.hint, {key: table[key] for key in keys})
        elif member.key in table or member.is_required:
            given[member.name] = member.decode(table[member.key])
        elif not member.has_default:
            given[member.name] = None
    return kind(**given)


def keys_of(kind: Any) -> frozenset[str]:
    """Return the keys of a dataclass's table that this version knows, without those of flat fields."""
    return _keys(kind)


@dataclass(frozen=True, slots=True)
class _Member:
    """Stored form of one field. It is worked out once for each class, because an index has thousands of
    tables.
    """

    name: str
    key: str
    hint: Any
    """Type of the field."""
    meta: Mapping[str, Any]
    default: Callable[[], Any]
    has_default: bool
    is_required: bool
    """True if the table must have the key."""
    is_local: bool
    is_other: bool
    is_flat: bool
    decode: Callable[[Any], Any]


def _members_of(kind: Any) -> tuple[_Member, ...]:
    hints = get_type_hints(kind)
    return tuple(_member(field, hints[field.name]) for field in fields(kind))


def _keys_of(kind: Any) -> frozenset[str]:
    return frozenset(member.key for member in _members(kind) if not member.is_other)


_members: Callable[[Any], tuple[_Member, ...]] = lru_cache(maxsize=128)(_members_of)
_keys: Callable[[Any], frozenset[str]] = lru_cache(maxsize=128)(_keys_of)


def _member(field: Field[Any], hint: Any) -> _Member:
    has_factory = field.default_factory is not MISSING
    has_default = field.default is not MISSING or has_factory
    meta = field.metadata
    return _Member(
        name=field.name,
        key=str(meta.get("name", field.name)),
        hint=hint,
        meta=meta,
        default=cast("Callable[[], Any]", field.default_factory) if has_factory else lambda: field.default,
        has_default=has_default,
        is_required=not has_default and not _allows_none(hint),
        is_local="local" in meta,
        is_other="other" in meta,
        is_flat="flat" in meta,
        decode=_decoder(hint, meta),
    )


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


def _decoder(hint: Any, meta: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return the function that decodes a value of the type `hint`."""
    if _allows_none(hint):
        (inner,) = (one for one in get_args(hint) if one is not type(None))
        if inner is datetime:
            return from_iso
        decode_inner = _decoder(inner, meta)
        return lambda value: None if value is None else decode_inner(value)
    if "decode" in meta:
        return cast("Callable[[Any], Any]", meta["decode"])
    origin = get_origin(hint)
    if origin is tuple:
        decode_item = _decoder(get_args(hint)[0], meta)
        return lambda value: tuple([decode_item(each) for each in value])
    if origin is not None and issubclass(origin, Mapping):
        decode_key, decode_item = (_decoder(of, meta) for of in get_args(hint))
        return lambda value: {decode_key(name): decode_item(each) for name, each in value.items()}
    return _plain_decoder(hint, meta)


def _plain_decoder(hint: Any, meta: Mapping[str, Any]) -> Callable[[Any], Any]:
    if hint is Any:
        return lambda value: value
    if hint is bool:
        return bool
    if hint is datetime:
        return _moment
    if is_dataclass(hint):
        kind = cast("type[Any]", hint)
        return (lambda value: kind(*value)) if "row" in meta else partial(from_table, kind)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    return partial(_checked, (int, float) if hint is float else hint)


def _moment(value: Any) -> datetime:
    moment = from_iso(value)
    if moment is None:
        raise ValueError
    return moment


def _checked(expected: Any, value: Any) -> Any:
    if not isinstance(value, expected):
        raise TypeError
    return value
