"""A call with a verified signature: caller, parameters, time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keyturn_sandbox.aws_errors import half_mfa, unknown_mfa_device, wrong_mfa_code
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
    def role(self) -> Role | None:
        return self.principal if isinstance(self.principal, Role) else None

    @property
    def federated_name(self) -> str:
        """Name of a federated user (GetFederationToken); otherwise empty."""
        made = self.session
        return made.name if made is not None and made.origin is Origin.FEDERATION_TOKEN else ""

    @property
    def user_name(self) -> str:
        """Value of `aws:username`; empty for root, roles and federated users."""
        return self.principal.name if isinstance(self.principal, User) and not self.federated_name else ""

    @property
    def arn(self) -> str:
        """The caller's ARN as in GetCallerIdentity; for a role the session's ARN, without the role's path."""
        who = self.principal
        if self.federated_name:
            return f"arn:{who.partition}:sts::{who.account}:federated-user/{self.federated_name}"
        if isinstance(who, User):
            return who.arn
        return session_arn(who, self.session.name if self.session else "")

    @property
    def user_id(self) -> str:
        who = self.principal
        if self.federated_name:
            return f"{who.account}:{self.federated_name}"
        if isinstance(who, User):
            return who.user_id
        return f"{who.role_id}:{self.session.name if self.session else ''}"

    @property
    def identities(self) -> tuple[str, ...]:
        """ARNs by which a trust policy may name the caller."""
        who = self.principal
        return (who.arn,) if isinstance(who, User) else (who.arn, self.arn)

    @property
    def mfa_at(self) -> datetime | None:
        return self.session.mfa_at if self.session else None


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
            raise half_mfa()
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
