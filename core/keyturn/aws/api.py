"""Protocols for the AWS calls of keyturn, and their parameters and results. Tests can replace AWS by
implementing them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keyturn.aws.deadline import Deadline
from keyturn.model.json_codec import stored
from keyturn.model.profile import Credentials
from keyturn.system.caller_environment import CallerEnvironment


@dataclass(frozen=True, slots=True)
class IssuedCredentials:
    """Temporary credentials from STS."""

    credentials: Credentials
    """`expires` is set."""
    arn: str | None = None
    """Session ARN of the assumed role, if the call returns it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Result of GetCallerIdentity."""

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
    """Result of GetAccessKeyLastUsed, which lags by up to hours."""

    at: datetime | None = field(metadata=stored("used"))
    """None for a key that was never used."""
    service: str | None = None
    region: str | None = None

    @property
    def where(self) -> str:
        """Service and region, like `s3, eu-west-1`; empty if AWS does not report them."""
        return ", ".join(part for part in (self.service, self.region) if part)


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """Result of CreateAccessKey, the only call that returns the secret."""

    key: Credentials
    created: datetime


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """Parameters of AssumeRole, with AWS's names and limits (STS API reference)."""

    role_arn: str
    session_name: str
    """2 to 64 characters of `[\\w+=,.@-]`."""
    duration_seconds: int
    """900 to 43200."""
    external_id: str | None = None
    mfa_serial: str | None = None
    mfa_code: str | None = field(default=None, repr=False)
    """Exactly six digits; requires `mfa_serial`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tags: tuple[str, ...] = ()
    """Keys of `tags` that are passed along a chain of roles."""
    source_identity: str | None = None
    policy: str | None = None
    """Inline session policy, JSON."""
    policy_arns: tuple[str, ...] = ()


class Aws(Protocol):
    """AWS as one profile sees it: with its region, endpoints, proxies and CA bundle.

    All calls raise :class:`~keyturn.model.errors.AwsError`: `WrongMfaCode`, `ClockSkew`, `AwsRefused` with
    the code, or `Unreachable`.
    """

    def get_session_token(
        self, signer: Credentials, *, duration_seconds: int, mfa_serial: str | None, mfa_code: str | None
    ) -> IssuedCredentials:
        """STS GetSessionToken: temporary credentials of the IAM user that owns `signer`."""

    def assume_role(self, signer: Credentials, request: RoleRequest) -> IssuedCredentials:
        """STS AssumeRole."""

    def get_caller_identity(self, signer: Credentials) -> Identity:
        """STS GetCallerIdentity. It needs no permission and cannot be denied."""

    def list_access_keys(self, signer: Credentials, user_name: str | None) -> tuple[ListedKey, ...]:
        """IAM ListAccessKeys. A temporary `signer` must name the user."""

    def list_mfa_devices(self, signer: Credentials, user_name: str | None) -> tuple[str, ...]:
        """IAM ListMFADevices: serial numbers, including security keys. A temporary `signer` must name the
        user.
        """

    def access_key_last_used(self, signer: Credentials, key_id: str) -> LastUse:
        """IAM GetAccessKeyLastUsed."""

    def create_access_key(
        self, signer: Credentials, user_name: str, keep: Callable[[CreatedKey], None]
    ) -> CreatedKey:
        """IAM CreateAccessKey, sent only once, because a retry after a lost response would create a second
        key.

        :param keep: called with the new key immediately after the response, in the thread that received
            it, even if the caller has timed out. It must not raise.
        :raises NoResponse: if there is no response; the key may have been created.
        """

    def set_access_key_status(self, signer: Credentials, user_name: str, key_id: str, status: str) -> None:
        """IAM UpdateAccessKey.

        :param status: `Active` or `Inactive`.
        """

    def delete_access_key(self, signer: Credentials, user_name: str, key_id: str) -> None:
        """IAM DeleteAccessKey."""

    def source_credentials(self, profile: str, source: str) -> Credentials:
        """Return the credentials of a `credential_source` of this process: environment, container or
        instance.

        :param profile: name for the error text.
        :raises ProfileBroken: if the source is not available here.
        """

    def native_credentials(self, profile: str) -> Credentials:
        """Return the credentials of botocore's own provider chain for an explicit profile: SSO, web
        identity, login.
        """


class AwsFactory(Protocol):
    """Creates the view of AWS for a profile of the shared files."""

    def __call__(
        self,
        profile: str | None,
        region: str | None,
        *,
        deadline: Deadline | None = None,
        short_timeouts: bool = False,
        caller: CallerEnvironment | None = None,
    ) -> Aws:
        """:param deadline: deadline of the whole operation; a new one by default.
        :param short_timeouts: for optional calls: one attempt within a few seconds.
        :param caller: the environment of the process that asks; this process's own by default.
        """
