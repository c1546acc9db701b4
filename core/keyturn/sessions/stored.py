"""The cached sessions: sealed in the vault, their expiry and key ids in the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from keyturn.aws.ports import Issued
from keyturn.model import Credentials
from keyturn.secret import Secret
from keyturn.text import from_iso, iso

if TYPE_CHECKING:
    from datetime import datetime

    from keyturn.sessions.refresh import Fetched


class SessionStore(Protocol):
    """Where fetched sessions are kept."""

    def get(self, name: str) -> Fetched | None:
        """The cached session of a profile, expired or not; None where there is none."""
        ...

    def put(self, name: str, issued: Issued, at: datetime) -> None: ...


def encode(issued: Issued, at: datetime) -> dict[str, Any]:
    """The vault's entry for a session; holds the secrets in clear, to be sealed at once."""
    credentials = issued.credentials
    token = credentials.session_token
    return {
        "key_id": credentials.access_key_id,
        "secret": credentials.secret_access_key.reveal(),
        "token": token.reveal() if token else None,
        "issued": iso(at),
        "expires": iso(credentials.expires),
        "arn": issued.arn,
    }


def decode(entry: dict[str, Any]) -> tuple[Issued, datetime] | None:
    """What :func:`encode` made; None for an entry that lacks a part."""
    try:
        at = from_iso(entry["issued"])
        token = entry.get("token")
        credentials = Credentials(
            entry["key_id"],
            Secret(entry["secret"]),
            Secret(token) if token else None,
            from_iso(entry["expires"]),
        )
    except (KeyError, TypeError):
        return None
    return (Issued(credentials, entry.get("arn")), at) if at else None
