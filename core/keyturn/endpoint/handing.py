"""Where the endpoint gets a profile's credentials from, each time that it is asked."""

from __future__ import annotations

from datetime import datetime

from keyturn.delivery import credential_process
from keyturn.errors import KeyturnError, NeedsUnlock
from keyturn.keeper import Keeper
from keyturn.model import Session, State, VaultState, session_state


class Handing:
    """Asks the keeper, and through it the agent, which keeps the sessions and renews them.

    The sessions of a profile that takes its credentials from whoever asks are kept nowhere, since the next to ask may be
    somebody else. Here it is always the same program, so they are kept here, in memory, for as long as they are fresh.
    """

    def __init__(self, keeper: Keeper, profile: str, first: str) -> None:
        """
        :param first: the document that was handed out before.
        :raises NeedsUnlock: nobody could be asked for another.
        """
        self._keeper = keeper
        self._profile = profile
        self._kept: str | None = first
        self._since: datetime | None = keeper.now()
        if not keeper.rests_on_asker(profile) and keeper.snapshot().vault is VaultState.LOCKED:
            why = "no agent holds the vault open, which is locked"
            raise NeedsUnlock(f"endpoint for {profile}", why, "Run: keyturn vault unlock")

    def hand(self) -> str:
        """A document of credentials that are valid now; errors as of :meth:`keyturn.keeper.Keeper.hand`."""
        if not self._keeper.rests_on_asker(self._profile):
            self._kept = None
            return self._keeper.hand(self._profile)
        state = self._state()
        if self._kept is not None and state is State.FRESH:
            return self._kept
        try:
            document = self._keeper.hand(self._profile)
        except (KeyturnError, OSError):
            if self._kept is None or state is not State.SOON:
                raise
            return self._kept
        self._kept, self._since = document, self._keeper.now()
        return document

    def _state(self) -> State:
        if self._kept is None:
            return State.NONE
        credentials, _ = credential_process.parsed(self._kept)
        if credentials.expires is None:
            return State.EXPIRED
        now = self._keeper.now()
        return session_state(Session(credentials.access_key_id, self._since, credentials.expires), now)
