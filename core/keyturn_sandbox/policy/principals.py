"""Principals: users with their keys and MFA devices, roles, and the sessions made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from hmac import compare_digest

from keyturn.model.secret import Secret
from keyturn_sandbox.eventual_consistency import Change, visible
from keyturn_sandbox.policy.policy import Statement
from keyturn_sandbox.services.session_options import NO_TAGS, Tags
from keyturn_sandbox.totp import code_for, step_at

ABSENT = "Absent"
"""Status of a key before its creation and after its deletion have propagated."""
MAX_USES = 50


@dataclass(frozen=True, slots=True)
class LastUse:
    """Last use of a key as GetAccessKeyLastUsed returns it."""

    at: datetime
    service: str
    region: str


@dataclass(slots=True)
class AccessKey:
    """A long-term key."""

    key_id: str
    secret: Secret
    created: datetime
    status: str = "Active"
    """`Active`, `Inactive` or `Expired`, or :data:`ABSENT` once deleted. The true status, regardless of
    propagation."""
    change: Change[str] | None = None
    """Last change of status that may still propagate."""
    last_use: LastUse | None = None
    unreported_uses: list[LastUse] = field(default_factory=list)
    """Later uses, oldest first, that AWS may not report yet."""

    def visible_status(self, now: datetime) -> str:
        """Return the status that a request at `now` sees."""
        return visible(self.change, self.status, now)

    def record_use(self, use: LastUse) -> None:
        self.unreported_uses.append(use)
        del self.unreported_uses[:-MAX_USES]

    def reported_use(self, now: datetime, lag: timedelta) -> LastUse | None:
        """Return the last use that is reported at `now` with a delay of `lag`."""
        reported = [use for use in self.unreported_uses if use.at <= now - lag]
        if reported:
            self.last_use = reported[-1]
        return self.last_use


@dataclass(slots=True)
class MfaDevice:
    """An MFA device: a virtual device (`…:mfa/NAME`), a hardware device (bare serial number), or a security
    key (`…:u2f/…`), which has no codes and cannot be used with the API."""

    serial: str
    seed: Secret | None
    """Base32; None for a security key."""
    enabled: datetime
    last_step: int = -1
    """Time step of the newest accepted code. Codes of this and earlier steps are rejected."""

    def accept(self, code: str, now: datetime) -> bool:
        """Return True if `code` is valid for a time step around `now` and newer than the last accepted code.
        The code is then used up."""
        if self.seed is None:
            return False
        current = step_at(now)
        for step in (current - 1, current, current + 1):
            if step > self.last_step and compare_digest(code_for(self.seed.reveal(), step), code):
                self.last_step = step
                return True
        return False


@dataclass(slots=True)
class _Principal:
    """Common part of users and roles."""

    partition: str
    account: str
    name: str
    path: str
    unique_id: str
    may_assume: tuple[str, ...] = field(default=(), kw_only=True)
    """Role ARN patterns on which its identity policies allow sts:AssumeRole."""
    iam_admin: bool = field(default=False, kw_only=True)
    """Allowed to manage other users' keys."""
    tags: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    revoked_before: datetime | None = field(default=None, kw_only=True)
    """Sessions issued before this time are denied everything (policy `AWSRevokeOlderSessions`)."""
    revocation_change: Change[datetime | None] | None = field(default=None, kw_only=True)
    """Last change of `revoked_before` that may still propagate."""


@dataclass(slots=True)
class User(_Principal):
    """An IAM user, or the root user of an account (empty `name`)."""

    created: datetime
    iam_needs_mfa: bool = False
    """Has the policy that denies nearly everything without MFA."""
    policies: tuple[Statement, ...] | None = None
    """Identity policies; None for the default, which allows users to manage their own keys."""
    change: Change[tuple[Statement, ...] | None] | None = None
    """Last change of `policies` that may still propagate."""
    keys: list[AccessKey] = field(default_factory=list)
    deleted: list[AccessKey] = field(default_factory=list)
    """Keys whose deletion may still propagate."""
    devices: list[MfaDevice] = field(default_factory=list)

    @property
    def is_root(self) -> bool:
        return not self.name

    @property
    def arn(self) -> str:
        resource = f"user{self.path}{self.name}" if self.name else "root"
        return f"arn:{self.partition}:iam::{self.account}:{resource}"

    def device(self, serial: str) -> MfaDevice | None:
        return next((device for device in self.devices if device.serial == serial), None)

    def listed_keys(self, now: datetime) -> list[tuple[AccessKey, str]]:
        """Return the keys and their status as a listing at `now` shows them."""
        statuses = ((key, key.visible_status(now)) for key in (*self.keys, *self.deleted))
        return [(key, status) for key, status in statuses if status != ABSENT]


@dataclass(slots=True)
class Role(_Principal):
    """An IAM role."""

    trust: tuple[Statement, ...]
    """Statements of its trust policy."""
    max_session: int = 3600
    """MaxSessionDuration in seconds."""
    policies: tuple[Statement, ...] = ()
    """Permissions policies in addition to those of `may_assume` and `iam_admin`."""
    change: Change[tuple[Statement, ...]] | None = None
    """Last change of `trust` that may still propagate."""

    @property
    def arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role{self.path}{self.name}"


class Origin(Enum):
    """The call that issued a session. It determines which calls the session may make."""

    SESSION_TOKEN = "GetSessionToken"  # noqa: S105  # the name of a call
    FEDERATION_TOKEN = "GetFederationToken"  # noqa: S105  # the same
    ROLE = "AssumeRole"


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials of a user (GetSessionToken, GetFederationToken) or of a role."""

    key_id: str
    secret: Secret
    token: Secret
    principal: User | Role
    issued: datetime
    expires: datetime
    origin: Origin
    name: str = ""
    """Role session name, or the federated user's name (GetFederationToken)."""
    mfa_at: datetime | None = None
    """Time of MFA. Only GetSessionToken keeps it (IAM User Guide, MFA-protected API access: the credentials
    of AssumeRole contain no MFA information)."""
    tags: Tags = NO_TAGS
    source_identity: str = ""
    policies: tuple[Statement, ...] | None = None
    """Session policies combined; None if the session has none."""
    everywhere: bool = True
    """True if the token is valid in opt-in regions. Tokens of the global endpoint are not."""
