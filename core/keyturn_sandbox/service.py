"""Handling of one request: verify the signature, run the operation, record the call."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

from keyturn.model.secret import Secret
from keyturn.system.clock import system_clock
from keyturn_sandbox.aws_errors import (
    Refusal,
    expired_token,
    invalid_action,
    invalid_token,
    not_implemented,
    signature_mismatch,
)
from keyturn_sandbox.faults import Fault, Faults, Stage
from keyturn_sandbox.policy.principals import LastUse
from keyturn_sandbox.regions import check_region, partition_of
from keyturn_sandbox.services import iam, sts
from keyturn_sandbox.sigv4 import (
    HttpRequest,
    Signature,
    check_age,
    check_signature,
    claimed_key,
    read_signature,
)
from keyturn_sandbox.state import SandboxState
from keyturn_sandbox.verified_call import Caller, VerifiedCall
from keyturn_sandbox.wire import NOTHING, Reply
from keyturn_sandbox.xml_responses import Result, failure, success

MAX_CALLS = 10_000
_SECRET_PARAMETERS = {"TokenCode", "Policy"}


@dataclass(frozen=True, slots=True)
class Call:
    """A received request, for tests that count calls."""

    action: str
    key_id: str
    """Key ID of the signature, not verified; empty if unsigned."""
    params: Mapping[str, str]
    """Parameters without `Action`, `Version`, policies and MFA codes."""
    error: str | None
    """Error code, or the name of the fault; None if the call succeeded and its response was sent."""


@dataclass(frozen=True, slots=True)
class _Api:
    name: str
    namespace: str
    actions: Mapping[str, Callable[[VerifiedCall], Result | None]]


_APIS = {
    sts.VERSION: _Api("sts", sts.NAMESPACE, sts.ACTIONS),
    iam.VERSION: _Api("iam", iam.NAMESPACE, iam.ACTIONS),
}


@dataclass(slots=True)
class Service:
    """STS and IAM over one sandbox state."""

    state: SandboxState
    faults: Faults
    calls: list[Call] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the sandbox stops; interrupts waits."""

    def answer(self, request: HttpRequest) -> Reply:
        """Handle `request` and return the reply."""
        request_id = str(uuid.uuid4())
        params = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        action, version = params.pop("Action", ""), params.pop("Version", "")
        api = _APIS.get(version or sts.VERSION)
        if api is None:
            return Reply(501, failure(not_implemented(), sts.NAMESPACE, request_id), request_id)
        key_id, error = "", None
        try:
            key_id = claimed_key(request)
            fault = self.faults.take(action, Stage.NETWORK)
            if fault is not None:
                error = fault.name
                return self._apply_fault(fault, NOTHING)
            claim = read_signature(request)
            caller = self._authenticate(request, claim, api.name)
            if api.name == "sts":
                check_region(caller, action, self.state)
            result = self._run(api, action, version, params, caller)
            reply = Reply(200, success(action, api.namespace, result, request_id), request_id)
            fault = self.faults.take(action, Stage.ANSWER)
            if fault is not None:
                error = fault.name
                reply = self._apply_fault(fault, reply)
            return reply
        except Refusal as refusal:
            error = refusal.code
            return Reply(refusal.status, failure(refusal, api.namespace, request_id), request_id)
        finally:
            recorded = {name: value for name, value in params.items() if name not in _SECRET_PARAMETERS}
            self.calls.append(Call(action, key_id, recorded, error))
            if len(self.calls) > MAX_CALLS:
                del self.calls[: MAX_CALLS // 2]

    def real_now(self) -> datetime:
        """Return the stand-in's real time, by which signatures are validated: correct, unless a skew was
        ordered."""
        return system_clock() + timedelta(seconds=self.faults.skewed())

    def _apply_fault(self, fault: Fault, reply: Reply) -> Reply:
        self.stopping.wait(fault.wait)
        return fault.corruption(reply) if fault.corruption else reply

    def _authenticate(self, request: HttpRequest, claim: Signature, service: str) -> Caller:
        """Return the caller that signed `request`.

        :raises Refusal: with AWS's code for each kind of invalid signature or credentials.
        """
        partition = partition_of(claim.region)
        if partition is None:
            raise signature_mismatch("Credential should be scoped to a valid region. ")
        if claim.service != service:
            raise signature_mismatch(f"Credential should be scoped to correct service: '{service}'. ")
        state = self.state
        with state.lock:
            now = state.now()
            user, key = state.key(claim.key_id) or (None, None)
            session = state.session(claim.key_id) if key is None else None
            credentials = key or session
            principal = session.principal if session else user
            if credentials is None or principal is None or principal.partition != partition:
                raise invalid_token()
            if key is not None and (key.visible_status(now) != "Active" or claim.token is not None):
                raise invalid_token()
            if session is not None and (claim.token is None or session.token != Secret(claim.token)):
                raise invalid_token()
            check_age(claim, self.real_now())
            check_signature(request, claim, credentials.secret)
            if session is not None and now >= session.expires:
                raise expired_token()
            if key is not None:
                key.record_use(LastUse(now, service, claim.region))
            return Caller(claim.key_id, principal, session, claim.region)

    def _run(
        self, api: _Api, action: str, version: str, params: Mapping[str, str], caller: Caller
    ) -> Result | None:
        run = api.actions.get(action)
        if run is None or not version:
            raise invalid_action(action, version)
        fault = self.faults.take(action, Stage.SERVICE)
        if fault is not None:
            self.stopping.wait(fault.wait)
            if fault.refusal is not None:
                raise fault.refusal
        with self.state.lock:
            return run(VerifiedCall(caller, params, self.state.now(), self.state))
