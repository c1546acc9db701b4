"""Shared state: service, latest snapshot, running operations. Screens read it, controllers change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from keyturn.model.profile import Delivery, Failure, Profile, Snapshot
from keyturn_tui.rendering.profile_cells import View
from keyturn_tui.rendering.profile_rows import Catalog
from keyturn_tui.terminal.capabilities import Options, Terminal
from keyturn_tui.workers import ServicePort, WorkerPool


@dataclass(frozen=True, slots=True)
class UsedCode:
    """An MFA code that AWS accepted. It works only once."""

    code: str
    at: datetime


@dataclass(slots=True)
class AppState:
    """State of the app. Change it on the event loop only."""

    service: ServicePort
    workers: WorkerPool
    options: Options
    terminal: Terminal
    snapshot: Snapshot | None = None
    """None until the files were read for the first time."""
    catalog: Catalog = field(default_factory=lambda: Catalog((), ()))
    working: frozenset[str] = frozenset()
    """Profiles that have a running operation."""
    rotating: frozenset[str] = frozenset()
    """Profiles whose key rotation has a running step."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """Failures in this app by profile, until an operation on that profile succeeds."""
    used_codes: dict[str, UsedCode] = field(default_factory=dict)
    """The last accepted code of each MFA device, by serial."""

    def now(self) -> datetime:
        """Return the service's time, because the sandbox may have moved its clock."""
        return self.service.now()

    def view(self) -> View:
        """Return everything that determines how profiles look now."""
        return View(
            self.snapshot or Snapshot(0, ()),
            self.now(),
            self.working,
            dict(self.failures),
            self.terminal.glyphs,
            self.options.read_only,
        )

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Profiles of the latest snapshot."""
        return self.snapshot.profiles if self.snapshot else ()

    def profile(self, name: str) -> Profile | None:
        """Return a profile of the latest snapshot by name."""
        return next((profile for profile in self.profiles if profile.name == name), None)

    def same_key_profiles(self, profile: Profile) -> tuple[str, ...]:
        """Return the other profiles whose sessions are made from the same key."""
        source = profile.source or profile.name
        return tuple(
            other.name for other in self.profiles if other.source == source and other.name != profile.name
        )

    def display_path(self, path: str) -> str:
        """Return a path in its short form (`~/…`)."""
        return self.service.paths.display(path)


def has_new_problem(before: Snapshot | None, now: Snapshot) -> bool:
    """Return True if a managed profile has a problem that the previous snapshot did not have."""
    if before is None:
        return False
    healthy = {other.name for other in before.profiles if other.managed and other.problem is None}
    return any(other.problem is not None and other.name in healthy for other in now.profiles)


def has_expired_delivery(snapshot: Snapshot, since: datetime, now: datetime) -> bool:
    """Return True if a session in the credentials file expired between two times and no agent is running to
    withdraw it."""
    ends = (
        other.session.expires
        for other in snapshot.profiles
        if other.managed and other.delivery is Delivery.CREDENTIALS_FILE and other.session is not None
    )
    return not snapshot.agent and any(end is not None and since < end <= now for end in ends)
