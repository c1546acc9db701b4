"""The cached sessions as the vault keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from keyturn.aws.api import IssuedCredentials
from keyturn.model.profile import Credentials, Session
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso, iso


@dataclass(frozen=True, slots=True)
class FetchedSession:
    """A session and how it came about."""

    issued: IssuedCredentials
    requested_at: datetime
    """When AWS was asked: the session's start."""
    obtained: datetime
    """When AWS had answered."""
    source_fingerprint: str
    """A digest of key, role and everything else that it rests on; see :meth:`Refresher.binding`."""
    note: str = ""
    not_stored: Exception | None = None
    """Why it could not be put into the vault's cache."""
    asked_aws: bool = True
    """False where it came from the cache, or from another process while this one waited."""

    def facts(self) -> Session:
        credentials = self.issued.credentials
        return Session(credentials.access_key_id, self.requested_at, credentials.expires, self.issued.arn)


@dataclass(frozen=True, slots=True)
class MfaDevice:
    """A user, by a long-term key, and the MFA device that vouches for it."""

    key: Credentials
    serial: str


class MfaSessionStore(Protocol):
    """Where the sessions are kept that a device's codes were given for."""

    def get(self, device: MfaDevice) -> FetchedSession | None:
        """A session of the user with MFA that is good for a while yet, unless a person ended it."""
        ...

    def put(self, device: MfaDevice, fetched: FetchedSession) -> None:
        """Keeps one in the place of the last; that it cannot be kept is no error."""
        ...


class SessionStore(Protocol):
    """Where fetched sessions are kept."""

    def get(self, name: str) -> FetchedSession | None:
        """The cached session of a profile, expired or not; None where there is none."""
        ...

    def put(self, name: str, fetched: FetchedSession) -> None:
        """Keeps a session.

        :raises FileChanged: the profile is not what it was when the session was asked for.
        """
        ...


def encode(fetched: FetchedSession) -> dict[str, Any]:
    """The vault's entry for a session; holds the secrets in clear, to be sealed at once."""
    credentials = fetched.issued.credentials
    token = credentials.session_token
    return {
        "key_id": credentials.access_key_id,
        "secret": credentials.secret_access_key.reveal(),
        "token": token.reveal() if token else None,
        "issued": fetched.requested_at.isoformat(),
        "got": fetched.obtained.isoformat(),
        "expires": iso(credentials.expires),
        "arn": fetched.issued.arn,
        "made_from": fetched.source_fingerprint,
    }


def decode(entry: dict[str, Any]) -> tuple[IssuedCredentials, datetime, datetime, str] | None:
    """What :func:`encode` made: session, asked at, had at, what it was made from. None for an entry that lacks a part."""
    try:
        requested_at, obtained = from_iso(entry["issued"]), from_iso(entry["got"])
        token = entry.get("token")
        credentials = Credentials(
            entry["key_id"],
            Secret(entry["secret"]),
            Secret(token) if token else None,
            from_iso(entry["expires"]),
        )
        fingerprint = str(entry["made_from"])
    except (KeyError, TypeError):
        return None
    return (
        (IssuedCredentials(credentials, entry.get("arn")), requested_at, obtained, fingerprint)
        if requested_at and obtained
        else None
    )
