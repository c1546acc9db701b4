"""What lies on the desk: the keeper, the latest snapshot, and what is being worked on. Screens read it; acts change it."""

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
    """An MFA code that AWS has accepted; it works once only."""

    code: str
    at: datetime


@dataclass(slots=True)
class AppState:
    """Changed on the event loop only."""

    service: ServicePort
    workers: WorkerPool
    options: Options
    terminal: Terminal
    snapshot: Snapshot | None = None
    """None until the files were read for the first time."""
    catalog: Catalog = field(default_factory=lambda: Catalog((), ()))
    working: frozenset[str] = frozenset()
    rotating: frozenset[str] = frozenset()
    """Names whose key's rotation has a step in flight."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """What went wrong here, by profile, until something goes right."""
    used_codes: dict[str, UsedCode] = field(default_factory=dict)
    """The last code that each MFA device gave, by its serial."""

    def now(self) -> datetime:
        """The keeper's moment: the sandbox may have moved its clock."""
        return self.service.now()

    def view(self) -> View:
        """All that decides how profiles look, at this moment."""
        snapshot = self.snapshot or Snapshot(0, ())
        return View(
            snapshot,
            self.now(),
            self.working,
            tuple(self.failures.items()),
            self.terminal.glyphs,
            self.options.read_only,
        )

    def profile(self, name: str) -> Profile | None:
        """A profile of the latest snapshot by its name."""
        profiles = self.snapshot.profiles if self.snapshot else ()
        return next((profile for profile in profiles if profile.name == name), None)

    def same_key_profiles(self, profile: Profile) -> tuple[str, ...]:
        """The other profiles whose sessions come from the same key."""
        profiles = self.snapshot.profiles if self.snapshot else ()
        source = profile.source or profile.name
        return tuple(
            other.name for other in profiles if other.source == source and other.name != profile.name
        )

    def mark_working(self, name: str) -> None:
        """An act on this profile starts."""
        self.working |= {name}

    def mark_idle(self, name: str) -> None:
        """It is over, one way or the other."""
        self.working -= {name}

    def record_failure(self, name: str, line: str) -> None:
        """Keep why, for row and detail."""
        self.failures[name] = Failure(self.now(), line)

    def display_path(self, path: str) -> str:
        """A path as a person writes it."""
        return self.service.paths.shown(path)


def has_new_problem(before: Snapshot | None, now: Snapshot) -> bool:
    """Whether a managed profile has a problem that it did not have a moment ago."""
    if before is None:
        return False
    healthy = {other.name for other in before.profiles if other.managed and other.problem is None}
    return any(other.problem is not None and other.name in healthy for other in now.profiles)


def has_expired_delivery(snapshot: Snapshot, since: datetime, now: datetime) -> bool:
    """Whether a session that stands in the credentials file has ended between two moments, and no agent saw to it."""
    ends = (
        other.session.expires
        for other in snapshot.profiles
        if other.managed and other.delivery is Delivery.CREDENTIALS_FILE and other.session is not None
    )
    return not snapshot.agent and any(end is not None and since < end <= now for end in ends)
