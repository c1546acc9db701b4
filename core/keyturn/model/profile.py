"""What keyturn knows, as frozen values: profiles, keys, sessions, and the snapshot that front ends draw.

Nothing here reads a file or a clock: whoever asks passes `now` (aware, UTC). Nothing here holds a secret but
:class:`Credentials`, whose secret parts are :class:`~keyturn.model.secret.Secret` and which no snapshot ever holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from keyturn.model.json_codec import stored
from keyturn.model.secret import Secret

#: Rotation policy where a profile names none: 90 days, as the CIS AWS Foundations benchmark asks.
DEFAULT_ROTATION_DAYS = 90
#: A key is *due* from this share of its policy on.
ROTATION_WARN_SHARE = 0.75
#: A profile asked for within this time is in use (product.md, Words).
IN_USE_FOR = timedelta(hours=24)


class Kind(StrEnum):
    """What a profile's definition starts from."""

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


class State(StrEnum):
    """What is delivered or cached for a profile right now."""

    FRESH = "fresh"
    SOON = "soon"
    EXPIRED = "expired"
    NONE = "none"
    LONG_TERM = "long-term"
    BROKEN = "broken"
    LOCKED = "locked"


class Delivery(StrEnum):
    """Where AWS clients find a profile's credentials."""

    CREDENTIAL_PROCESS = "credential-process"
    CREDENTIALS_FILE = "credentials-file"
    NOWHERE = "nowhere"
    NATIVE = "native"


class Renew(StrEnum):
    """When keyturn renews a session by itself."""

    AUTO = "auto"
    ON_DEMAND = "on-demand"
    OFF = "off"


class Rotate(StrEnum):
    """When keyturn rotates a long-term key by itself."""

    ASK = "ask"
    """It says that the key is due, and a person rotates it."""
    AUTO = "auto"
    """The agent rotates a key that is past its policy; it never deletes the old one."""


class RotationState(StrEnum):
    """How a long-term key stands against its policy."""

    OK = "ok"
    DUE = "due"
    OVERDUE = "overdue"
    IN_PROGRESS = "in-progress"
    OFF = "off"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "n/a"


class VaultState(StrEnum):
    """What the vault can do at this moment without a person."""

    ABSENT = "absent"
    LOCKED = "locked"
    """Only a person (passphrase, recovery key) can open it."""
    CLOSED = "closed"
    """Not open, but the system keyring can open it without a question."""
    OPEN = "open"
    """An agent, or this process, holds the identity."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value stands."""

    file: str
    line: int
    """1-based."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs a request. The secret parts never show."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None
    expires: datetime | None = None
    """End of a temporary credential, aware UTC; None for a long-term key or an unknown end."""


@dataclass(frozen=True, slots=True)
class Key:
    """A long-term access key, without its secret. What IAM said of it was true at `checked`."""

    key_id: str
    user: str | None = None
    """The IAM user's ARN, None while AWS has not been asked."""
    created: datetime | None = None
    """`CreateDate` of ListAccessKeys, the only source of a key's age."""
    status: str | None = None
    """`Active`, `Inactive`, `Expired`, or a later word of AWS's."""
    slots_used: int | None = None
    """How many of the user's two key slots are taken."""
    last_used: datetime | None = None
    """As AWS tells it, up to hours late; None where it was never used, or that is not known."""
    last_used_by: str | None = None
    """The service and the region of that use: `s3, eu-west-1`."""
    checked: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials without their secret."""

    key_id: str
    issued: datetime | None
    expires: datetime | None
    arn: str | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key's age against its policy."""

    state: RotationState = RotationState.NOT_APPLICABLE
    age_days: int | None = None
    limit_days: int | None = None
    last_used: datetime | None = None
    waits: str | None = None
    """Where a rotation stands that waits to be gone on with; None while there is none."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The last thing that went wrong for a profile, kept until something goes right."""

    at: datetime
    line: str
    """What failed, why, and what to do; already harmless."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One row: a profile as both files, our definitions and the index describe it."""

    name: str
    """As AWS tools know it; from a file, so hostile until shown through `safe`."""
    managed: bool = False
    kind: Kind = Kind.UNKNOWN
    source: str | None = None
    """What its sessions are made from and end with: the profile that holds the key, a login, a start URL. Rows with
    the same source belong together."""
    account: str | None = None
    account_derived: bool = False
    """True while the account was only computed from the key id and AWS has not confirmed it."""
    role: str | None = None
    """Role ARN, or the permission set's name for an Identity Center role."""
    region: str | None = None
    key: Key | None = None
    """The long-term key behind it, where it is the profile's own."""
    session: Session | None = None
    """What is delivered or cached."""
    delivery: Delivery = Delivery.NATIVE
    deliver_as: str | None = None
    """The section of the credentials file, where it differs from the name."""
    renew: Renew | None = None
    rotation: Rotation = field(default_factory=Rotation)
    mfa_serial: str | None = None
    chain: tuple[str, ...] = ()
    """Profiles passed on the way to the source, nearest first, for a role."""
    credential_source: str | None = None
    """What the first role of its chain is assumed with, where that is no profile but whoever asks: `Environment`,
    `Ec2InstanceMetadata` or `EcsContainer`. Its sessions are kept nowhere."""
    duration_seconds: int | None = None
    role_settings: tuple[tuple[str, str], ...] = ()
    """What else a managed role asks of AssumeRole, as setting and value in words: tags, source identity, policy."""
    delivers_key: bool = False
    """`session = "none"`: the long-term key itself is handed out."""
    plaintext_key: bool = False
    """A long-term secret stands in a shared file in clear."""
    last_use: datetime | None = None
    """When a client last asked for it."""
    problem: str | None = None
    """Why it cannot work as defined; None if it can."""
    failure: Failure | None = None
    needs_person: bool = False
    """A refresh needs an MFA code that keyturn cannot produce by itself."""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A shared file, or one of ours, that cannot be read."""

    path: str
    line: int
    """1-based, 0 where unknown."""
    reason: str
    unreadable: bool = False
    """The system refused to have it read, so that nobody knows what is in it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a front end draws, at one moment. Swapped whole, never changed."""

    generation: int
    profiles: tuple[Profile, ...]
    problems: tuple[FileProblem, ...] = ()
    vault: VaultState = VaultState.ABSENT
    agent: bool = False
    """An agent answers and is unlocked."""
    paused: bool = False
    """That agent renews nothing by itself."""
    recovery_key_seen: bool = True
    """False while nobody has been shown the vault's recovery key."""
    sandbox: str | None = None
    """The line that makes another shell join the sandbox; None outside one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh brought."""

    profile: str
    seconds: float
    """How long it took."""
    delivered: Delivery
    note: str = ""
    """One more sentence for a person, for example that AWS allowed only one hour."""
    session: Session = field(metadata=stored(flat=True))


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a shown change. Secret values are masked already; the text is still from outside."""

    sign: str
    """`+`, `-`, a space for context, or `@` for the heading that names a file."""
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What adopt or release would do, to be shown before anything is written."""

    action: str
    """`adopt` or `release`."""
    names: tuple[str, ...]
    """All profiles concerned, dependants included."""
    also: tuple[str, ...]
    """Of these, the ones that were not asked for but come along."""
    diff: tuple[DiffLine, ...] = field(metadata=stored(row=True))
    secrets: tuple[str, ...]
    """What moves into, or out of, the vault, one sentence each, without the secret."""
    warnings: tuple[str, ...]
    digest: str
    """Of the files and definitions planned on; an act on another state of them is refused."""
    needs_vault: bool = field(default=True, metadata=stored(local=True))
    session_none: bool = field(default=False, metadata=stored(local=True))
    """Adopted IAM users deliver their key itself."""


