"""Frozen values: profiles, keys, sessions, and the snapshot that front ends draw.

Nothing here reads a file or a clock: callers pass `now` (aware, UTC). Only :class:`Credentials` holds
secrets, wrapped in :class:`~keyturn.model.secret.Secret`. No snapshot contains it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from keyturn.model.json_codec import OTHER, OtherFields, stored
from keyturn.model.secret import Secret

#: Default rotation policy: 90 days, as the CIS AWS Foundations Benchmark requires.
DEFAULT_ROTATION_DAYS = 90
#: Share of its policy from which on a key is due.
ROTATION_WARN_SHARE = 0.75
#: A profile that was requested within this time is in use.
IN_USE_FOR = timedelta(hours=24)


class Kind(StrEnum):
    """Type of a profile's definition, named after its source of credentials."""

    IAM_KEY = "iam-key"
    ROLE = "role"
    SSO_ROLE = "sso-role"
    SAML_ROLE = "saml-role"
    WEB_IDENTITY = "web-identity"
    CONSOLE_LOGIN = "console-login"
    PROCESS = "process"
    MFA_SESSION = "mfa-session"
    STATIC_SESSION = "static-session"
    UNKNOWN = "unknown"


#: Kinds whose sessions come from a sign-in that AWS tools have cached.
LOGIN_KINDS = (Kind.SSO_ROLE, Kind.CONSOLE_LOGIN)


class State(StrEnum):
    """State of a profile's delivered or cached credentials."""

    FRESH = "fresh"
    SOON = "soon"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    """There are temporary credentials, but nothing records their expiry."""
    NONE = "none"
    LONG_TERM = "long-term"
    BROKEN = "broken"
    LOCKED = "locked"


class LoginState(StrEnum):
    """State of a sign-in."""

    SIGNED_IN = "signed-in"
    """Its token is valid."""
    RENEWABLE = "renewable"
    """Its token has expired, and the next use can renew it without a sign-in."""
    ENDED = "ended"
    """Only a new sign-in helps."""


class Delivery(StrEnum):
    """Place where AWS clients find a profile's credentials."""

    CREDENTIAL_PROCESS = "credential-process"
    CREDENTIALS_FILE = "credentials-file"
    NOWHERE = "nowhere"
    NATIVE = "native"


class Renew(StrEnum):
    """Renewal policy of a session."""

    AUTO = "auto"
    ON_DEMAND = "on-demand"
    OFF = "off"


class Rotate(StrEnum):
    """Rotation policy of a long-term key."""

    ASK = "ask"
    """keyturn reports that the key is due; the user rotates it."""
    AUTO = "auto"
    """The agent rotates a key that is past its policy. It never deletes the old key."""


class RotationState(StrEnum):
    """A long-term key's state relative to its rotation policy."""

    OK = "ok"
    DUE = "due"
    OVERDUE = "overdue"
    IN_PROGRESS = "in-progress"
    OFF = "off"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "n/a"


class VaultState(StrEnum):
    """State of the vault, by the input that it needs to open."""

    ABSENT = "absent"
    LOCKED = "locked"
    """Opens with a passphrase or recovery key only."""
    CLOSED = "closed"
    """Not open; the system keyring can open it without a prompt."""
    OPEN = "open"
    """The agent or this process holds the identity."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Origin:
    """File position of a value."""

    file: str
    line: int
    """1-based."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials that sign requests. The secret parts never appear in `repr`."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None
    expires: datetime | None = None
    """Expiry of temporary credentials, aware UTC; None for a long-term key or an unknown expiry."""


