"""Tools to verify a fact: new users in a sandbox, real AWS clients, and AWS's own refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from keyturn_sandbox import AccessKey, Role, Sandbox, Session, User

Statement = Mapping[str, object]
ALL: Statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A refusal."""

    code: str
    status: int
    message: str


@dataclass(slots=True)
class Bench:
    """A sandbox under test; every user has its own account unless one is given."""

    sandbox: Sandbox
    client: Callable[..., Any]
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def user(self, *policies: Statement, **more: Any) -> User:
        """Create a user with one key and, if any are given, with these identity policies."""
        number = next(self._numbers)
        account = more.pop("account", f"6{number:011d}")
        name = more.pop("name", f"user-{number}")
        user = self.sandbox.state.add_user(account, name, policies=policies or None, **more)
        self.sandbox.state.add_key(user)
        return user

    def root(self) -> User:
        return self.user(name="")

    def role(self, trusted: User | Role, *, actions: object = "sts:*", **more: Any) -> Role:
        """Create a role in the account of `trusted` whose trust policy names it."""
        conditions = more.pop("conditions", {})
        account = more.pop("account", trusted.account)
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": trusted.arn},
            "Action": actions,
            "Condition": conditions,
        }
        return self.sandbox.state.add_role(
            account, f"Role{next(self._numbers)}", [trust], partition=trusted.partition, **more
        )

    def sts(self, signer: Any, region: str = "eu-west-1") -> Any:
        return self.client("sts", self._signer(signer), region=region)

    def iam(self, signer: Any) -> Any:
        return self.client("iam", self._signer(signer))

    def _signer(self, principal: Any) -> AccessKey | Session | Mapping[str, str]:
        signer: AccessKey | Session | Mapping[str, str] = (
            principal.keys[0] if isinstance(principal, User) else principal
        )
        return signer

    def session(self, signer: User, **more: Any) -> dict[str, str]:
        """Return credentials of GetSessionToken."""
        credentials: dict[str, str] = self.sts(signer).get_session_token(**more)["Credentials"]
        return credentials

    def assume_role(self, signer: Any, role: Role, **more: Any) -> dict[str, str]:
        """Return credentials of AssumeRole."""
        return self.assume(signer, role, **more)["Credentials"]  # type: ignore[no-any-return]  # the stubs end here

    def assume(self, signer: Any, role: Role, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.sts(signer).assume_role(
            RoleArn=role.arn, RoleSessionName="fact", **more
        )
        return answer

    def federated(self, signer: User, **more: Any) -> dict[str, str]:
        """Return credentials of GetFederationToken."""
        credentials: dict[str, str] = self.sts(signer).get_federation_token(Name="guest", **more)[
            "Credentials"
        ]
        return credentials

    def mfa(self, user: User) -> dict[str, str]:
        """Return the serial number and an unused code of a device that `user` has or gets."""
        if not user.devices:
            self.sandbox.add_device(user, f"{user.name or 'root'}-{user.account}")
        self.sandbox.move_clock(30)
        serial = user.devices[0].serial
        return {"SerialNumber": serial, "TokenCode": self.sandbox.totp(serial)}

    def lifetime(self, answer: Mapping[str, Any]) -> int:
        """Return the lifetime of the credentials of a response, rounded to ten seconds."""
        expires: datetime = answer["Credentials"]["Expiration"]
        return round((expires - self.sandbox.now()).total_seconds() / 10) * 10


def error_of(call: Callable[..., Any], *given: Any, **parameters: Any) -> ErrorReply:
    """Return the refusal of `call`; its response must have the structure of AWS's."""
    try:
        call(*given, **parameters)
    except ClientError as error:
        answer = error.response
        assert len(answer["ResponseMetadata"]["RequestId"]) == 36
        assert answer["Error"].get("Type") == "Sender"
        return ErrorReply(
            answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]
        )
    raise AssertionError("it was not refused")


def is_invalid_token(call: Callable[..., Any], **parameters: Any) -> bool:
    """Return True if a call is refused as one with an unknown token is."""
    return error_of(call, **parameters) == ErrorReply(
        "InvalidClientTokenId", 403, "The security token included in the request is invalid."
    )


def denied_message(call: Callable[..., Any], **parameters: Any) -> str:
    """Return the message of an AccessDenied."""
    found = error_of(call, **parameters)
    assert (found.code, found.status) == ("AccessDenied", 403)
    return found.message


def validation_message(call: Callable[..., Any], **parameters: Any) -> str:
    """Return the message of a ValidationError."""
    found = error_of(call, **parameters)
    assert (found.code, found.status) == ("ValidationError", 400)
    return found.message


def missing_key_error(key_id: str) -> ErrorReply:
    return ErrorReply("NoSuchEntity", 404, f"The Access Key with id {key_id} cannot be found.")


@contextmanager
def slow_propagation(b: Bench, *, propagation: int = 0, flapping: int = 0) -> Iterator[None]:
    """Delay the propagation of changes during the block."""
    state = b.sandbox.state
    state.propagation, state.flapping = timedelta(seconds=propagation), timedelta(seconds=flapping)
    try:
        yield
    finally:
        state.propagation = state.flapping = timedelta(0)


def document(statements: Sequence[Statement]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@dataclass(slots=True)
class Facts:
    """A table of facts: the text of the fact, and the function that verifies it."""

    section: str
    rows: dict[str, Callable[[Bench], None]] = field(default_factory=dict)

    def __call__(self, words: str) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
        """Register the decorated function under `words`."""

        def enter(ask: Callable[[Bench], None]) -> Callable[[Bench], None]:
            row = f"{self.section}: {words}"
            assert row not in self.rows, f"twice in the table: {row}"
            self.rows[row] = ask
            return ask

        return enter
