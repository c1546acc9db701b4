"""GetSessionToken: sessions of an IAM user, with or without MFA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from keyturn.aws.api import IssuedCredentials
from keyturn.model.profile import Kind, State, session_state
from keyturn.providers.base import SessionRequest, Sources, SourceSessions
from keyturn.providers.cached_session import FetchedSession, MfaDevice
from keyturn.providers.mfa_codes import require_code
from keyturn.providers.sts_limits import for_session_token
from keyturn.storage.managed_profiles import ManagedProfile


@dataclass(frozen=True)
class SessionTokenProvider:
    """Sessions of the IAM user whose access key is in the vault."""

    definition: ManagedProfile
    sources: Sources

    @classmethod
    def of(cls, name: str, sources: Sources, _sessions: SourceSessions) -> Self | None:
        """See :meth:`keyturn.providers.base.CredentialProvider.of`."""
        definition = sources.definitions.get(name)
        return cls(definition, sources) if definition and definition.kind is Kind.IAM_KEY else None

    @property
    def _key_entry(self) -> str:
        return self.definition.key or self.definition.name

    def fingerprint(self, _path: tuple[str, ...]) -> list[object]:
        """See :meth:`keyturn.providers.base.CredentialProvider.fingerprint`."""
        return ["user", self.sources.key(self._key_entry).access_key_id, self.definition.mfa_serial]

    def retrieve(self, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """See :meth:`keyturn.providers.base.CredentialProvider.retrieve`.

        A stored MFA session of the user is returned if the request is on demand and has no code of its own.
        """
        name, serial = self.definition.name, self.definition.mfa_serial
        key, clock, devices = self.sources.key(self._key_entry), self.sources.clock, self.sources.devices

        def call(code: str | None) -> IssuedCredentials:
            return self.sources.aws(name, request).get_session_token(
                key,
                duration_seconds=for_session_token(self.definition.duration_seconds),
                mfa_serial=serial,
                mfa_code=require_code(name, serial, code) if serial else None,
            )

        if serial is None:
            return call(None), ""
        device = MfaDevice(key, serial)
        stored = devices.get(device) if request.is_on_demand and not request.code else None
        if stored is not None and session_state(stored.facts(), clock()) is State.FRESH:
            return stored.issued, ""
        requested_at = clock()
        issued = self.sources.with_code(name, serial, request, call)
        devices.put(device, FetchedSession(issued, requested_at, clock(), ""))
        return issued, ""
