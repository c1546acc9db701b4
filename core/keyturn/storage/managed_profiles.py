"""Managed profiles: their definitions in `profiles.toml`. No secret."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from keyturn.model.errors import ChangeRefused, UnparsableFile
from keyturn.model.profile import DEFAULT_ROTATION_DAYS, Delivery, Kind, Renew, Rotate
from keyturn.system import files

VERSION = 1
_HINT = "Correct the file; it defines the managed profiles"
_STRINGS = (
    "key", "role_arn", "source_profile", "credential_source", "external_id", "mfa_serial", "role_session_name",
    "source_identity", "policy", "deliver_as",
)  # fmt: skip
_LISTS = ("transitive_tags", "policy_arns")
_FIELDS = {
    *_STRINGS,
    *_LISTS,
    "tags",
    "kind",
    "duration_seconds",
    "session",
    "renew",
    "rotation_days",
    "rotate",
    "delivery",
}


@dataclass(frozen=True, slots=True)
class ManagedProfile:
    """One managed profile. Only the kinds `iam-key` and `role` can be managed."""

    name: str
    kind: Kind
    key: str | None = None
    """Name of the vault entry with its own long-term key."""
    role_arn: str | None = None
    source_profile: str | None = None
    """Profile that signs AssumeRole; the profile itself if it also has the key."""
    credential_source: str | None = None
    """Source of the signing credentials instead of a source profile: `Environment`, `Ec2InstanceMetadata`
    or `EcsContainer`, in AWS's spelling.
    """
    external_id: str | None = None
    mfa_serial: str | None = None
    role_session_name: str | None = None
    source_identity: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    """Session tags of AssumeRole."""
    transitive_tags: tuple[str, ...] = ()
    """Keys of `tags` that are passed to the next role of a chain."""
    policy: str | None = None
    """Session policy: JSON, or the path of a file that contains it."""
    policy_arns: tuple[str, ...] = ()
    """Managed policies that restrict the session."""
    duration_seconds: int | None = None
    delivers_key: bool = False
    """Stored as `session = "none"`."""
    renew: Renew = Renew.AUTO
    rotation_days: int = DEFAULT_ROTATION_DAYS
    """0 disables the rotation policy."""
    rotate: Rotate = Rotate.ASK
    delivery: Delivery = Delivery.CREDENTIAL_PROCESS
    deliver_as: str | None = None
    unknown_fields: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of its table. They are kept, because a user or a later version of keyturn added them."""

    def same_source(self, other: ManagedProfile | None) -> bool:
        """Return True if `other` creates its sessions from the same source with the same parameters."""
        return other is not None and all(
            getattr(self, name) == getattr(other, name)
            for name in (
                "kind",
                "key",
                "role_arn",
                "source_profile",
                "credential_source",
                "external_id",
                "mfa_serial",
                "role_session_name",
                "source_identity",
                "tags",
                "transitive_tags",
                "policy",
                "policy_arns",
                "delivers_key",
            )
        )


ManagedProfiles = Mapping[str, ManagedProfile]


def load(path: Path) -> dict[str, ManagedProfile]:
    """Return the managed profiles by name; empty if there is no file.

    :raises UnparsableFile: if the file is invalid; it is never overwritten then.
    :raises ChangeRefused: if a later version of keyturn wrote it.
    """
    return decode(files.read(path), str(path))


def decode(content: bytes | None, path: str) -> dict[str, ManagedProfile]:
    """Return the managed profiles that `content` of `path` defines; see :func:`load`."""
    if content is None:
        return {}
    what = f"Could not read {path}"
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:  # invalid UTF-8 or TOML, or an integer beyond the limit of Python
        raise UnparsableFile(what, str(error), _HINT, path=path) from None
    except RecursionError:
        raise UnparsableFile(what, "it is nested too deeply", _HINT, path=path) from None
    if table.get("version") != VERSION:
        raise ChangeRefused(
            what,
            f"unsupported version {table.get('version')!r}",
            "Use the keyturn version that wrote it, or a later one",
        )
    managed: dict[str, ManagedProfile] = {}
    profiles = table.get("profiles", {})
    if not isinstance(profiles, dict):
        raise UnparsableFile(what, "`profiles` must be a table", _HINT, path=path)
    for name, entry in profiles.items():
        try:
            managed[name] = _managed_profile(name, entry)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise UnparsableFile(what, f"profile {name}: {error}", _HINT, path=path) from None
    return managed


def _managed_profile(name: str, entry: Mapping[str, Any]) -> ManagedProfile:
    kind = Kind(entry["kind"])
    if kind not in (Kind.IAM_KEY, Kind.ROLE):
        raise ValueError(f"kind {kind} cannot be managed")
    strings = {name: str(entry[name]) for name in _STRINGS if name in entry}
    return ManagedProfile(
        name=name,
        kind=kind,
        duration_seconds=int(entry["duration_seconds"]) if "duration_seconds" in entry else None,
        delivers_key=entry.get("session") == "none",
        renew=Renew(entry.get("renew", Renew.AUTO)),
        rotation_days=int(entry.get("rotation_days", DEFAULT_ROTATION_DAYS)),
        rotate=Rotate(entry.get("rotate", Rotate.ASK)),
        delivery=Delivery(entry.get("delivery", Delivery.CREDENTIAL_PROCESS)),
        tags=_tags(entry.get("tags", {})),
        transitive_tags=_list(entry, "transitive_tags"),
        policy_arns=_list(entry, "policy_arns"),
        unknown_fields={key: value for key, value in entry.items() if key not in _FIELDS},
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


def encode(managed: ManagedProfiles) -> bytes:
    """Return the content of `profiles.toml`; default values are omitted."""
    profiles: dict[str, Any] = {}
    for name, profile in sorted(managed.items()):
        entry: dict[str, Any] = {**profile.unknown_fields, "kind": str(profile.kind)}
        for setting_name in _STRINGS:
            if getattr(profile, setting_name) is not None:
                entry[setting_name] = getattr(profile, setting_name)
        for setting in _LISTS:
            if getattr(profile, setting):
                entry[setting] = list(getattr(profile, setting))
        if profile.tags:
            entry["tags"] = dict(profile.tags)
        if profile.duration_seconds is not None:
            entry["duration_seconds"] = profile.duration_seconds
        if profile.delivers_key:
            entry["session"] = "none"
        if profile.renew is not Renew.AUTO:
            entry["renew"] = str(profile.renew)
        if profile.rotation_days != DEFAULT_ROTATION_DAYS:
            entry["rotation_days"] = profile.rotation_days
        if profile.rotate is not Rotate.ASK:
            entry["rotate"] = str(profile.rotate)
        entry["delivery"] = str(profile.delivery)
        profiles[name] = entry
    return tomli_w.dumps({"version": VERSION, "profiles": profiles}).encode("utf-8")


def change(path: Path, edit: Callable[[dict[str, ManagedProfile]], None]) -> None:
    """Read, edit and write `profiles.toml` under its lock. An invalid file is never overwritten."""

    def edit_bytes(old: bytes | None) -> bytes:
        managed = decode(old, str(path))
        edit(managed)
        return encode(managed)

    files.change(path, edit_bytes, what=f"Could not write {path}")


def with_delivery(profile: ManagedProfile, delivery: Delivery, section: str | None) -> ManagedProfile:
    """Return `profile` with another delivery. A `section` equal to the profile's name is stored as None."""
    return replace(
        profile, delivery=delivery, deliver_as=section if section and section != profile.name else None
    )
