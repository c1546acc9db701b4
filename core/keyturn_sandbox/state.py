"""State of the stand-in: users, roles, sessions, devices, and its clock."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from keyturn.model.secret import Secret
from keyturn.system.clock import Clock
from keyturn_sandbox.eventual_consistency import Change
from keyturn_sandbox.id_generator import IdGenerator
from keyturn_sandbox.policy.policy import Statement, check_permissions, check_trust
from keyturn_sandbox.policy.principals import ABSENT, AccessKey, MfaDevice, Origin, Role, Session, User
from keyturn_sandbox.services.session_options import NO_TAGS, Tags

KEY_QUOTA = 2
"""Access keys per user, inactive ones included (IAM quotas)."""
DEVICE_QUOTA = 8
"""MFA devices per user."""

T = TypeVar("T")


class SandboxState:
    """All entities and the clock. Hold `lock` while reading or changing more than one of them.

    :param clock: the sandbox's movable clock.
    :param ids: source of IDs and secrets.
    """

    def __init__(self, clock: Clock, ids: IdGenerator) -> None:
        self.lock = threading.RLock()
        self.now = clock
        self.ids = ids
        self.propagation = timedelta(0)
        """Time after a change of a key or policy during which every response shows the previous state."""
        self.flapping = timedelta(0)
        """Time after that during which responses alternate between the previous and the new state."""
        self.use_lag = timedelta(0)
        """Delay after which GetAccessKeyLastUsed reports a use; hours with AWS."""
        self.activated: set[tuple[str, str]] = set()
        """(account, region) pairs of opt-in regions that an account has activated."""
        self.deactivated: set[tuple[str, str]] = set()
        """(account, region) pairs in which an administrator has deactivated STS."""
        self.managed_policies: dict[str, tuple[Statement, ...]] = {}
        """Customer managed policies, by ARN."""
        self._changes = 0
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
        policies: Sequence[Statement] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> User:
        """Add an IAM user; an empty `name` is the account's root user.

        :param age: time since its creation.
        :param may_assume: role ARN patterns (`*` and `?`) that its policies allow it to assume.
        :param policies: statements of its identity policies in addition to the other parameters; None for the
            default, which allows users to manage their own keys, () for none.
        :raises ValueError: if a statement has an element or operator that is not implemented.
        """
        check_permissions(policies or ())
        user = User(
            partition,
            account,
            name,
            path,
            self.ids.unique_id("AIDA") if name else account,
            self.now() - age,
            may_assume=tuple(may_assume),
            iam_admin=iam_admin or not name,
            iam_needs_mfa=iam_needs_mfa,
            policies=None if policies is None else tuple(policies),
            tags=tags or {},
        )
        with self.lock:
            self._users[user.arn] = user
        return user

    def remove_user(self, user: User) -> None:
        """Delete a user. Its keys and sessions are unknown from then on."""
        with self.lock:
            self._users.pop(user.arn, None)

    def set_policies(self, user: User, policies: Sequence[Statement]) -> None:
        """Replace the identity policies of `user`. The change propagates like every other."""
        check_permissions(policies)
        with self.lock:
            user.change = self._changed(user.policies, self.now())
            user.policies = tuple(policies)

    def set_trust(self, role: Role, trust: Sequence[Statement]) -> None:
        """Replace the trust policy of `role`. The change propagates like every other."""
        check_trust(trust)
        with self.lock:
            role.change = self._changed(role.trust, self.now())
            role.trust = tuple(trust)

    def revoke_sessions(self, principal: User | Role) -> None:
        """Deny everything to the sessions of a user or role that were issued until now, as "Revoke active
        sessions" of the IAM console does. The change propagates like every other.

        Sessions keep their expiry, GetCallerIdentity still answers, and sessions that were made from them are
        not affected. A session issued within the same second is denied too, because AWS issues sessions in
        whole seconds.
        """
        with self.lock:
            principal.revocation_change = self._changed(principal.revoked_before, self.now())
            principal.revoked_before = self.now()

    def end_sessions(self, principal: User | Role) -> None:
        """End the sessions of a user or role at once, so that AWS reports them as expired."""
        with self.lock:
            for key_id, session in self._sessions.items():
                if session.principal is principal:
                    self._sessions[key_id] = replace(session, expires=min(session.expires, self.now()))

    def add_key(self, user: User, *, age: timedelta = timedelta(0), status: str = "Active") -> AccessKey:
        """Add an access key of the given age."""
        created = self.now() - age
        key = AccessKey(
            self.ids.key_id("AKIA", user.account),
            self.ids.secret(),
            created,
            status,
            self._changed(ABSENT, created),
        )
        with self.lock:
            user.keys.append(key)
        return key

    def set_status(self, key: AccessKey, status: str) -> None:
        """Activate or deactivate a key. Setting the same status changes nothing."""
        with self.lock:
            if status != key.status:
                key.change = self._changed(key.status, self.now())
                key.status = status

    def delete_key(self, user: User, key: AccessKey) -> None:
        """Delete a key."""
        with self.lock:
            self.set_status(key, ABSENT)
            user.keys.remove(key)
            propagating = [
                deleted for deleted in user.deleted if deleted.change and deleted.change.ends > self.now()
            ]
            user.deleted = [*propagating, key]

    def _changed(self, before: T, at: datetime) -> Change[T]:
        """Return a change made at `at` that propagates from then on."""
        self._changes += 1
        starts = at + self.propagation
        return Change(before, starts, starts + self.flapping, f"change {self._changes}")

    def add_device(self, user: User, name: str, seed: str) -> MfaDevice:
        """Add a virtual MFA device with the Base32 `seed` to `user`."""
        return self._enable(user, f"arn:{user.partition}:iam::{user.account}:mfa/{name}", Secret(seed))

    def add_hardware_device(self, user: User, serial: str, seed: str) -> MfaDevice:
        """Add a hardware device to `user`. Its ID is the bare serial number (such as `GAHT12345678`)."""
        return self._enable(user, serial, Secret(seed))

    def add_security_key(self, user: User, name: str) -> MfaDevice:
        """Add a FIDO security key or passkey to `user`. Only the console accepts it."""
        key_name = f"{user.name or 'root-account'}/{name}-{self.ids.unique_id('')}"
        return self._enable(user, f"arn:{user.partition}:iam::{user.account}:u2f/user/{key_name}", None)

    def _enable(self, user: User, serial: str, seed: Secret | None) -> MfaDevice:
        with self.lock:
            if len(user.devices) >= DEVICE_QUOTA:
                raise ValueError(f"a user can have at most {DEVICE_QUOTA} MFA devices")
            device = MfaDevice(serial, seed, self.now())
            user.devices.append(device)
        return device

    def add_role(
        self,
        account: str,
        name: str,
        trust: Sequence[Statement],
        *,
        path: str = "/",
        partition: str = "aws",
        max_session: int = 3600,
        may_assume: Sequence[str] = (),
        iam_admin: bool = False,
        policies: Sequence[Statement] = (),
        tags: Mapping[str, str] | None = None,
    ) -> Role:
        """Add a role. `trust` is the list of statements of its trust policy.

        :param policies: statements of its permissions policies in addition to the other parameters.
        :raises ValueError: if a statement has an element or operator that is not implemented.
        """
        check_trust(trust)
        check_permissions(policies)
        role = Role(
            partition,
            account,
            name,
            path,
            self.ids.unique_id("AROA"),
            tuple(trust),
            max_session,
            tuple(policies),
            may_assume=tuple(may_assume),
            iam_admin=iam_admin,
            tags=tags or {},
        )
        with self.lock:
            self._roles[role.arn] = role
        return role

    def remove_role(self, role: Role) -> None:
        """Delete a role. Its sessions are unknown from then on."""
        with self.lock:
            self._roles.pop(role.arn, None)

    def add_session(
        self,
        principal: User | Role,
        life: timedelta,
        *,
        origin: Origin | None = None,
        name: str = "",
        mfa_at: datetime | None = None,
        age: timedelta = timedelta(0),
        tags: Tags = NO_TAGS,
        source_identity: str = "",
        policies: tuple[Statement, ...] | None = None,
        everywhere: bool = True,
        token_bytes: int = 0,
    ) -> Session:
        """Add temporary credentials that are valid for `life`, starting `age` ago.

        :param origin: the call that issued them; by default GetSessionToken for a user and AssumeRole for a
            role.
        :param token_bytes: minimum length of the token.
        """
        issued = (self.now() - age).replace(microsecond=0)
        session = Session(
            self.ids.key_id("ASIA", principal.account),
            self.ids.secret(),
            self.ids.session_token(token_bytes),
            principal,
            issued,
            issued + life,
            origin or (Origin.SESSION_TOKEN if isinstance(principal, User) else Origin.ROLE),
            name,
            mfa_at,
            tags,
            source_identity,
            policies,
            everywhere,
        )
        with self.lock:
            self._sessions[session.key_id] = session
        return session

    def user(self, partition: str, account: str, name: str) -> User | None:
        """Return the user of that name in an account. Names are unique regardless of path and case."""
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
        """Return a long-term key and its user, regardless of status; also a recently deleted key."""
        with self.lock:
            return next(
                (
                    (user, key)
                    for user in self._users.values()
                    for key in (*user.keys, *user.deleted)
                    if key.key_id == key_id
                ),
                None,
            )

    def session(self, key_id: str) -> Session | None:
        """Return a session, expired or not, whose user or role still exists.

        A GetSessionToken session stays valid when the key that requested it is deactivated or deleted,
        because it belongs to the user. Deleting or rotating the key revokes nothing; AWS's advice for an
        exposed key is to deny by aws:TokenIssueTime or to delete the user.
        """
        with self.lock:
            session = self._sessions.get(key_id)
            principals: Mapping[str, User | Role] = {**self._users, **self._roles}
            if session is None or principals.get(session.principal.arn) is not session.principal:
                return None
            return session

    def devices(self) -> tuple[MfaDevice, ...]:
        """Return all MFA devices."""
        with self.lock:
            return tuple(device for user in self._users.values() for device in user.devices)
