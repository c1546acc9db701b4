"""What keyturn asks of AWS, as small protocols: whoever implements them can stand in for AWS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keyturn.aws.deadline import Deadline
from keyturn.model.profile import Credentials


@dataclass(frozen=True, slots=True)
class IssuedCredentials:
    """Temporary credentials as STS gave them."""

    credentials: Credentials
    """`expires` is set."""
    arn: str | None = None
    """The assumed role's session ARN, where the call tells it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Answer of GetCallerIdentity."""

    arn: str
    account: str
    user_id: str


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One entry of ListAccessKeys."""

    key_id: str
    status: str
    created: datetime


@dataclass(frozen=True, slots=True)
class LastUse:
    """Answer of GetAccessKeyLastUsed. AWS tells of a use up to hours late."""

    at: datetime | None
    """None for a key that was never used."""
    service: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """Answer of CreateAccessKey: the one time that AWS tells the secret."""

    key: Credentials
    created: datetime


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """The parameters of AssumeRole, by AWS's own names and limits (STS API reference)."""

    role_arn: str
    session_name: str
    """2 to 64 of `[\\w+=,.@-]`."""
    duration_seconds: int
    """900 to 43200."""
    external_id: str | None = None
    mfa_serial: str | None = None
    mfa_code: str | None = field(default=None, repr=False)
    """Exactly six digits, together with `mfa_serial`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tags: tuple[str, ...] = ()
    """Keys of `tags` that go on along a chain of roles."""
    source_identity: str | None = None
    policy: str | None = None
    """An inline session policy, JSON."""
    policy_arns: tuple[str, ...] = ()


class Aws(Protocol):
    """One profile's view of AWS: its region, endpoints, proxies and CA bundle.

    All calls raise :class:`~keyturn.model.errors.AwsError`: `WrongMfaCode`, `ClockSkew`, `AwsRefused` with the code, or
    `Unreachable`.
    """

    def get_session_token(
        self, signer: Credentials, *, duration_seconds: int, mfa_serial: str | None, mfa_code: str | None
    ) -> IssuedCredentials: ...

    def assume_role(self, signer: Credentials, request: RoleRequest) -> IssuedCredentials: ...

    def get_caller_identity(self, signer: Credentials) -> Identity: ...

    def list_access_keys(self, signer: Credentials, user_name: str | None) -> tuple[ListedKey, ...]: ...

    def list_mfa_devices(self, signer: Credentials, user_name: str | None) -> tuple[str, ...]: ...

    def access_key_last_used(self, signer: Credentials, key_id: str) -> LastUse: ...

    def create_access_key(
        self, signer: Credentials, user_name: str, keep: Callable[[CreatedKey], None]
    ) -> CreatedKey:
        """:param keep: gets the new key in the very next operation after the answer, in the thread that got it, even
            where nobody waits for the answer any more; it raises nothing.
        :raises Unanswered: there may be a new key all the same."""
        ...

    def set_access_key_status(self, signer: Credentials, user_name: str, key_id: str, status: str) -> None:
        """:param status: `Active` or `Inactive`."""
        ...

    def delete_access_key(self, signer: Credentials, user_name: str, key_id: str) -> None: ...

    def source_credentials(self, profile: str, source: str) -> Credentials:
        """What a `credential_source` is in this very process: its environment, its container, its machine.

        :param profile: who asks, for the words of a refusal.
        :raises ProfileBroken: there is no such thing here.
        """
        ...

    def native_credentials(self, profile: str) -> Credentials:
        """What botocore's own provider chain gives for an explicit profile: SSO, process, web identity, login."""
        ...


class AwsFactory(Protocol):
    """Makes the view of AWS for a profile of the shared files."""

    def __call__(
        self,
        profile: str | None,
        region: str | None,
        *,
        deadline: Deadline | None = None,
        short_timeouts: bool = False,
    ) -> Aws:
        """:param deadline: of the whole act that the view is made for; a new one where none is given.
        :param short_timeouts: for what is nice to have: one try, a few seconds."""
        ...