#: A broken answer may end a session in the year 1, before which there is no moment to name.
_MIN_DATETIME = datetime.min.replace(tzinfo=UTC)


def due_at(issued: datetime | None, expires: datetime) -> datetime:
    """When a session should be renewed: `min(max(20 min, 10 % of its life), life / 3)` before its end.

    botocore asks its `credential_process` again at every signing once less than 15 minutes are left, so 20 minutes
    are the usual margin; a short session must not be due at birth, so at most a third of its life. Without a known
    start the usual margin counts.
    """
    margin = timedelta(minutes=20)
    if issued is not None and issued < expires:
        lifetime = expires - issued
        margin = min(max(margin, lifetime / 10), lifetime / 3)
    return expires - min(margin, expires - _MIN_DATETIME)


def session_state(session: Session | None, now: datetime) -> State:
    """`none`, `fresh`, `soon` (from `due_at` on) or `expired`. A session with no known end counts as fresh."""
    if session is None:
        return State.NONE
    if session.expires is None:
        return State.FRESH
    if now >= session.expires:
        return State.EXPIRED
    return State.SOON if now >= due_at(session.issued, session.expires) else State.FRESH


def state_of(profile: Profile, vault: VaultState, now: datetime) -> State:
    """The state of what a profile delivers (product.md, `list --json`)."""
    if profile.problem is not None:
        return State.BROKEN
    if profile.delivers_key or profile.plaintext_key:
        return State.LONG_TERM
    state = session_state(profile.session, now)
    if (
        profile.managed
        and vault in (VaultState.LOCKED, VaultState.BROKEN)
        and state in (State.NONE, State.EXPIRED)
    ):
        return State.LOCKED
    return state


def rotation_of(
    key: Key | None, limit_days: int | None, now: datetime, *, waits: str | None = None
) -> Rotation:
    """A key's rotation status at `now`.

    :param limit_days: the policy in days; None or 0 switches it off.
    :param waits: where a rotation of this key stands that has begun and not ended.
    """
    if key is None:
        return Rotation() if waits is None else Rotation(RotationState.IN_PROGRESS, waits=waits)
    age = None if key.created is None else max(0, (now - key.created).days)
    if waits is not None:
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
    return Rotation(state, age, limit_days or None, key.last_used, waits)


def in_use(profile: Profile, now: datetime) -> bool:
    """Delivered into a file, or asked for within the last 24 hours."""
    if profile.delivery is Delivery.CREDENTIALS_FILE and profile.session is not None:
        return True
    return profile.last_use is not None and now - profile.last_use < IN_USE_FOR
