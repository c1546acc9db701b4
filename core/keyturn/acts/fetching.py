"""Fetching sessions: the refresher set up with what one process has at hand, and its results noted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from keyturn.acts.desk import Desk
from keyturn.aws.ports import Issued
from keyturn.model import Credentials, Kind, Session
from keyturn.reading import Reading
from keyturn.sessions import role, stored
from keyturn.sessions.refresh import Fetched, Refresher


def fetch(desk: Desk, reading: Reading, name: str) -> Credentials:
    """A session of a profile, from the cache while it is fresh; noted in the index, delivered nowhere."""
    fetched = refresher(desk, reading).fetch(name, only_if_due=True)
    note(desk, name, fetched)
    return fetched.issued.credentials


def note(desk: Desk, name: str, fetched: Fetched) -> Session:
    """Writes what is now known of the session into the index, also of the sessions that came on the way."""
    session = fetched.facts()

    desk.index.change(lambda index: index.update(name, session=session, failure=None))
    return session


def refresher(desk: Desk, reading: Reading) -> Refresher:
    accepted = {
        name: known.accepted_seconds
        for name, known in reading.index.profiles.items()
        if known.accepted_seconds
    }
    return Refresher(
        definitions=reading.definitions,
        natives=reading.natives,
        hops=lambda name: hop_of(name, reading),
        key=desk.key,
        plain_key=lambda name: desk.plain_key(reading, name),
        sessions=VaultSessions(desk),
        aws=desk.aws,
        clock=desk.clock,
        lock=desk.lock,
        accepted=accepted,
        remember=lambda name, seconds: remember(desk, name, seconds),
    )


def remember(desk: Desk, name: str, seconds: int) -> None:
    """Notes the duration that AWS accepts for a role."""
    desk.index.change(lambda index: index.update(name, accepted_seconds=seconds))


def hop_of(name: str, reading: Reading) -> role.Hop | None:
    """The AssumeRole parameters of a profile, managed or native; None if it assumes no role by a source profile."""
    definition = reading.definitions.get(name)
    if definition is not None:
        if definition.role_arn is None:
            return None
        return role.Hop(
            name, definition.role_arn, definition.external_id, definition.mfa_serial, definition.role_session_name,
            definition.duration_seconds,
        )  # fmt: skip
    native = reading.natives.get(name)
    if native is None or native.kind is not Kind.ROLE or native.problem:
        return None
    return native_hop(name, reading.settings(name))


def native_hop(name: str, settings: Mapping[str, object]) -> role.Hop | None:
    """The AssumeRole parameters that the shared files hold for a profile."""

    def text(key: str) -> str | None:
        value = settings.get(key)
        return value if isinstance(value, str) and value else None

    arn = text("role_arn")
    if arn is None or text("source_profile") is None:
        return None
    duration = text("duration_seconds") or ""
    seconds = int(duration) if duration.isascii() and duration.isdigit() else None
    return role.Hop(name, arn, text("external_id"), text("mfa_serial"), text("role_session_name"), seconds)


class VaultSessions:
    """The session cache of the vault, as the refresher sees it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def get(self, name: str) -> Fetched | None:
        entry = self._desk.vault.session(name)
        decoded = stored.decode(entry) if entry else None
        return Fetched(*decoded) if decoded else None

    def put(self, name: str, issued: Issued, at: datetime) -> None:
        entry = stored.encode(issued, at)
        self._desk.vault.change_sessions(lambda sessions: sessions.__setitem__(name, entry))
        session = Fetched(issued, at).facts()
        self._desk.index.change(lambda index: index.update(name, session=session))
