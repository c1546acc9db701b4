"""Source of the credentials that the endpoint serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from keyturn.delivery import credential_process
from keyturn.model.errors import KeyturnError, NeedsUnlock, Remedy
from keyturn.model.profile import Session, Snapshot, State, VaultState, session_state
from keyturn.storage.index import Index
from keyturn.storage.paths import Paths
from keyturn.system.file_fingerprint import FileFingerprint


class ServicePort(Protocol):
    """The part of :class:`keyturn.service.CredentialService` that the endpoint uses."""

    paths: Paths

    def now(self) -> datetime:
        """Return the time, aware UTC."""

    def index(self) -> Index:
        """Return the index as it is on disk."""

    def snapshot(self) -> Snapshot:
        """Return all profiles and the state of the vault."""

    def uses_caller_credentials(self, name: str) -> bool:
        """Return True if the profile's chain ends in a `credential_source`."""

    def get_credentials(self, name: str) -> str:
        """Return a document of credentials that are valid now."""


@dataclass(frozen=True, slots=True)
class SessionFingerprint:
    """State that a session depends on: the files that define profiles, and the index entries of the session
    and of stops. Changes to other profiles' sessions do not count."""

    service: ServicePort
    profile: str
    files: FileFingerprint
    stops: Mapping[str, datetime]
    session: Session | None

    @classmethod
    def of(cls, service: ServicePort, profile: str) -> Self:
        """Return the current fingerprint."""
        paths = service.paths
        files = [paths.aws_config, paths.aws_credentials, paths.profiles_file, paths.config_file]
        return cls(
            service, profile, FileFingerprint.of(map(str, files)), *_stops_and_session(service, profile)
        )

    def is_unchanged(self) -> bool:
        """See :class:`keyturn.system.file_fingerprint.Fingerprint`."""
        return self.files.is_unchanged() and _stops_and_session(self.service, self.profile) == (
            self.stops,
            self.session,
        )

    def differs_only_in_session(self, later: SessionFingerprint) -> bool:
        """Return True if nothing but the session itself has changed since."""
        return self.files.is_unchanged() and self.stops == later.stops


def _stops_and_session(service: ServicePort, profile: str) -> tuple[Mapping[str, datetime], Session | None]:
    index = service.index()
    stops = {name: state.stopped for name, state in index.profiles.items() if state.stopped is not None}
    return stops, index.of(profile).session


class ServiceCredentialSource:
    """Gets credentials from the service, and so from the agent, which caches and renews the sessions.

    Caller credentials (`credential_source`) are not cached there, because the next caller may be another
    process. The endpoint serves a single program, so this object caches them in memory while they are fresh.
    """

    def __init__(self, service: ServicePort, profile: str, first: str) -> None:
        """:param first: the document that was issued before the endpoint started.
        :raises NeedsUnlock: if the vault is locked, so that no further document could be issued.
        """
        self._service = service
        self._profile = profile
        self._document: str | None = first
        self._fingerprint = self.fingerprint()
        self._obtained: datetime | None = service.now()
        if not service.uses_caller_credentials(profile) and service.snapshot().vault is VaultState.LOCKED:
            raise NeedsUnlock(
                f"Could not start the endpoint for {profile}", "the vault is locked", Remedy("vault unlock")
            )

    def fingerprint(self) -> SessionFingerprint:
        """Return the current state that a document depends on."""
        return SessionFingerprint.of(self._service, self._profile)

    def get_credentials(self) -> str:
        """Return a document of credentials that are valid now. Raises as
        :meth:`keyturn.service.CredentialService.get_credentials`.
        """
        if not self._service.uses_caller_credentials(self._profile):
            self._document = None
            return self._service.get_credentials(self._profile)
        before = self.fingerprint()
        if not self._fingerprint.is_unchanged():
            self._document = None
        state = self._state()
        if self._document is not None and state is State.FRESH:
            return self._document
        try:
            document = self._service.get_credentials(self._profile)
        except (KeyturnError, OSError):
            if self._document is None or state is not State.SOON:
                raise
            return self._document
        after = self.fingerprint()
        self._document = document if before.differs_only_in_session(after) else None
        self._obtained, self._fingerprint = self._service.now(), after
        return document

    def _state(self) -> State:
        if self._document is None:
            return State.NONE
        credentials, _ = credential_process.parse(self._document)
        if credentials.expires is None:
            return State.EXPIRED
        now = self._service.now()
        return session_state(Session(credentials.access_key_id, self._obtained, credentials.expires), now)
