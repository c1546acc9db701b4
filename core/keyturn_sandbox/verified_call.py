"""A call with a verified signature: caller, parameters, time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn_sandbox.aws_errors import incomplete_mfa, unknown_mfa_device, wrong_mfa_code
from keyturn_sandbox.policy.principals import Origin, Role, Session, User
from keyturn_sandbox.state import SandboxState


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal that signed a call."""

    key_id: str
    principal: User | Role
    session: Session | None
    """Session whose credentials signed; None for a long-term key."""
    region: str
    """Region of the credential scope."""

    @property
    def user(self) -> User | None:
        return self.principal if isinstance(self.principal, User) else None

    @property
    def federated_name(self) -> str:
        """Name of a federated user (GetFederationToken); otherwise empty."""
        session = self.session
        return session.name if session is not None and session.origin is Origin.FEDERATION_TOKEN else ""

    @property
    def user_name(self) -> str:
        """Value of `aws:username`; empty for root, roles and federated users."""
        return self.principal.name if isinstance(self.principal, User) and not self.federated_name else ""

    @property
    def arn(self) -> str:
        """The caller's ARN as in GetCallerIdentity; for a role the session's ARN, without the role's path."""
        principal = self.principal
        if self.federated_name:
            return f"arn:{principal.partition}:sts::{principal.account}:federated-user/{self.federated_name}"
        if isinstance(principal, User):
            return principal.arn
        return session_arn(principal, self.session.name if self.session else "")

    @property
    def user_id(self) -> str:
        principal = self.principal
        if self.federated_name:
            return f"{principal.account}:{self.federated_name}"
        if isinstance(principal, User):
            return principal.unique_id
        return f"{principal.unique_id}:{self.session.name if self.session else ''}"

    @property
    def identities(self) -> tuple[str, ...]:
        """ARNs by which a trust policy may name the caller."""
        principal = self.principal
        return (principal.arn,) if isinstance(principal, User) else (principal.arn, self.arn)


@dataclass(frozen=True, slots=True)
class VerifiedCall:
    """One call."""

    caller: Caller
    params: Mapping[str, str]
    now: datetime
    """By the sandbox's clock."""
    state: SandboxState

    def mfa(self) -> datetime | None:
        """Verify the `SerialNumber` and `TokenCode` of this call. Return the time of MFA, or None if the call
        has neither.

        A valid code is used up here, even if the call fails afterwards.

        :raises Refusal: `AccessDenied` if one is missing, the device is not the caller's, or the code is
            wrong, old or used.
        """
        serial, code = self.params.get("SerialNumber"), self.params.get("TokenCode")
        if serial is None and code is None:
            return None
        if serial is None or code is None:
            raise incomplete_mfa()
        user = self.caller.user
        device = user.device(serial) if user else None
        if device is None:
            raise unknown_mfa_device()
        if not device.accept(code, self.now):
            raise wrong_mfa_code()
        return self.now


def session_arn(role: Role, name: str) -> str:
    """Return the ARN of a role session."""
    return f"arn:{role.partition}:sts::{role.account}:assumed-role/{role.name}/{name}"
