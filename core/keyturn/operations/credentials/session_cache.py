"""Fetching sessions: the refresher set up with what one process has at hand, and its results kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from keyturn.model.errors import AgentUnavailable, FileChanged
from keyturn.model.profile import Kind
from keyturn.operations.context import Context
from keyturn.operations.credentials.mfa_code_command import MfaCodes
from keyturn.operations.credentials.mfa_sessions import DeviceSessions
from keyturn.profiles import status
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.static_keys import static_credentials
from keyturn.providers import assume_role, cached_session
from keyturn.providers import assume_role as role
from keyturn.providers.cached_session import FetchedSession
from keyturn.providers.refresher import Refresher
from keyturn.storage.config import Config
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile


def fetch(desk: Context, reading: Inventory, name: str) -> FetchedSession:
    """A session of a profile, from the cache while it is fresh; delivered nowhere."""
    return refresher(desk, reading).fetch(name, only_if_due=True)


def refresher(desk: Context, reading: Inventory, *, has_commands: bool = True) -> Refresher:
    """The refresher for one reading of files and definitions.

    :param has_commands: whether the person's programs may be asked for MFA codes.
    """
    codes = MfaCodes(desk, reading.preferences, reading.preferences_fault)
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
        plain_key=lambda name: static_credentials(reading, name),
        settings=reading.settings,
        sessions=VaultSessions(desk, reading),
        aws=desk.aws,
        clock=desk.clock,
        lock=desk.lock,
        accepted=accepted,
        remember=lambda name, seconds: remember(desk, name, seconds),
        asker_source=lambda name: status.asker_source(name, reading.natives, reading.definitions),
        devices=DeviceSessions(desk, reading),
        codes=codes if has_commands else replace(codes, preferences=Config(), fault=None),
    )


def refuse_for_others(desk: Context, reading: Inventory, name: str) -> None:
    """Keeps the agent from answering with what its own environment, or its own machine's role, happens to be.

    :raises AgentUnavailable: whoever asks must do it in a process of their own.
    """
    if desk.serves_others and status.asker_source(name, reading.natives, reading.definitions):
        why = f"{name} takes its credentials from whoever asks"
        raise AgentUnavailable("the agent", why, f"Run: keyturn refresh {name}")


def remember(desk: Context, name: str, seconds: int) -> None:
    """Notes the duration that AWS accepts for a role."""
    desk.note(lambda index: index.update(name, accepted_seconds=seconds))


def hop_of(name: str, reading: Inventory) -> role.AssumeRoleParams | None:
    """The AssumeRole parameters of a profile, managed or native; None if it assumes no role by a source profile."""
    definition = reading.definitions.get(name)
    if definition is not None:
        return None if definition.role_arn is None else managed_hop(definition, definition.role_arn)
    native = reading.natives.get(name)
    if native is None or native.kind is not Kind.ROLE or native.problem:
        return None
    return native_hop(name, reading.settings(name))


def managed_hop(one: ManagedProfile, role_arn: str) -> role.AssumeRoleParams:
    """The AssumeRole parameters of a definition.

    :raises ProfileBroken: its policy is a file that cannot be read.
    """
    return role.AssumeRoleParams(
        profile=one.name,
        role_arn=role_arn,
        external_id=one.external_id,
        mfa_serial=one.mfa_serial,
        session_name=one.role_session_name,
        duration_seconds=one.duration_seconds,
        credential_source=one.credential_source,
        tags=one.tags,
        transitive_tags=one.transitive_tags,
        source_identity=one.source_identity,
        policy=assume_role.text_of(one.policy, one.name) if one.policy else None,
        policy_arns=one.policy_arns,
    )


def native_hop(name: str, settings: Mapping[str, object]) -> role.AssumeRoleParams | None:
    """The AssumeRole parameters that the shared files hold for a profile."""

    def text(key: str) -> str | None:
        value = settings.get(key)
        return value if isinstance(value, str) and value else None

    arn = text("role_arn")
    if arn is None or (text("source_profile") is None and text("credential_source") is None):
        return None
    duration = text("duration_seconds") or ""
    seconds = int(duration) if duration.isascii() and duration.isdigit() else None
    return role.AssumeRoleParams(
        name, arn, text("external_id"), text("mfa_serial"), text("role_session_name"), seconds, text("credential_source")
    )  # fmt: skip


class VaultSessions:
    """The session cache of the vault, as the refresher sees it.

    A session is kept only if its profile still is what it was when it was asked for: a release or an adoption meanwhile
    must not get a session of what was before.
    """

    def __init__(self, desk: Context, reading: Inventory) -> None:
        self._desk = desk
        self._reading = reading

    def get(self, name: str) -> FetchedSession | None:
        entry = self._desk.vault.session(name)
        decoded = cached_session.decode(entry) if entry else None
        if decoded is None:
            return None
        found = FetchedSession(*decoded)
        return None if _is_stopped(found.got, self._desk.known(name).stopped) else found

    def put(self, name: str, fetched: FetchedSession) -> None:
        entry = cached_session.encode(fetched)
        with self._desk.exclusive():
            require_unchanged(self._desk, self._reading, name, fetched)
            self._desk.vault.change_sessions(lambda sessions: sessions.__setitem__(name, entry))

            def note(index: Index) -> None:
                # The mark of a stop stays, for a delivery that still waits. One that lies ahead was made by a clock that
                # has been set back since.
                stopped = index.of(name).stopped
                stopped = None if _is_stopped(fetched.got, stopped) else stopped
                index.update(name, session=fetched.facts(), failure=None, stopped=stopped)

            self._desk.note(note)


def _is_stopped(got: datetime, stopped: datetime | None) -> bool:
    return stopped is not None and got <= stopped


def require_unchanged(desk: Context, before: Inventory, name: str, fetched: FetchedSession) -> None:
    """Makes sure that a session is still wanted which was asked for a while ago. The caller holds
    :meth:`Desk.exclusive` until it has put the session where it belongs.

    :param before: what was read before AWS was asked.
    :raises FileChanged: the profile, or one that its session is made from, is not what it was, or it was stopped.
    """
    now = desk.read()
    old, new = before.definitions.get(name), now.definitions.get(name)
    if (old or new) and not (old and old.same_source(new)):
        raise _overtaken(name, "its definition changed while AWS was asked")
    if new and refresher(desk, now).binding(name) != fetched.made_from:
        raise _overtaken(name, "what it is made from changed while AWS was asked")
    stopped = now.index.of(name).stopped
    if stopped is not None and stopped != before.index.of(name).stopped:
        raise _overtaken(name, "it was stopped while AWS was asked")


def _overtaken(name: str, why: str) -> FileChanged:
    return FileChanged(f"refresh of {name}", why, f"Run: keyturn refresh {name}")
