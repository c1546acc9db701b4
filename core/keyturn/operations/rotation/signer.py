"""Sign the AWS calls of a rotation with the user's own key or, if a policy requires MFA, with an MFA session
of the user."""

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

#: Error codes of AWS for an access key that does not exist, is inactive, or is not known everywhere yet.
UNKNOWN_KEY_CODES = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"})


@dataclass
class KeySigner:
    """Signs calls about one IAM user, with the region and endpoints of one profile.

    :param code: an MFA code, used for the first call that a policy denies without MFA.
    """

    context: Context
    profile: str
    code: str | None = None
    _mfa_sessions: list[Credentials] = field(default_factory=list)

    def aws(self) -> Aws:
        """Return the profile's AWS client. Each call has a timeout of its own."""
        native = self.context.read().natives.get(self.profile)
        return self.context.aws(self.profile, native.region if native else None)

    def call(self, keys: Sequence[Credentials], action: Callable[[Aws, Credentials], T]) -> T:
        """Call `action` with the first of `keys` that AWS knows, or with an MFA session if AWS denies the key
        alone.

        :raises NeedsMfa: if an MFA code is needed.
        :raises AwsRefused: if AWS knows none of the keys, or denies the action.
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
        """Return an MFA session of the user, or None if the profile has no MFA device."""
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