@dataclass(frozen=True, slots=True)
class Key:
    """A long-term access key without its secret. The IAM fields were true at `checked`."""

    key_id: str
    user: str | None = None
    """ARN of the IAM user; None until AWS was asked."""
    created: datetime | None = None
    """`CreateDate` of ListAccessKeys, the only source of a key's age."""
    status: str | None = None
    """`Active`, `Inactive`, `Expired`, or a status that AWS adds later."""
    slots_used: int | None = None
    """Number of access keys that the user has. IAM allows two."""
    last_used: datetime | None = None
    """From GetAccessKeyLastUsed, which lags by up to hours; None if never used or unknown."""
    last_used_by: str | None = None
    """Service and region of the last use: `s3, eu-west-1`."""
    checked: datetime | None = None
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials without their secret."""

    key_id: str
    issued: datetime | None
    expires: datetime | None
    arn: str | None = None
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


@dataclass(frozen=True, slots=True)
class Login:
    """A sign-in that sessions come from, as AWS tools have cached it, without its token."""

    name: str
    """Name of the sso-session, start URL of a profile without one, or ARN of the `aws login` session.
    Untrusted, because it comes from a file.
    """
    kind: Kind
    """`SSO_ROLE` for Identity Center, or `CONSOLE_LOGIN` for `aws login`."""
    until: datetime
    """Expiry of its token, aware UTC. The sign-in itself may last longer."""
    is_renewable: bool = False
    """The cache holds all that AWS tools need to renew the token without a person."""
    renewable_until: datetime | None = None
    """Time after which AWS tools no longer renew it; None if it is not renewable or the time is unknown. The
    sign-in may end earlier, because no file records the end of a portal or console session.
    """


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key's age relative to its rotation policy."""

    state: RotationState = RotationState.NOT_APPLICABLE
    age_days: int | None = None
    limit_days: int | None = None
    last_used: datetime | None = None
    pending_step: str | None = None
    """Step at which a rotation is paused; None if there is no rotation."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Last failure of a profile, kept until the next success."""

    at: datetime
    line: str
    """The error line (see :meth:`keyturn.model.errors.KeyturnError.line`), already safe to print."""
    event: str = field(default="", metadata=stored(omit=True))
    """Event of the activity log that failed; empty if unknown."""
    other_fields: OtherFields = field(default_factory=dict, hash=False, repr=False, metadata=OTHER)


@dataclass(frozen=True, slots=True)
class Profile:
    """One row: a profile as the shared files, the managed profiles and the index describe it."""

    name: str
    """Name as AWS tools know it. Untrusted, because it comes from a file: print it through
    :func:`~keyturn.model.text.safe`.
    """
    managed: bool = False
    kind: str = Kind.UNKNOWN
    """A member of :class:`Kind`, or the kind of a credential provider that it has no member for."""
    kind_label: str = ""
    """Name of such a kind for people."""
    source: str | None = None
    """Source of its sessions: the profile that holds the key, a login, a start URL. Rows with the same
    source are grouped, because their sessions depend on it.
    """
    account: str | None = None
    account_derived: bool = False
    """True if the account is computed from the key id and AWS has not confirmed it."""
    role: str | None = None
    """Role ARN, or the permission set name of an Identity Center role."""
    region: str | None = None
    key: Key | None = None
    """The profile's own long-term key."""
    session: Session | None = None
    """The delivered or cached session."""
    login: Login | None = None
    """The sign-in that its sessions come from, directly or through a chain of roles; None if there is none,
    or AWS tools have no token of it.
    """
    delivery: Delivery = Delivery.NATIVE
    deliver_as: str | None = None
    """Section of the credentials file, if it differs from the name."""
    renew: Renew | None = None
    rotation: Rotation = field(default_factory=Rotation)
    mfa_serial: str | None = None
    mfa_session: tuple[str, str] | None = None
    """Access key id and serial of the MFA session that one code makes and that then serves the profile. One
    code serves all profiles with the same value; None if the profile uses up a code of its own.
    """
    chain: tuple[str, ...] = ()
    """Profiles between a role and its source, nearest first."""
    credential_source: str | None = None
    """Source of the caller's credentials for the first role of the chain: `Environment`,
    `Ec2InstanceMetadata` or `EcsContainer`. None if the chain ends in a profile. Such sessions are
    never cached.
    """
    duration_seconds: int | None = None
    role_settings: tuple[tuple[str, str], ...] = ()
    """Further AssumeRole settings of a managed role as (setting, text): tags, source identity, policy."""
    delivers_key: bool = False
    """`session = "none"`: the long-term key itself is delivered."""
    lacks_consent: bool = False
    """`session = "none"` is in `profiles.toml`, but the user has not confirmed it: sessions are delivered."""
    plaintext_key: bool = False
    """A shared file contains a plaintext long-term secret key."""
    last_use: datetime | None = None
    """Time of the last request by a client."""
    problem: str | None = None
    """Reason why the definition cannot work; None if it can."""
    failure: Failure | None = None
    needs_person: bool = False
    """A refresh needs an MFA code that keyturn cannot produce itself."""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A shared file, or one of keyturn's own, that cannot be used."""

    path: str
    line: int
    """1-based, 0 if unknown."""
    reason: str
    unreadable: bool = False
    """The system refused to open or read the file, so its content is unknown."""


