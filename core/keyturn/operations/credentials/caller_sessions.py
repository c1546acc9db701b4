"""Sessions obtained through an endpoint or CA bundle that only one caller names. They stay in memory, serve
callers with the same values only, and replace nothing that other callers get."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from keyturn.providers.base import FetchedSession


@dataclass
class CallerSessions:
    """Sessions by the fingerprint of endpoints and CA bundles, and by name. Used by several threads."""

    limit: int = 64
    """Sessions kept. One more drops the oldest, because a caller can name any number of endpoints."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sessions: dict[tuple[str, str], FetchedSession] = field(default_factory=dict, repr=False)

    def get(self, host_fingerprint: str, name: str) -> FetchedSession | None:
        """Return a session, expired or not, or None."""
        with self._lock:
            return self._sessions.get((host_fingerprint, name))

    def put(self, host_fingerprint: str, name: str, session: FetchedSession) -> None:
        """Keep a session in place of the previous one."""
        with self._lock:
            self._sessions.pop((host_fingerprint, name), None)
            self._sessions[host_fingerprint, name] = session
            while len(self._sessions) > self.limit:
                del self._sessions[next(iter(self._sessions))]

    def drop(self, host_fingerprint: str, key_id: str) -> None:
        """Delete a session under every name that has it."""
        with self._lock:
            for key, session in list(self._sessions.items()):
                if key[0] == host_fingerprint and session.issued.credentials.access_key_id == key_id:
                    del self._sessions[key]
