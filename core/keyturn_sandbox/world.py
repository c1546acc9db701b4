"""What exists behind the stand-in: users with their keys and MFA devices, roles, and the sessions made from them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest

from keyturn.clock import Clock
from keyturn.secret import Secret
from keyturn_sandbox.forge import Forge
from keyturn_sandbox.policy import check_trust
from keyturn_sandbox.totp import code_for, step_at

KEY_QUOTA = 2
"""Access keys a user may have, inactive ones included (aws-facts 5)."""


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
    usable_from: datetime | None = None
    """From here on STS and IAM know the key at every second request, as while a change spreads."""
    settled_from: datetime | None = None
    """From here on they know it always."""
    last_use: LastUse | None = None
    turn: int = 0
    """Requests seen between the two, to tell every second one."""

    def known(self, now: datetime) -> bool:
        """Whether a request at `now` finds the key; between `usable_from` and `settled_from` every second one does."""
        if self.usable_from is not None and now < self.usable_from:
            return False
        if self.settled_from is not None and now < self.settled_from:
            self.turn += 1
            return self.turn % 2 == 0
        return True


@dataclass(slots=True)
class MfaDevice:
    """A virtual MFA device."""

    serial: str
    seed: Secret
    """Base32."""
    enabled: datetime
    last_step: int = -1
    """The window of the newest code that was accepted; it and all before it are used up."""

    def accept(self, code: str, now: datetime) -> bool:
        """Whether `code` is one of the windows around `now` and neither used nor older than one that was. It is used
        up by this."""
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
    """May manage other users' keys; everybody may manage their own."""
    iam_needs_mfa: bool = False
    """Has the policy that denies IAM without MFA (aws-facts 5)."""
    keys: list[AccessKey] = field(default_factory=list)
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


@dataclass(slots=True)
class Role:
    """An IAM role."""

    partition: str
    account: str
    name: str
    path: str
    role_id: str
    trust: tuple[Mapping[str, object], ...]
    """The statements of its trust policy."""
    max_session: int = 3600
    """MaxSessionDuration in seconds."""
    may_assume: tuple[str, ...] = ()
    iam_admin: bool = False

    @property
    def arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role{self.path}{self.name}"


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials, of a user (GetSessionToken) or of a role."""

    key_id: str
    secret: Secret
    token: Secret
    principal: User | Role
    issued: datetime
    expires: datetime
    name: str = ""
    """The session's name, for a role."""
    mfa_at: datetime | None = None
    """When MFA was given; only GetSessionToken carries it on (IAM User Guide, MFA-protected API access: the
    credentials of AssumeRole hold no MFA information)."""


