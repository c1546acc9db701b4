"""Where the endpoint gets a profile's credentials from, each time that it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from keyturn.delivery import credential_process
from keyturn.model.errors import KeyturnError, NeedsUnlock
from keyturn.model.profile import Session, Snapshot, State, VaultState, session_state
from keyturn.storage.index import Index
from keyturn.storage.paths import Places
from keyturn.system.file_fingerprint import FileFingerprint


class ServicePort(Protocol):
    """The part of :class:`keyturn.service.CredentialService` that the endpoint uses."""

    places: Places

    def now(self) -> datetime: ...
    def index(self) -> Index: ...
    def snapshot(self) -> Snapshot: ...
    def rests_on_asker(self, name: str) -> bool: ...
    def hand(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class SessionFingerprint:
    """What a session was given for: the files that define profiles, and what the index says of the session and of stops.
    Other profiles may be renewed meanwhile."""

    keeper: ServicePort
    profile: str
    files: FileFingerprint
    stops: Mapping[str, datetime]
    session: Session | None

    @classmethod
    def of(cls, keeper: ServicePort, profile: str) -> Self:
        """As it is now."""
        places = keeper.places
        paths = [places.aws_config, places.aws_credentials, places.profiles_file, places.config_file]
        return cls(keeper, profile, FileFingerprint.of(map(str, paths)), *_known(keeper, profile))

    def stands(self) -> bool:
        """See :class:`keyturn.system.file_fingerprint.Fingerprint`."""
        return self.files.stands() and _known(self.keeper, self.profile) == (self.stops, self.session)

    def stood_until(self, later: SessionFingerprint) -> bool:
        """Whether nothing but the session itself has changed since."""
        return self.files.stands() and self.stops == later.stops


def _known(keeper: ServicePort, profile: str) -> tuple[Mapping[str, datetime], Session | None]:
    index = keeper.index()
    stops = {name: one.stopped for name, one in index.profiles.items() if one.stopped is not None}
    return stops, index.of(profile).session


class ServiceCredentialSource:
    """Asks the keeper, and through it the agent, which keeps the sessions and renews them.

    The sessions of a profile that takes its credentials from whoever asks are kept nowhere, since the next to ask may be
    somebody else. Here it is always the same program, so they are kept here, in memory, for as long as they are fresh.
    """

    def __init__(self, keeper: ServicePort, profile: str, first: str) -> None:
        """
        :param first: the document that was handed out before.
        :raises NeedsUnlock: nobody could be asked for another.
        """
        self._keeper = keeper
        self._profile = profile
        self._kept: str | None = first
        self._basis = self.basis()
        self._since: datetime | None = keeper.now()
        if not keeper.rests_on_asker(profile) and keeper.snapshot().vault is VaultState.LOCKED:
            why = "no agent holds the vault open, which is locked"
            raise NeedsUnlock(f"endpoint for {profile}", why, "Run: keyturn vault unlock")

    def basis(self) -> SessionFingerprint:
        """What a document rests on, as it is now."""
        return SessionFingerprint.of(self._keeper, self._profile)

    def hand(self) -> str:
        """A document of credentials that are valid now; errors as of :meth:`keyturn.service.CredentialService.hand`."""
        if not self._keeper.rests_on_asker(self._profile):
            self._kept = None
            return self._keeper.hand(self._profile)
        basis = self.basis()
        if not self._basis.stands():
            self._kept = None
        state = self._state()
        if self._kept is not None and state is State.FRESH:
            return self._kept
        try:
            document = self._keeper.hand(self._profile)
        except (KeyturnError, OSError):
            if self._kept is None or state is not State.SOON:
                raise
            return self._kept
        now = self.basis()
        self._kept = document if basis.stood_until(now) else None
        self._since, self._basis = self._keeper.now(), now
        return document

    def _state(self) -> State:
        if self._kept is None:
            return State.NONE
        credentials, _ = credential_process.parsed(self._kept)
        if credentials.expires is None:
            return State.EXPIRED
        now = self._keeper.now()
        return session_state(Session(credentials.access_key_id, self._since, credentials.expires), now)