@dataclass(frozen=True, slots=True)
class FileWarning:
    """A line of a shared file that AWS tools read differently from how it looks, or from each other."""

    path: str
    line: int
    """1-based."""
    reason: str
    profile: str | None = None
    """The profile whose section it is in, if AWS tools know that as a profile."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a front end draws, at one moment. Replaced as a whole, never modified."""

    generation: int
    profiles: tuple[Profile, ...]
    problems: tuple[FileProblem, ...] = ()
    warnings: tuple[FileWarning, ...] = ()
    vault: VaultState = VaultState.ABSENT
    agent: bool = False
    """An agent is running and unlocked."""
    paused: bool = False
    """Auto-renewal is paused in that agent."""
    recovery_key_seen: bool = True
    """False until the vault's recovery key has been shown."""
    sandbox: str | None = None
    """Shell line that makes another shell join the sandbox; None outside a sandbox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """Result of a refresh."""

    profile: str
    seconds: float
    """Duration of the refresh."""
    delivered: Delivery
    note: str = ""
    """One more sentence to show, for example that AWS allowed only one hour."""
    session: Session = field(metadata=stored(flat=True))


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a displayed change. Secret values are masked; the text is still untrusted."""

    sign: str
    """`+`, `-`, a space for context, or `@` for the heading that names a file."""
    text: str


@dataclass(frozen=True, slots=True)
class GroupWrite:
    """A file or folder of this user that members of a group could write, which the user may end."""

    path: str
    mode: int
    """Its permission bits now."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Effect of adopt or release, shown before anything is written."""

    action: str
    """`adopt` or `release`."""
    names: tuple[str, ...]
    """All affected profiles, dependants included."""
    dependants: tuple[str, ...] = field(metadata=stored("also"))
    """The dependants among `names`, which were not requested."""
    diff: tuple[DiffLine, ...] = field(metadata=stored(row=True))
    secrets: tuple[str, ...]
    """One sentence for each secret that moves into or out of the vault, without the secret."""
    warnings: tuple[str, ...]
    digest: str
    """Digest of the files and managed profiles that the plan is based on. Executing the plan on another
    state is refused.
    """
    needs_vault: bool = field(default=True, metadata=stored(local=True))
    session_none: bool = field(default=False, metadata=stored(local=True))
    """Adopted IAM users deliver their key itself."""
    group_write: tuple[GroupWrite, ...] = field(default=(), metadata=stored(omit=True))
    """Files and folders whose group write permission is removed first."""
    remaining: tuple[str, ...] = field(default=(), metadata=stored(omit=True))
    """Managed profiles that get their sessions from `names`, and stay managed when those are released."""

    @property
    def change(self) -> str:
        """Digest of what the plan itself changes. It does not depend on what else is in the files."""
        lines = [f"{line.sign}{line.text}" for line in self.diff if line.sign.strip() and line.text.strip()]
        parts = (self.action, self.names, self.dependants, lines, self.secrets, self.session_none)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


#: A malformed response may hold an expiry in the year 1; subtracting the margin from it would overflow.
_MIN_DATETIME = datetime.min.replace(tzinfo=UTC)


