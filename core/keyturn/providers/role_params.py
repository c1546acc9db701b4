"""Parameters of AssumeRole: read from a profile, and checked before a request is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.model.errors import ProfileBroken, Remedy
from keyturn.providers import sts_limits
from keyturn.providers.sts_limits import for_role
from keyturn.storage.managed_profiles import ManagedProfile


@dataclass(frozen=True, slots=True)
class AssumeRoleParams:
    """Parameters of one AssumeRole call, from a definition or a native profile."""

    profile: str
    role_arn: str
    external_id: str | None = None
    mfa_serial: str | None = None
    session_name: str | None = None
    duration_seconds: int | None = None
    credential_source: str | None = None
    """Source of the signing credentials in place of a source profile."""
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None
    policy: str | None = None
    """JSON text; a policy file has been read already."""
    policy_arns: tuple[str, ...] = ()

    def fingerprint_parts(self) -> list[object]:
        """Return everything that a session depends on except its signer, for a digest."""
        role: list[object] = ["role", self.role_arn, self.external_id, self.mfa_serial, self.session_name]
        policies = [
            sorted(self.tags.items()),
            sorted(self.transitive_tags),
            self.source_identity,
            self.policy,
        ]
        return [*role, *policies, list(self.policy_arns), self.credential_source]


def check(params: AssumeRoleParams) -> None:
    """Check the parameters against AWS's rules, before a request is sent.

    :raises UsageError: with the setting and the reason.
    """
    sts_limits.role_arn(params.role_arn)
    for_role(params.duration_seconds, chained=False)
    for check_text, value in (
        (sts_limits.external_id, params.external_id),
        (sts_limits.serial, params.mfa_serial),
        (sts_limits.session_name, params.session_name),
        (sts_limits.source_identity, params.source_identity),
    ):
        if value is not None:
            check_text(value)
    sts_limits.transitive_tags(params.transitive_tags, sts_limits.tags(params.tags))
    if params.policy is not None:
        sts_limits.policy(params.policy)
    sts_limits.check_policy_size(params.policy, sts_limits.policy_arns(params.policy_arns))


_NOT_ALLOWED_IN_NAMES = re.compile(r"[^\w+=,.@-]", re.ASCII)


def session_name(configured: str | None, profile: str) -> str:
    """Return the RoleSessionName: the configured one, or one made from the profile's name that matches
    `[\\w+=,.@-]{2,64}`.
    """
    name = configured or "keyturn-" + _NOT_ALLOWED_IN_NAMES.sub("-", profile)
    return name[:64]


#: Far beyond any policy that AWS accepts. A wrong path may name an endless file.
MAX_POLICY_FILE_BYTES = 65_536


def policy_text(value: str, profile: str) -> str:
    """Return the policy as text, read from a file if `value` is a path.

    :raises ProfileBroken: if the file cannot be read.
    """
    if value.lstrip().startswith("{"):
        return value
    path = Path(os.path.expanduser(value))  # noqa: PTH111  # Path.expanduser raises if there is no home directory
    what, hint = f"Policy of {profile} is invalid", Remedy("set", profile, "policy=FILE")
    if not path.is_absolute():
        raise ProfileBroken(what, f"{value} is neither JSON nor an absolute path", hint)
    try:
        if not path.is_file():
            raise ProfileBroken(what, f"{value} is not a file", hint)
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_FILE_BYTES + 1)
        if len(data) > MAX_POLICY_FILE_BYTES:
            raise ProfileBroken(what, f"{value} is longer than {MAX_POLICY_FILE_BYTES} bytes", hint)
        return data.decode("utf-8")
    except OSError as error:
        raise ProfileBroken(what, f"{value}: {error.strerror or error}", hint) from None
    except UnicodeDecodeError:
        raise ProfileBroken(what, f"{value} is not UTF-8 text", hint) from None


def managed_role_params(definition: ManagedProfile) -> AssumeRoleParams | None:
    """Return the AssumeRole parameters of a managed profile, None if it assumes no role.

    :raises ProfileBroken: if its policy is a file that cannot be read.
    """
    if definition.role_arn is None:
        return None
    return AssumeRoleParams(
        profile=definition.name,
        role_arn=definition.role_arn,
        external_id=definition.external_id,
        mfa_serial=definition.mfa_serial,
        session_name=definition.role_session_name,
        duration_seconds=definition.duration_seconds,
        credential_source=definition.credential_source,
        tags=definition.tags,
        transitive_tags=definition.transitive_tags,
        source_identity=definition.source_identity,
        policy=policy_text(definition.policy, definition.name) if definition.policy else None,
        policy_arns=definition.policy_arns,
    )


def native_role_params(name: str, settings: Mapping[str, object]) -> AssumeRoleParams | None:
    """Return the AssumeRole parameters of a native profile, or None if its settings name no role or no
    source.
    """

    def text(key: str) -> str | None:
        value = settings.get(key)
        return value if isinstance(value, str) and value else None

    arn = text("role_arn")
    if arn is None or (text("source_profile") is None and text("credential_source") is None):
        return None
    duration = text("duration_seconds") or ""
    seconds = int(duration) if duration.isascii() and duration.isdigit() else None
    return AssumeRoleParams(
        name, arn, text("external_id"), text("mfa_serial"), text("role_session_name"), seconds,
        text("credential_source")
    )  # fmt: skip
