"""AWS without the wire: the sandbox's own STS and IAM, called in this process. It refuses as the sandbox
does, except for wrong signatures, and can fail at any call, before or after the call's effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from keyturn.aws.api import Aws, CreatedKey, Identity, IssuedCredentials, LastUse, ListedKey, RoleRequest
from keyturn.aws.deadline import Deadline
from keyturn.aws.errors import error_from_response
from keyturn.model.errors import AwsRefused, NoResponse, Unreachable
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.system.caller_environment import CallerEnvironment
from keyturn_sandbox.aws_errors import Refusal, invalid_token
from keyturn_sandbox.services import iam, sts
from keyturn_sandbox.state import SandboxState
from keyturn_sandbox.verified_call import Caller, VerifiedCall


class Crash(BaseException):
    """The process ends at this point."""


class Fault(Enum):
    """Faults that can affect one call."""

    NONE = ""
    UNSENT = "unsent"
    LOST_REPLY = "lost reply"
    THROTTLED = "throttled"
    DENIED = "denied"
    AWS_ERROR = "an error of AWS's own, after the effect"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"

    def __str__(self) -> str:
        return self.value

    def __bool__(self) -> bool:
        return self is not Fault.NONE


@dataclass
class FaultyAws:
    """Connection to one sandbox, with the faults on it."""

    state: SandboxState
    next_fault: Callable[[str], Fault] = lambda _action: Fault.NONE
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Action and signing key of each call that arrived."""
    served: set[str] = field(default_factory=set)
    """Keys that clients were served with at some time."""
    lost_replies: int = 0
    """Keys whose CreateAccessKey reply was lost."""
    premature_ends: list[str] = field(default_factory=list)
    """Keys deactivated or deleted before another key had answered three times in a row."""
    _proofs: dict[str, int] = field(default_factory=dict)

    def __call__(
        self,
        profile: str | None,
        region: str | None,
        *,
        deadline: Deadline | None = None,
        short_timeouts: bool = False,
        caller: CallerEnvironment | None = None,
    ) -> Aws:
        del profile, region, deadline, short_timeouts, caller
        return DirectIam(self)

    def call(self, api: Any, action: str, signer: Credentials, params: Mapping[str, str]) -> Any:
        subject = f"{api.__name__.rpartition('.')[2]}:{action}"
        trouble = self.next_fault(action)
        if trouble is Fault.CRASH_BEFORE:
            raise Crash(subject)
        self._record_premature_end(action, signer, params)
        if trouble is Fault.UNSENT:
            raise Unreachable(subject, "the network is down", "Try again")
        if trouble in (Fault.THROTTLED, Fault.DENIED):
            code = "Throttling" if trouble is Fault.THROTTLED else "AccessDenied"
            raise AwsRefused(subject, code, "", code=code)
        try:
            result = self._dispatch(api, action, signer, params)
        except Refusal as error:
            if action == "GetCallerIdentity":
                self._proofs[signer.access_key_id] = 0
            answer = {"Error": {"Code": error.code, "Message": error.message}}
            raise error_from_response(subject, answer, self.state.now()) from None
        if action == "CreateAccessKey" and trouble:
            self.lost_replies += 1
        if action == "GetCallerIdentity" and not trouble:
            self._proofs[signer.access_key_id] = self._proofs.get(signer.access_key_id, 0) + 1
        if trouble is Fault.CRASH_AFTER:
            raise Crash(subject)
        if trouble is Fault.LOST_REPLY:
            raise NoResponse(subject, "the connection broke", "Try again")
        if trouble is Fault.AWS_ERROR:
            raise AwsRefused(subject, "InternalFailure", "", code="InternalFailure")
        return result

    def _record_premature_end(self, action: str, signer: Credentials, params: Mapping[str, str]) -> None:
        """Record the end of a key if it comes before another key is proved. Keys that keyturn never served
        are exempt."""
        is_end = action == "DeleteAccessKey" or params.get("Status") == "Inactive"
        target = params.get("AccessKeyId", "")
        if not is_end or target not in self.served:
            return
        if self._proofs.get(signer.access_key_id, 0) < 3:
            self.premature_ends.append(target)

    def _dispatch(self, api: Any, action: str, signer: Credentials, params: Mapping[str, str]) -> Any:
        self.calls.append((action, signer.access_key_id))
        with self.state.lock:
            now = self.state.now()
            owned = self.state.key(signer.access_key_id)
            if (
                owned is None
                or owned[1].visible_status(now) != "Active"
                or owned[1].secret != signer.secret_access_key
            ):
                raise invalid_token()
            caller = Caller(signer.access_key_id, owned[0], None, "us-east-1")
            return api.ACTIONS[action](VerifiedCall(caller, params, now, self.state))


@dataclass
class DirectIam:
    """The AWS port of one profile."""

    aws: FaultyAws

    def get_caller_identity(self, signer: Credentials) -> Identity:
        found = self.aws.call(sts, "GetCallerIdentity", signer, {})
        return Identity(found["Arn"], found["Account"], found["UserId"])

    def list_access_keys(self, signer: Credentials, user_name: str | None) -> tuple[ListedKey, ...]:
        found = self.aws.call(iam, "ListAccessKeys", signer, {"UserName": user_name or ""})
        return tuple(
            ListedKey(key["AccessKeyId"], key["Status"], key["CreateDate"])
            for key in found["AccessKeyMetadata"]
        )

    def access_key_last_used(self, signer: Credentials, key_id: str) -> LastUse:
        found = self.aws.call(iam, "GetAccessKeyLastUsed", signer, {"AccessKeyId": key_id})[
            "AccessKeyLastUsed"
        ]
        return LastUse(found["LastUsedDate"], found["ServiceName"], found["Region"])

    def create_access_key(
        self, signer: Credentials, user_name: str, keep: Callable[[CreatedKey], None]
    ) -> CreatedKey:
        found = self.aws.call(iam, "CreateAccessKey", signer, {"UserName": user_name})["AccessKey"]
        secret = Secret(found["SecretAccessKey"].reveal())
        created = CreatedKey(Credentials(found["AccessKeyId"], secret), found["CreateDate"])
        keep(created)
        return created

    def set_access_key_status(self, signer: Credentials, user_name: str, key_id: str, status: str) -> None:
        params = {"UserName": user_name, "AccessKeyId": key_id, "Status": status}
        self.aws.call(iam, "UpdateAccessKey", signer, params)

    def delete_access_key(self, signer: Credentials, user_name: str, key_id: str) -> None:
        self.aws.call(iam, "DeleteAccessKey", signer, {"UserName": user_name, "AccessKeyId": key_id})

    # A rotation never makes the calls below; they raise so that one that does fails its test at once.

    def get_session_token(
        self, signer: Credentials, *, duration_seconds: int, mfa_serial: str | None, mfa_code: str | None
    ) -> IssuedCredentials:
        raise NotImplementedError

    def assume_role(self, signer: Credentials, request: RoleRequest) -> IssuedCredentials:
        raise NotImplementedError

    def list_mfa_devices(self, signer: Credentials, user_name: str | None) -> tuple[str, ...]:
        raise NotImplementedError

    def source_credentials(self, profile: str, source: str) -> Credentials:
        raise NotImplementedError

    def native_credentials(self, profile: str) -> Credentials:
        raise NotImplementedError