def due_at(issued: datetime | None, expires: datetime) -> datetime:
    """Return the time at which a session should be renewed: `min(max(20 min, 10 % of its lifetime),
    lifetime / 3)` before its expiry.

    The usual margin is 20 minutes, because botocore calls its `credential_process` again on every signing
    once less than 15 minutes are left. It is at most a third of the lifetime, because a short session must
    not be due as soon as it is issued. If `issued` is unknown, the margin is 20 minutes.
    """
    margin = timedelta(minutes=20)
    if issued is not None and issued < expires:
        lifetime = expires - issued
        margin = min(max(margin, lifetime / 10), lifetime / 3)
    return expires - min(margin, expires - _MIN_DATETIME)


def session_state(session: Session | None, now: datetime) -> State:
    """Return `none`, `fresh`, `soon` (from :func:`due_at` on), `expired`, or `unknown` for a session without
    a recorded expiry.
    """
    if session is None:
        return State.NONE
    if session.expires is None:
        return State.UNKNOWN
    if now >= session.expires:
        return State.EXPIRED
    return State.SOON if now >= due_at(session.issued, session.expires) else State.FRESH


def login_state(login: Login, now: datetime) -> LoginState:
    """Return the state of a sign-in at `now`."""
    if now < login.until:
        return LoginState.SIGNED_IN
    end = login_end(login)
    return LoginState.RENEWABLE if end is None or now < end else LoginState.ENDED


def login_end(login: Login) -> datetime | None:
    """Return the time at which a sign-in has ended for certain; None if that is unknown."""
    if not login.is_renewable:
        return login.until
    return None if login.renewable_until is None else max(login.until, login.renewable_until)


def has_login(profile: Profile, now: datetime) -> bool:
    """Return True if the sign-in of a profile is valid or renewable."""
    return profile.login is not None and login_state(profile.login, now) is not LoginState.ENDED


def needs_sign_in(profile: Profile, now: datetime) -> bool:
    """Return True if a profile gets no new session before a person signs in again. A role that another
    profile signs for may get one as long as a session of that profile is cached.
    """
    if profile.login is None or profile.chain:
        return False
    return login_state(profile.login, now) is LoginState.ENDED


def state_of(profile: Profile, vault: VaultState, now: datetime) -> State:
    """Return the state of a profile's delivered credentials, as `list --json` prints it.

    Without a valid session the sign-in decides: a profile is `none` as long as that lasts, and `expired` once
    its next use needs a new one.
    """
    if profile.problem is not None:
        return State.BROKEN
    if profile.delivers_key or profile.plaintext_key:
        return State.LONG_TERM
    state = session_state(profile.session, now)
    if state is State.NONE and needs_sign_in(profile, now):
        state = State.EXPIRED
    elif state is State.EXPIRED and has_login(profile, now):
        state = State.NONE
    if (
        profile.managed
        and vault in (VaultState.LOCKED, VaultState.BROKEN)
        and state in (State.NONE, State.EXPIRED)
    ):
        return State.LOCKED
    return state


def rotation_of(
    key: Key | None, limit_days: int | None, now: datetime, *, pending_step: str | None = None
) -> Rotation:
    """Return a key's rotation status at `now`.

    :param limit_days: the policy in days; None or 0 disables it.
    :param pending_step: step at which an unfinished rotation of this key is paused.
    """
    if key is None:
        return (
            Rotation()
            if pending_step is None
            else Rotation(RotationState.IN_PROGRESS, pending_step=pending_step)
        )
    age = None if key.created is None else max(0, (now - key.created).days)
    if pending_step is not None:
        state = RotationState.IN_PROGRESS
    elif not limit_days:
        state = RotationState.OFF
    elif age is None:
        state = RotationState.UNKNOWN
    elif age >= limit_days:
        state = RotationState.OVERDUE
    elif age >= limit_days * ROTATION_WARN_SHARE:
        state = RotationState.DUE
    else:
        state = RotationState.OK
    return Rotation(state, age, limit_days or None, key.last_used, pending_step)


def in_use(profile: Profile, now: datetime) -> bool:
    """Return True if the profile is delivered to the credentials file or was requested within the last 24
    hours.
    """
    if profile.delivery is Delivery.CREDENTIALS_FILE and profile.session is not None:
        return True
    return profile.last_use is not None and now - profile.last_use < IN_USE_FOR
