"""GetSessionToken: sessions of an IAM user, with or without MFA."""

from __future__ import annotations

from collections.abc import Callable

from keyturn.aws.api import IssuedCredentials
from keyturn.model.profile import Credentials, Kind, State, session_state
from keyturn.providers.base import (
    CredentialProvider,
    FetchedSession,
    KnownState,
    MfaDevice,
    SessionRequest,
    require_code,
)
from keyturn.providers.sts_limits import for_session_token
from keyturn.storage.managed_profiles import ManagedProfile


class SessionTokenProvider(CredentialProvider):
    """Sessions of the IAM user whose access key is in the vault."""

    kind = Kind.IAM_KEY
    plural = "IAM users"

    @classmethod
    def source(cls, definition: ManagedProfile) -> str | None:
        """See :meth:`keyturn.providers.base.CredentialProvider.source`."""
        return definition.key

    @classmethod
    def check(cls, definition: ManagedProfile) -> None:
        """See :meth:`keyturn.providers.base.CredentialProvider.check`."""
        for_session_token(definition.duration_seconds)

    @classmethod
    def needs_person(cls, definition: ManagedProfile, known: Callable[[], KnownState]) -> bool:
        """See :meth:`keyturn.providers.base.CredentialProvider.needs_person`."""
        if not definition.mfa_serial:
            return False
        state = known()
        if state.has_code_command:
            return False
        expires, session = state.mfa_session_expires, state.profile.session
        return expires is None or (
            session is not None and (session.expires is None or expires <= session.expires)
        )

    @property
    def _key(self) -> Credentials:
        return self.sources.key(self.definition.key or self.name)

    def fingerprint(self, _path: tuple[str, ...]) -> list[object]:
        """See :meth:`keyturn.providers.base.CredentialProvider.fingerprint`."""
        return ["user", self._key.access_key_id, self.definition.mfa_serial]

    def retrieve(self, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """See :meth:`keyturn.providers.base.CredentialProvider.retrieve`.

        A stored MFA session of the user is returned if the request has no code of its own, and either is on
        demand, or the session outlives the profile's own because a code for a role of the user made it since.
        """
        name, serial = self.name, self.definition.mfa_serial
        key, clock, devices = self._key, self.sources.clock, self.sources.devices

        def call(code: str | None) -> IssuedCredentials:
            return self.refresher.aws(name, request).get_session_token(
                key,
                duration_seconds=for_session_token(self.definition.duration_seconds),
                mfa_serial=serial,
                mfa_code=require_code(name, serial, code) if serial else None,
            )

        if serial is None:
            return call(None), ""
        device = MfaDevice(key, serial)
        stored = devices.get(device) if not request.code else None
        if stored is not None and not (request.is_on_demand or self._outlives_own(stored)):
            stored = None
        if stored is not None and session_state(stored.facts(), clock()) is State.FRESH:
            return stored.issued, ""
        requested_at = clock()
        issued = self.refresher.with_code(name, serial, request, call)
        devices.put(device, FetchedSession(issued, requested_at, clock(), ""))
        return issued, ""

    def _outlives_own(self, stored: FetchedSession) -> bool:
        """Return True if a stored MFA session expires after the session that the profile has now."""
        own = self.refresher.cached(self.name)
        own_expires = own.issued.credentials.expires if own is not None else None
        expires = stored.issued.credentials.expires
        return own is None or (own_expires is not None and expires is not None and expires > own_expires)
