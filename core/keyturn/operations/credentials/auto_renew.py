"""Auto-renewal: the agent renews sessions before they expire, and then rotates or checks keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from keyturn.model.errors import KeyturnError, NeedsInteraction, NeedsMfa
from keyturn.model.profile import Session
from keyturn.operations.context import Context
from keyturn.operations.credentials import refresh
from keyturn.operations.rotation.auto_rotate import AutoRotation
from keyturn.profiles import renewal_policy
from keyturn.profiles.renewal_policy import RetryState


@dataclass
class AutoRenewal:
    """Retry state of one agent. Used by one thread at a time."""

    context: Context
    retries: dict[str, RetryState] = field(default_factory=dict)
    keys: AutoRotation = field(init=False)

    def __post_init__(self) -> None:
        self.keys = AutoRotation(self.context)

    def run(self, may_go_on: Callable[[], bool] = lambda: True) -> tuple[str, ...]:
        """Renew due sessions, then process the keys. Return the profiles that got a new session."""
        renewed = self.renew_due(may_go_on)
        self.keys.run(may_go_on)
        return renewed

    def renew_due(self, may_go_on: Callable[[], bool] = lambda: True) -> tuple[str, ...]:
        """Renew and deliver due sessions. Return the profiles that got a new session.

        A failure is recorded with its profile. It is retried after a pause, or not at all if it needs
        interaction.
        """
        rows = {row.name: row for row in self.context.read().rows()}
        self.retries = {name: retry for name, retry in self.retries.items() if name in rows}
        renewed = []
        for name in renewal_policy.due(rows.values(), self.retries, self.context.clock()):
            if not may_go_on():
                break
            session = rows[name].session
            if session is not None and self._renew(name, session):
                renewed.append(name)
        return tuple(renewed)

    def _renew(self, name: str, session: Session) -> bool:
        try:
            refresh.renew(self.context, name)
        except KeyturnError as error:
            if isinstance(error, NeedsMfa) and self.context.read().row(name).needs_person:
                # The list tells so from now on, and no longer once there is an MFA session.
                self.retries.pop(name, None)
                return False
            self.retries[name] = renewal_policy.after_failure(
                session,
                self.retries.get(name),
                self.context.clock(),
                needs_person=isinstance(error, NeedsInteraction),
            )
            return False
        self.retries.pop(name, None)
        return True
