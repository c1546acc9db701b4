"""Managed profiles: their definitions in `profiles.toml`. No secret."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from keyturn.model.errors import ChangeRefused, UnparsableFile, newer_file
from keyturn.model.json_codec import stored, to_table
from keyturn.model.profile import DEFAULT_ROTATION_DAYS, Delivery, Kind, Renew, Rotate
from keyturn.system import files

VERSION = 1
#: Hint for a file that cannot be used.
HINT = "Correct the file; it defines the managed profiles"
_STRINGS = (
    "key", "role_arn", "source_profile", "credential_source", "external_id", "mfa_serial",
    "role_session_name", "source_identity", "policy", "deliver_as",
)  # fmt: skip
_OPTIONAL = stored(omit=True)


@dataclass(frozen=True, slots=True)
class ManagedProfile:
    """One managed profile. The fields are in the order of its table in `profiles.toml`."""

    name: str = field(metadata=stored(local=True))
    kind: str
    """A member of `Kind`, or the kind of a credential provider that it has no member for."""
    key: str | None = field(default=None, metadata=_OPTIONAL)
    """Name of the vault entry with its own long-term key."""
    role_arn: str | None = field(default=None, metadata=_OPTIONAL)
    source_profile: str | None = field(default=None, metadata=_OPTIONAL)
    """Profile that signs AssumeRole; the profile itself if it also has the key."""
    credential_source: str | None = field(default=None, metadata=_OPTIONAL)
    """Source of the signing credentials instead of a source profile: `Environment`, `Ec2InstanceMetadata`
    or `EcsContainer`, in AWS's spelling.
    """
    external_id: str | None = field(default=None, metadata=_OPTIONAL)
    mfa_serial: str | None = field(default=None, metadata=_OPTIONAL)
    role_session_name: str | None = field(default=None, metadata=_OPTIONAL)
    source_identity: str | None = field(default=None, metadata=_OPTIONAL)
    policy: str | None = field(default=None, metadata=_OPTIONAL)
    """Session policy: JSON, or the path of a file that contains it."""
    deliver_as: str | None = field(default=None, metadata=_OPTIONAL)
    transitive_tags: tuple[str, ...] = field(default=(), metadata=_OPTIONAL)
    """Keys of `tags` that are passed to the next role of a chain."""
    policy_arns: tuple[str, ...] = field(default=(), metadata=_OPTIONAL)
    """Managed policies that restrict the session."""
    tags: Mapping[str, str] = field(default_factory=dict, metadata=_OPTIONAL)
    """Session tags of AssumeRole."""
    duration_seconds: int | None = field(default=None, metadata=_OPTIONAL)
    timeout: int | None = field(default=None, metadata=_OPTIONAL)
    """Seconds that the `credential_process` of its source profile may take."""
    session_none: bool = field(default=False, metadata=stored("session", omit=True))
    """Stored as `session = "none"`."""
    renew: Renew = field(default=Renew.AUTO, metadata=_OPTIONAL)
    rotation_days: int = field(default=DEFAULT_ROTATION_DAYS, metadata=_OPTIONAL)
    """0 disables the rotation policy."""
    rotate: Rotate = field(default=Rotate.ASK, metadata=_OPTIONAL)
    delivery: Delivery = Delivery.CREDENTIAL_PROCESS
    other_fields: Mapping[str, Any] = field(default_factory=dict, metadata=stored(local=True))
    """Other fields of its table: settings of its credential provider, and what a user or a later version of
    keyturn added. They are kept.
    """

    def same_source(self, other: ManagedProfile | None) -> bool:
        """Return True if `other` creates its sessions from the same source with the same parameters."""
        return other is not None and self == replace(
            other, **{name: getattr(self, name) for name in _INDEPENDENT_OF_SOURCE}
        )

    def setting(self, name: str) -> Any:
        """Return the value of a setting, by its name in `profiles.toml`, or its default."""
        return getattr(self, _FIELDS[name]) if name in _FIELDS else self.other_fields.get(name)

    def with_setting(self, name: str, value: object) -> ManagedProfile:
        """Return the profile with another value of a setting; None unsets it."""
        if name in _FIELDS:
            default = getattr(ManagedProfile("", ""), _FIELDS[name])
            changed: dict[str, Any] = {_FIELDS[name]: default if value is None else value}
            return replace(self, **changed)
        others = {key: other for key, other in self.other_fields.items() if key != name}
        return replace(self, other_fields=others if value is None else {**others, name: value})


#: Fields of `profiles.toml` with the attributes that hold them.
_FIELDS = {
    str(field.metadata.get("name", field.name)): field.name
    for field in fields(ManagedProfile)
    if field.name not in ("name", "other_fields")
}
_INDEPENDENT_OF_SOURCE = (
    "name", "duration_seconds", "timeout", "renew", "rotation_days", "rotate", "delivery", "deliver_as"
)  # fmt: skip
_KINDS: Mapping[str, str] = {kind: kind for kind in Kind}

ManagedProfiles = Mapping[str, ManagedProfile]


def load(path: Path) -> dict[str, ManagedProfile]:
    """Return the managed profiles by name; empty if there is no file.

    :raises UnparsableFile: if the file is invalid; it is never overwritten then.
    :raises ChangeRefused: if a later version of keyturn wrote it.
    """
    return decode(files.read(path), str(path))


def decode(content: bytes | None, path: str) -> dict[str, ManagedProfile]:
    """Return the managed profiles that `content` of `path` defines; see :func:`load`."""
    return _decode(content, path)[0]


def _decode(content: bytes | None, path: str) -> tuple[dict[str, ManagedProfile], dict[str, Any]]:
    """Return the managed profiles, and the top-level fields of the file that this version does not know."""
    if content is None:
        return {}, {}
    what = f"Could not read {path}"
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:  # invalid UTF-8 or TOML, or an integer beyond the limit of Python
        raise UnparsableFile(what, str(error), HINT, path=path) from None
    except RecursionError:
        raise UnparsableFile(what, "it is nested too deeply", HINT, path=path) from None
    version = table.get("version")
    if type(version) is int and version > VERSION:
        raise newer_file(what, version, VERSION)
    if version != VERSION:
        raise ChangeRefused(what, f"unsupported version {version!r}", HINT)
    managed: dict[str, ManagedProfile] = {}
    profiles = table.get("profiles", {})
    if not isinstance(profiles, dict):
        raise UnparsableFile(what, "`profiles` must be a table", HINT, path=path)
    for name, entry in profiles.items():
        try:
            managed[name] = _managed_profile(name, entry)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise UnparsableFile(what, f"profile {name}: {error}", HINT, path=path) from None
    return managed, {key: value for key, value in table.items() if key not in ("version", "profiles")}


def _managed_profile(name: str, entry: Mapping[str, Any]) -> ManagedProfile:
    kind = str(entry["kind"])
    strings: dict[str, Any] = {setting: str(entry[setting]) for setting in _STRINGS if setting in entry}
    session_none = entry.get("session") == "none"
    known = _FIELDS if session_none else _FIELDS.keys() - {"session"}
    return ManagedProfile(
        name=name,
        kind=_KINDS.get(kind, kind),
        duration_seconds=int(entry["duration_seconds"]) if "duration_seconds" in entry else None,
        timeout=int(entry["timeout"]) if "timeout" in entry else None,
        session_none=session_none,
        renew=Renew(entry.get("renew", Renew.AUTO)),
        rotation_days=int(entry.get("rotation_days", DEFAULT_ROTATION_DAYS)),
        rotate=Rotate(entry.get("rotate", Rotate.ASK)),
        delivery=Delivery(entry.get("delivery", Delivery.CREDENTIAL_PROCESS)),
        tags=_tags(entry.get("tags", {})),
        transitive_tags=_list(entry, "transitive_tags"),
        policy_arns=_list(entry, "policy_arns"),
        other_fields={key: value for key, value in entry.items() if key not in known},
        **strings,
    )


def _tags(tags: object) -> Mapping[str, str]:
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise ValueError('tags must be a table of strings, as in { team = "ops" }')
    return tags


def _list(entry: Mapping[str, Any], setting: str) -> tuple[str, ...]:
    items = entry.get(setting, [])
    if not isinstance(items, list) or not all(isinstance(value, str) for value in items):
        raise ValueError(f"{setting} must be a list of strings")
    return tuple(items)


def encode(managed: ManagedProfiles, other_fields: Mapping[str, Any] | None = None) -> bytes:
    """Return the content of `profiles.toml`; default values are omitted.

    :param other_fields: top-level fields that this version does not know.
    """
    profiles: dict[str, Any] = {}
    for name, profile in sorted(managed.items()):
        profiles[name] = {**profile.other_fields, **to_table(profile)}
        if profile.session_none:
            profiles[name]["session"] = "none"
    table = {"version": VERSION, **(other_fields or {}), "profiles": profiles}
    return tomli_w.dumps(table).encode("utf-8")


def change(path: Path, edit: Callable[[dict[str, ManagedProfile]], None]) -> None:
    """Read, edit and write `profiles.toml` under its lock. An invalid file is never overwritten."""

    def edit_bytes(old: bytes | None) -> bytes:
        managed, others = _decode(old, str(path))
        edit(managed)
        return encode(managed, others)

    files.change(path, edit_bytes, what=f"Could not write {path}")


def remove(managed: dict[str, ManagedProfile], names: Iterable[str]) -> None:
    """Remove those of `names` that are managed."""
    for name in names:
        managed.pop(name, None)


def with_delivery(profile: ManagedProfile, delivery: Delivery, section: str | None) -> ManagedProfile:
    """Return `profile` with another delivery. A `section` equal to the profile's name is stored as None."""
    return replace(
        profile, delivery=delivery, deliver_as=section if section and section != profile.name else None
    )
