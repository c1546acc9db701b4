"""Who can sign: users with their keys and MFA devices, roles, and the sessions made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from hmac import compare_digest

from keyturn.model.secret import Secret
from keyturn_sandbox.eventual_consistency import Change, seen
from keyturn_sandbox.policy.policy import Statement
from keyturn_sandbox.services.session_tags import NO_TAGS, Tags
from keyturn_sandbox.totp import code_for, step_at

ABSENT = "Absent"
"""The status of a key before it was made and after it was deleted, as far as that has spread."""
USES_KEPT = 50


@dataclass(frozen=True, slots=True)
class LastUse:
    """What GetAccessKeyLastUsed tells of a key."""

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
    """`Active`, `Inactive` or `Expired`, or :data:`ABSENT` once deleted: what is true, whatever has spread of it."""
    change: Change[str] | None = None
    """The last change of status that may still spread."""
    last_use: LastUse | None = None
    fresh_uses: list[LastUse] = field(default_factory=list)
    """Later ones, oldest first, which AWS may be slow to tell."""

    def seen(self, now: datetime) -> str:
        """The status that a request at `now` finds."""
        return seen(self.change, self.status, now)

    def used(self, use: LastUse) -> None:
        self.fresh_uses.append(use)
        del self.fresh_uses[:-USES_KEPT]

    def told_use(self, now: datetime, lag: timedelta) -> LastUse | None:
        """The last use as it is told at `now`, `lag` late."""
        told = [use for use in self.fresh_uses if use.at <= now - lag]
        if told:
            self.last_use = told[-1]
        return self.last_use


@dataclass(slots=True)
class MfaDevice:
    """An MFA device: a virtual one (`…:mfa/NAME`), a hardware one by its bare serial number, or a security key
    (`…:u2f/…`), which shows no codes and is of no use to the API."""

    serial: str
    seed: Secret | None
    """Base32; None for a security key."""
    enabled: datetime
    last_step: int = -1
    """The window of the newest code that was accepted; it and all before it are used up."""

    def accept(self, code: str, now: datetime) -> bool:
        """Whether `code` is one of the windows around `now` and neither used nor older than one that was. It is used
        up by this."""
        if self.seed is None:
            return False
        here = step_at(now)
        for step in (here - 1, here, here + 1):
            if step > self.last_step and compare_digest(code_for(self.seed.reveal(), step), code):
                self.last_step = step
                return True
        return False


@dataclass(slots=True)
class User:
    """An IAM user, or the root user of an account (`name` empty)."""

    partition: str
    account: str
    name: str
    path: str
    user_id: str
    created: datetime
    may_assume: tuple[str, ...] = ()
    """Role ARN patterns that its identity policies allow sts:AssumeRole on."""
    iam_admin: bool = False
    """May manage other users' keys."""
    iam_needs_mfa: bool = False
    """Has the policy that denies nearly everything without MFA (aws-facts 5)."""
    policies: tuple[Statement, ...] | None = None
    """Its own identity policies; None for those that let everybody manage their own keys."""
    change: Change[tuple[Statement, ...] | None] | None = None
    """The last change of `policies` that may still spread."""
    tags: Mapping[str, str] = field(default_factory=dict)
    keys: list[AccessKey] = field(default_factory=list)
    deleted: list[AccessKey] = field(default_factory=list)
    """Keys whose deletion may still spread."""
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
        """The keys, with their status, that a listing at `now` finds."""
        found = ((key, key.seen(now)) for key in (*self.keys, *self.deleted))
        return [(key, status) for key, status in found if status != ABSENT]


@dataclass(slots=True)
class Role:
    """An IAM role."""

    partition: str
    account: str
    name: str
    path: str
    role_id: str
    trust: tuple[Statement, ...]
    """The statements of its trust policy."""
    max_session: int = 3600
    """MaxSessionDuration in seconds."""
    may_assume: tuple[str, ...] = ()
    iam_admin: bool = False
    policies: tuple[Statement, ...] = ()
    """Its own permissions policies, besides what `may_assume` and `iam_admin` allow."""
    tags: Mapping[str, str] = field(default_factory=dict)
    change: Change[tuple[Statement, ...]] | None = None
    """The last change of `trust` that may still spread."""

    @property
    def arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role{self.path}{self.name}"


class Origin(Enum):
    """Which call made a session; that decides what may be called with it."""

    SESSION_TOKEN = "GetSessionToken"  # noqa: S105  # the name of a call
    FEDERATION_TOKEN = "GetFederationToken"  # noqa: S105  # the same
    ROLE = "AssumeRole"


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials, of a user (GetSessionToken, GetFederationToken) or of a role."""

    key_id: str
    secret: Secret
    token: Secret
    principal: User | Role
    issued: datetime
    expires: datetime
    origin: Origin
    name: str = ""
    """The session's name, for a role; the federated user's, for GetFederationToken."""
    mfa_at: datetime | None = None
    """When MFA was given; only GetSessionToken carries it on (IAM User Guide, MFA-protected API access: the
    credentials of AssumeRole hold no MFA information)."""
    tags: Tags = NO_TAGS
    source_identity: str = ""
    policies: tuple[Statement, ...] | None = None
    """Its session policies as one; None if it was made without."""
    everywhere: bool = True
    """Whether its token counts in regions that an account has to activate; the global endpoint's do not."""
