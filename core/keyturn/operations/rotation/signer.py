"""Who signs the calls of a rotation: the user's own key, or, where a policy asks for MFA, a session of the same user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from keyturn.aws.api import Aws
from keyturn.model.errors import AwsRefused
from keyturn.model.profile import Credentials, Kind
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache

T = TypeVar("T")

#: What AWS says of a key that it does not know, not yet, or no more.
UNKNOWN_KEY_CODES = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})


@dataclass
class KeySigner:
    """Calls about one user, in the region and by the endpoints of one profile.

    :param code: an MFA code that a person typed, used at the first call that a policy denies without one.
    """

    context: Context
    profile: str
    code: str | None = None
    _mfa_sessions: list[Credentials] = field(default_factory=list)

    def aws(self) -> Aws:
        """The profile's view of AWS, with a time of its own for each call."""
        native = self.context.read().natives.get(self.profile)
        return self.context.aws(self.profile, native.region if native else None)

    def call(self, keys: Sequence[Credentials], action: Callable[[Aws, Credentials], T]) -> T:
        """Does `act` with the first of `keys` that AWS knows, or with an MFA session where that key alone is denied.

        :raises NeedsMfa: a code is needed for that.
        :raises AwsRefused: AWS knows none of the keys, or denies the act.
        """
        error: AwsRefused | None = None
        for key in keys:
            try:
                return self._call_signed(key, action)
            except AwsRefused as refusal:
                if refusal.code not in UNKNOWN_KEY_CODES:
                    raise
                error = error or refusal
        if error is None:
            raise ValueError("a call needs a key")
        raise error

    def _call_signed(self, key: Credentials, action: Callable[[Aws, Credentials], T]) -> T:
        try:
            return action(self.aws(), key)
        except AwsRefused as refusal:
            if refusal.code != "AccessDenied":
                raise
            session = self._mfa_session()
            if session is None:
                raise
        return action(self.aws(), session)

    def _mfa_session(self) -> Credentials | None:
        """A session that a code was given for; None where the profile has no device."""
        if not self._mfa_sessions:
            inventory = self.context.read()
            managed = inventory.definitions.get(self.profile)
            if managed is None or managed.kind is not Kind.IAM_KEY or managed.mfa_serial is None:
                return None
            code, self.code = self.code, None
            fetched = session_cache.refresher(self.context, inventory).fetch(
                self.profile, code, only_if_due=code is None
            )
            self._mfa_sessions.append(fetched.issued.credentials)
        return self._mfa_sessions[0]
