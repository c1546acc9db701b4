"""Cached sessions, their stored form, and the protocols of their stores."""

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
    """A session and its origin."""

    issued: IssuedCredentials
    requested_at: datetime
    """Time of the request to AWS, used as the session's start."""
    obtained: datetime
    """Time of AWS's response."""
    source_fingerprint: str
    """Digest of everything that the session depends on; see
    :meth:`keyturn.providers.refresher.Refresher.fingerprint`.
    """
    note: str = ""
    not_stored: Exception | None = None
    """Error from storing it in the vault's cache."""
    asked_aws: bool = True
    """False if it came from the cache, or from another process during the wait for the lock."""

    def facts(self) -> Session:
        credentials = self.issued.credentials
        return Session(credentials.access_key_id, self.requested_at, credentials.expires, self.issued.arn)


@dataclass(frozen=True, slots=True)
class MfaDevice:
    """An MFA device and the access key of its user."""

    key: Credentials
    serial: str


class MfaSessionStore(Protocol):
    """Store of MFA sessions by user and device."""

    def get(self, device: MfaDevice) -> FetchedSession | None:
        """Return the MFA session of a user if it is valid for a while and was not stopped."""
        ...

    def put(self, device: MfaDevice, fetched: FetchedSession) -> None:
        """Store a session in place of the previous one. Failures are ignored."""
        ...


class SessionStore(Protocol):
    """Store of sessions by profile."""

    def get(self, name: str) -> FetchedSession | None:
        """Return the cached session of a profile, expired or not, or None."""
        ...

    def put(self, name: str, fetched: FetchedSession) -> None:
        """Store a session.

        :raises FileChanged: if the profile has changed since the session was requested.
        """
        ...


def encode(fetched: FetchedSession) -> dict[str, Any]:
    """Return the vault entry of a session. It holds plaintext secrets and must be encrypted at once."""
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
    """Return session, request time, response time and fingerprint of an entry of :func:`encode`, or None if a
    part is missing.
    """
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
