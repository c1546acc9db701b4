"""What exists behind the stand-in, and the clock it lives by."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from keyturn.model.secret import Secret
from keyturn.system.clock import Clock
from keyturn_sandbox.eventual_consistency import Change
from keyturn_sandbox.id_generator import IdGenerator
from keyturn_sandbox.policy.policy import Statement, check_permissions, check_trust
from keyturn_sandbox.policy.principals import ABSENT, AccessKey, MfaDevice, Origin, Role, Session, User
from keyturn_sandbox.services.session_tags import NO_TAGS, Tags

KEY_QUOTA = 2
"""Access keys a user may have, inactive ones included (aws-facts 5)."""
DEVICE_QUOTA = 8
"""MFA devices a user may have."""

T = TypeVar("T")


class SandboxState:
    """Everything that exists, and the clock it lives by. Hold `lock` while reading or changing more than one thing.

    :param clock: the sandbox's movable clock.
    :param forge: where ids and secrets come from.
    """

    def __init__(self, clock: Clock, ids: IdGenerator) -> None:
        self.lock = threading.RLock()
        self.now = clock
        self.ids = ids
        self.propagation = timedelta(0)
        """How long after a change of a key or policy every answer is still by what was before."""
        self.flapping = timedelta(0)
        """How long after that answers flap between the two."""
        self.use_lag = timedelta(0)
        """How late GetAccessKeyLastUsed tells a use; hours, with AWS."""
        self.activated: set[tuple[str, str]] = set()
        """(account, region) pairs of the regions that an account has to activate, and did."""
        self.deactivated: set[tuple[str, str]] = set()
        """(account, region) pairs in which an administrator switched STS off."""
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
        """A new IAM user; an empty `name` is the account's root user.

        :param age: how long ago it was made.
        :param may_assume: role ARN patterns (`*` and `?`) its own policies allow it to assume.
        :param policies: the statements of its identity policies, besides what the other parameters allow; None for
            those that let everybody manage their own keys, () for none.
        :raises ValueError: if a statement uses an element or an operator that is not evaluated here.
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
        """Delete a user: its keys and its sessions are unknown from now on."""
        with self.lock:
            self._users.pop(user.arn, None)

    def set_policies(self, user: User, policies: Sequence[Statement]) -> None:
        """Give `user` other identity policies, which spread as every change does."""
        check_permissions(policies)
        with self.lock:
            user.change = self._changed(user.policies, self.now())
            user.policies = tuple(policies)

    def set_trust(self, role: Role, trust: Sequence[Statement]) -> None:
        """Give `role` another trust policy, which spreads as every change does."""
        check_trust(trust)
        with self.lock:
            role.change = self._changed(role.trust, self.now())
            role.trust = tuple(trust)

    def add_key(self, user: User, *, age: timedelta = timedelta(0), status: str = "Active") -> AccessKey:
        """A new access key, as old as `age`."""
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
        """Switch a key on or off. The same status again changes nothing."""
        with self.lock:
            if status != key.status:
                key.change = self._changed(key.status, self.now())
                key.status = status

    def delete_key(self, user: User, key: AccessKey) -> None:
        """Delete a key."""
        with self.lock:
            self.set_status(key, ABSENT)
            user.keys.remove(key)
            spreading = [one for one in user.deleted if one.change and one.change.settles > self.now()]
            user.deleted = [*spreading, key]

    def _changed(self, before: T, at: datetime) -> Change[T]:
        """A change that was made at `at` and spreads from there."""
        self._changes += 1
        begins = at + self.propagation
        return Change(before, begins, begins + self.flapping, f"change {self._changes}")

    def add_device(self, user: User, name: str, seed: str) -> MfaDevice:
        """Give `user` a virtual MFA device with the Base32 `seed`."""
        return self._enable(user, f"arn:{user.partition}:iam::{user.account}:mfa/{name}", Secret(seed))

    def add_hardware_device(self, user: User, serial: str, seed: str) -> MfaDevice:
        """Give `user` a hardware device, which goes by its bare serial number (such as `GAHT12345678`)."""
        return self._enable(user, serial, Secret(seed))

    def add_security_key(self, user: User, name: str) -> MfaDevice:
        """Give `user` a FIDO security key or passkey, which only the console takes."""
        key_name = f"{user.name or 'root-account'}/{name}-{self.ids.unique_id('')}"
        return self._enable(user, f"arn:{user.partition}:iam::{user.account}:u2f/user/{key_name}", None)

    def _enable(self, user: User, serial: str, seed: Secret | None) -> MfaDevice:
        with self.lock:
            if len(user.devices) >= DEVICE_QUOTA:
                raise ValueError(f"a user has {DEVICE_QUOTA} MFA devices at most")
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
        """A new role. `trust` is the list of statements of its trust policy.

        :param policies: the statements of its permissions policies, besides what the other parameters allow.
        :raises ValueError: if a statement uses an element or an operator that is not evaluated here.
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
            tuple(may_assume),
            iam_admin,
            tuple(policies),
            tags or {},
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
        """Temporary credentials that live for `life`, counted from `age` ago.

        :param origin: the call that made them; by default GetSessionToken for a user and AssumeRole for a role.
        :param token_bytes: how long the token is at least.
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
        """A long-term key and its user, whatever its status; also a deleted one."""
        with self.lock:
            for user in self._users.values():
                for key in (*user.keys, *user.deleted):
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