class World:
    """Everything that exists, and the clock it lives by. Hold `lock` while reading or changing more than one thing.

    :param clock: the sandbox's movable clock.
    :param forge: where ids and secrets come from.
    """

    def __init__(self, clock: Clock, forge: Forge) -> None:
        self.lock = threading.RLock()
        self.now = clock
        self.forge = forge
        self.propagation = timedelta(0)
        """How long a new key stays unknown."""
        self.flapping = timedelta(0)
        """How long after that only every second request finds it."""
        self._users: dict[str, User] = {}
        self._roles: dict[str, Role] = {}
        self._sessions: dict[str, Session] = {}

    def add_user(
        self,
        account: str,
        name: str,
        *,
        path: str = "/",
        partition: str = "aws",
        age: timedelta = timedelta(0),
        may_assume: Sequence[str] = (),
        iam_admin: bool = False,
        iam_needs_mfa: bool = False,
    ) -> User:
        """A new IAM user; an empty `name` is the account's root user.

        :param age: how long ago it was made.
        :param may_assume: role ARN patterns (`*` and `?`) its own policies allow it to assume.
        """
        user = User(
            partition,
            account,
            name,
            path,
            self.forge.unique_id("AIDA") if name else account,
            self.now() - age,
            may_assume=tuple(may_assume),
            iam_admin=iam_admin or not name,
            iam_needs_mfa=iam_needs_mfa,
        )
        with self.lock:
            self._users[user.arn] = user
        return user

    def remove_user(self, user: User) -> None:
        """Delete a user: its keys and its sessions are unknown from now on."""
        with self.lock:
            self._users.pop(user.arn, None)

    def add_key(self, user: User, *, age: timedelta = timedelta(0), status: str = "Active") -> AccessKey:
        """A new access key, as old as `age`; a fresh one is subject to `propagation`."""
        now = self.now()
        key = AccessKey(
            self.forge.key_id("AKIA", user.account),
            self.forge.secret(),
            now - age,
            status,
            usable_from=now - age + self.propagation,
            settled_from=now - age + self.propagation + self.flapping,
        )
        with self.lock:
            user.keys.append(key)
        return key

    def add_device(self, user: User, name: str, seed: str) -> MfaDevice:
        """Give `user` a virtual MFA device with the Base32 `seed`."""
        serial = f"arn:{user.partition}:iam::{user.account}:mfa/{name}"
        device = MfaDevice(serial, Secret(seed), self.now())
        with self.lock:
            user.devices.append(device)
        return device

    def add_role(
        self,
        account: str,
        name: str,
        trust: Sequence[Mapping[str, object]],
        *,
        path: str = "/",
        partition: str = "aws",
        max_session: int = 3600,
        may_assume: Sequence[str] = (),
        iam_admin: bool = False,
    ) -> Role:
        """A new role. `trust` is the list of statements of its trust policy.

        :raises ValueError: if a statement uses an element or an operator that is not evaluated here.
        """
        check_trust(trust)
        role = Role(
            partition,
            account,
            name,
            path,
            self.forge.unique_id("AROA"),
            tuple(trust),
            max_session,
            tuple(may_assume),
            iam_admin,
        )
        with self.lock:
            self._roles[role.arn] = role
        return role

    def remove_role(self, role: Role) -> None:
        """Delete a role: its sessions are unknown from now on."""
        with self.lock:
            self._roles.pop(role.arn, None)

    def add_session(
        self,
        principal: User | Role,
        life: timedelta,
        *,
        name: str = "",
        mfa_at: datetime | None = None,
        age: timedelta = timedelta(0),
    ) -> Session:
        """Temporary credentials that live for `life`, counted from `age` ago."""
        issued = (self.now() - age).replace(microsecond=0)
        session = Session(
            self.forge.key_id("ASIA", principal.account),
            self.forge.secret(),
            self.forge.session_token(),
            principal,
            issued,
            issued + life,
            name,
            mfa_at,
        )
        with self.lock:
            self._sessions[session.key_id] = session
        return session

    def user(self, partition: str, account: str, name: str) -> User | None:
        """The user of that name in an account; names are unique whatever the path and whatever the case."""
        with self.lock:
            return next(
                (
                    user
                    for user in self._users.values()
                    if (user.partition, user.account) == (partition, account)
                    and user.name.lower() == name.lower()
                ),
                None,
            )

    def role(self, arn: str) -> Role | None:
        return self._roles.get(arn)

    def key(self, key_id: str) -> tuple[User, AccessKey] | None:
        """A long-term key and its user, whatever its status."""
        with self.lock:
            for user in self._users.values():
                for key in user.keys:
                    if key.key_id == key_id:
                        return user, key
        return None

    def session(self, key_id: str) -> Session | None:
        """A session, expired or not, whose user or role still exists.

        A session of GetSessionToken lives on when the key that asked for it is deactivated or deleted: it belongs to
        the user, and deleting or rotating the key revokes nothing (AWS's advice for an exposed key is to deny by
        aws:TokenIssueTime or to delete the user).
        """
        with self.lock:
            session = self._sessions.get(key_id)
            if session is None:
                return None
            principal = session.principal
            alive: User | Role | None = (
                self._users.get(principal.arn)
                if isinstance(principal, User)
                else self._roles.get(principal.arn)
            )
            return session if alive is principal else None

    def device(self, name: str) -> MfaDevice | None:
        """The device with that serial, of that name, or of the user of that name."""
        with self.lock:
            for user in self._users.values():
                for device in user.devices:
                    if name in (device.serial, device.serial.rsplit("/", 1)[-1], user.name):
                        return device
        return None

    def devices(self) -> tuple[MfaDevice, ...]:
        """Every MFA device there is."""
        with self.lock:
            return tuple(device for user in self._users.values() for device in user.devices)
