"""Rows of the profile list: native profiles, definitions and index combined. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from keyturn.awsconfig.process_line import profile_of_line
from keyturn.model.chain import MAX_CHAIN, count_sources, cycle_problem, length_problem
from keyturn.model.errors import Hint, Remedy
from keyturn.model.key_ids import account_of
from keyturn.model.profile import (
    DEFAULT_ROTATION_DAYS,
    LOGIN_KINDS,
    Delivery,
    Key,
    Kind,
    Login,
    Profile,
    Session,
    State,
    VaultState,
    login_state,
    rotation_of,
    state_of,
)
from keyturn.model.text import iso
from keyturn.providers.base import KnownState
from keyturn.providers.registry import provider_of
from keyturn.providers.sts_limits import CHAINED_MAX, MFA_SESSION_MIN_LEFT, ROLE_DEFAULT
from keyturn.storage.index import DeliveryRecord, Index, ProfileState
from keyturn.storage.managed_profiles import ManagedProfile, ManagedProfiles

#: Settings by profile, merged from both files as botocore does.
Settings = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class View:
    """Input of the rows, read at one moment."""

    natives: Mapping[str, Profile]
    """Profiles of the shared files by name, in file order."""
    definitions: ManagedProfiles
    index: Index
    settings: Settings
    """Settings of each profile in both shared files."""
    now: datetime
    files_readable: bool = True
    """False if a shared file cannot be read. Missing process lines are not reported then."""
    code_command: Callable[[str, str], Collection[str]] = lambda profile, serial: ()  # noqa: ARG005  # none, by default
    """Returns the command that shows MFA codes for a profile and a serial; empty if a person must type them.
    """
    process_lines: dict[str, list[str]] = field(default_factory=dict)
    """Profiles with a process line that calls keyturn, by the profile that it names; empty until a line is
    missing.
    """
    chain_lengths: dict[str, int | None] = field(default_factory=dict)
    """Lengths of the chains of managed profiles, as far as they were counted."""

    def profiles_with_line(self, name: str) -> list[str]:
        """See :func:`profiles_by_line`. All lines are read once, because they may be missing from many
        profiles.
        """
        if not self.process_lines:
            self.process_lines.update({"": []} | profiles_by_line(self.settings))
        return self.process_lines.get(name, [])

    def mfa_session_expiry(self, serial: str, key_id: str | None) -> datetime | None:
        """Return the expiry of a user's MFA session, or None if there is none that lasts for
        `MFA_SESSION_MIN_LEFT`.
        """
        session = self.index.device(serial).sessions.get(key_id or "")
        return (
            session.expires
            if session is not None and session.expires - self.now > MFA_SESSION_MIN_LEFT
            else None
        )


def rows(view: View) -> tuple[Profile, ...]:
    """Return all profiles: first those of the shared files in file order, then managed ones that are in no
    file.
    """
    others = [name for name in view.definitions if name not in view.natives]
    return tuple(row_of(name, view) for name in (*view.natives, *others))


def row_of(name: str, view: View) -> Profile:
    """Return an existing profile."""
    definition = view.definitions.get(name)
    return _native(view.natives[name], view) if definition is None else _managed(definition, view)


def _native(native: Profile, view: View) -> Profile:
    state = view.index.of(native.name)
    return replace(
        native,
        session=_longest(state.session, native.session),
        rotation=rotation_of(native.key, DEFAULT_ROTATION_DAYS, view.now),
        last_use=state.last_use,
        failure=state.failure,
        needs_person=_has_role_without_code(native, view),
        mfa_session=_native_mfa_session(native, view),
    )


def _native_mfa_session(native: Profile, view: View) -> tuple[str, str] | None:
    settings = view.settings.get(native.name, {})
    if native.kind is not Kind.ROLE:
        return None
    duration = _text(settings, "duration_seconds") or ""
    seconds = int(duration) if duration.isascii() and duration.isdigit() else ROLE_DEFAULT
    serial, key_id = _text(settings, "mfa_serial"), _key_id(_text(settings, "source_profile"), view)
    return _role_mfa_session(serial, key_id, view.index.of(native.name).accepted_seconds or seconds)


def _longest(own: Session | None, cached: Session | None) -> Session | None:
    """Return keyturn's own session of a native profile, or the one that AWS tools have cached if that expires
    later.
    """
    if own is None or own.expires is None or cached is None or cached.expires is None:
        return own or cached
    return cached if cached.expires > own.expires else own


def _login_of_chain(chain: tuple[str, ...], view: View) -> Login | None:
    """Return the sign-in that a managed profile's sessions come from, or None if it is a key or a process."""
    source = chain[-1] if chain else ""
    native = None if source in view.definitions else view.natives.get(source)
    return native.login if native is not None and native.kind in LOGIN_KINDS else None


def _has_role_without_code(native: Profile, view: View) -> bool:
    """Return True if a role of a native chain needs an MFA code that a person must type."""
    if native.kind is not Kind.ROLE or native.problem:
        return False
    return any(_needs_code(name, native, view) for name in (native.name, *native.chain))


def _needs_code(name: str, native: Profile, view: View) -> bool:
    """Return True if the role `name` of a native chain needs an MFA code that a person must type."""
    settings = view.settings.get(name, {})
    source = _text(settings, "source_profile")
    serial = _text(settings, "mfa_serial") if native.needs_person else None
    code_profile: str | None = name
    if not serial:
        if not _is_key_denied(name, source, view):
            return False
        code_profile, serial = _source_device(source, view)
    if not serial or view.code_command(code_profile or name, serial):
        return False
    return view.mfa_session_expiry(serial, _key_id(source, view)) is None


def _managed(definition: ManagedProfile, view: View) -> Profile:
    native = view.natives.get(definition.name)
    state = view.index.of(definition.name)
    key = view.index.keys.get(definition.key) if definition.key else None
    own_key = key if definition.kind == Kind.IAM_KEY else None
    source, chain, problem = source_of(definition, view.natives, view.definitions, view.chain_lengths)
    if problem is None and view.files_readable:
        problem = delivery_problem(definition, native, view.settings, state, view.profiles_with_line)
    account, derived = _account(definition, key)
    return Profile(
        name=definition.name,
        managed=True,
        kind=definition.kind,
        kind_label=provider_of(definition.kind).label,
        source=source,
        account=account,
        account_derived=derived,
        role=definition.role_arn,
        region=native.region if native else None,
        key=own_key,
        session=state.session,
        login=_login_of_chain(chain, view),
        delivery=definition.delivery,
        deliver_as=definition.deliver_as,
        renew=definition.renew,
        rotation=rotation_of(
            own_key, definition.rotation_days, view.now, pending_step=_pending_step(definition, view.index)
        ),
        mfa_serial=definition.mfa_serial,
        mfa_session=_mfa_session(definition, view),
        chain=chain,
        credential_source=caller_credential_source(definition.name, view.natives, view.definitions),
        role_settings=role_settings(definition),
        duration_seconds=state.accepted_seconds or definition.duration_seconds,
        delivers_key=delivers_key(definition, view.index),
        lacks_consent=definition.session_none and not state.key_consent,
        last_use=state.last_use,
        problem=problem,
        failure=state.failure,
        needs_person=_needs_person(definition, chain, view),
        origin=native.origin if native else None,
    )


def _mfa_session(definition: ManagedProfile, view: View) -> tuple[str, str] | None:
    """Return the MFA session that serves a managed profile; see :attr:`Profile.mfa_session`."""
    serial = definition.mfa_serial
    key_id = _key_id(definition.name if definition.key else definition.source_profile, view)
    if definition.kind == Kind.IAM_KEY:
        return (key_id, serial) if serial and key_id and not delivers_key(definition, view.index) else None
    if definition.kind != Kind.ROLE:
        return None
    accepted = view.index.of(definition.name).accepted_seconds
    return _role_mfa_session(serial, key_id, accepted or definition.duration_seconds or ROLE_DEFAULT)


def _role_mfa_session(serial: str | None, key_id: str | None, seconds: int) -> tuple[str, str] | None:
    """Return the MFA session by which a role is assumed; None if AssumeRole takes the code itself, as it does
    for a source without a key, and for a longer session than AWS allows for role chaining.
    """
    return (key_id, serial) if serial and key_id and seconds <= CHAINED_MAX else None


def _pending_step(definition: ManagedProfile, index: Index) -> str | None:
    """Return the step at which a rotation of the profile's key is paused, or None."""
    for rotation in index.rotations.values():
        if definition.key in rotation.entries:
            return "undoing" if rotation.is_undoing else rotation.step
    return None


def delivers_key(definition: ManagedProfile, index: Index) -> bool:
    """Return True if a profile delivers its long-term key, as far as it is known without the vault."""
    return definition.session_none and index.of(definition.name).key_consent


def _needs_person(definition: ManagedProfile, chain: tuple[str, ...], view: View) -> bool:
    if delivers_key(definition, view.index):
        return False
    sources = [view.definitions[name] for name in chain if name in view.definitions]
    # The key of an IAM user signs for a role itself, so no session of the user is needed.
    profiles = [definition, *(source for source in sources if source.kind != Kind.IAM_KEY)]
    return any(
        provider_of(each.kind).needs_person(each, partial(_known_state, each, view)) for each in profiles
    )


def _known_state(definition: ManagedProfile, view: View) -> KnownState:
    name, serial = definition.name, definition.mfa_serial
    source = name if definition.key else definition.source_profile
    code_profile: str | None = name
    if serial is None and definition.kind == Kind.ROLE:
        code_profile, serial = _source_device(definition.source_profile, view)
    key_id = _key_id(source, view)
    has_code_command = bool(serial and view.code_command(code_profile or name, serial))
    return KnownState(
        view.index.of(name),
        has_code_command,
        view.mfa_session_expiry(serial or "", key_id),
        is_key_denied=bool(serial) and _is_key_denied(name, source, view),
    )


def _is_key_denied(name: str, source: str | None, view: View) -> bool:
    """Return True if AWS denied the role of a profile to the key of its source without MFA."""
    state = view.index.profiles.get(name)
    return state is not None and bool(state.denied_signer) and state.denied_signer == _key_id(source, view)


def _source_device(source: str | None, view: View) -> tuple[str | None, str | None]:
    """Return the MFA device of a source profile, and before it the profile whose `mfa_command` shows its
    codes, None if that is the role itself.
    """
    definition = view.definitions.get(source or "")
    if definition is not None:
        return definition.name, definition.mfa_serial if definition.kind == Kind.IAM_KEY else None
    return None, _text(view.settings.get(source or "", {}), "mfa_serial")


def _key_id(source: str | None, view: View) -> str | None:
    """Return the id of a profile's access key."""
    definition, native = view.definitions.get(source or ""), view.natives.get(source or "")
    if definition is not None:
        key = view.index.keys.get(definition.key) if definition.key else None
        return key.key_id if key else None
    return native.key.key_id if native is not None and native.key is not None else None


def _text(settings: Mapping[str, object], name: str) -> str | None:
    value = settings.get(name)
    return value if isinstance(value, str) else None


def source_of(
    definition: ManagedProfile,
    natives: Mapping[str, Profile],
    definitions: ManagedProfiles,
    lengths: dict[str, int | None] | None = None,
) -> tuple[str | None, tuple[str, ...], str | None]:
    """Return the source of a managed profile's sessions: its name, the profiles on the way, and a problem or
    None.

    :param lengths: shared by the calls for many profiles; see :func:`keyturn.model.chain.count_sources`.
    """
    path: list[str] = []
    current = definition
    while True:
        name = current.source_profile
        source = provider_of(current.kind).source(current) or (current.key if path else None)
        if source is not None:
            return source, tuple(path), None
        if name is None:
            return (
                None,
                tuple(path),
                "its definition has no key, no source profile and no credential source",
            )
        problem = None
        if name in path or name == definition.name:
            problem = cycle_problem(name)
        elif len(path) == MAX_CHAIN:
            problem = _length_problem(definition, definitions, {} if lengths is None else lengths)
        if problem:
            return None, tuple(path), problem
        path.append(name)
        if name in definitions:
            current = definitions[name]
            continue
        native = natives.get(name)
        problem = _source_problem(name, native)
        if native is None or problem is not None:
            return None, tuple(path), problem
        chain = (*path, *native.chain)
        if len(chain) > MAX_CHAIN:
            return None, chain[:MAX_CHAIN], length_problem(len(chain))
        return native.source or name, chain, None


def _length_problem(
    definition: ManagedProfile, definitions: ManagedProfiles, lengths: dict[str, int | None]
) -> str:
    """Return the problem of a managed profile whose chain exceeds :data:`MAX_CHAIN`."""

    def step_of(name: str) -> tuple[str | None, bool]:
        current = definitions[name]
        source = None if provider_of(current.kind).source(current) else current.source_profile
        return source, source not in definitions

    return length_problem(count_sources(definition.name, step_of, lengths))


def caller_credential_source(
    name: str, natives: Mapping[str, Profile], definitions: ManagedProfiles
) -> str | None:
    """Return the `credential_source` at the end of a profile's chain, or None if the chain ends in the
    profile's own credentials.
    """
    visited: set[str] = set()
    while name not in visited and len(visited) <= MAX_CHAIN:
        visited.add(name)
        definition, native = definitions.get(name), natives.get(name)
        if definition is not None:
            if definition.credential_source or definition.source_profile is None or definition.key:
                return definition.credential_source
            name = definition.source_profile
            continue
        if native is None or native.credential_source or not native.chain:
            return native.credential_source if native else None
        name = native.chain[-1]
    return None


def role_settings(definition: ManagedProfile) -> tuple[tuple[str, str], ...]:
    """Return the AssumeRole settings of a managed role in the order and with the names of its definition."""
    tags = ", ".join(
        f"{key}={value}{' (transitive)' if key in definition.transitive_tags else ''}"
        for key, value in definition.tags.items()
    )
    values = [
        ("external_id", definition.external_id),
        ("role_session_name", definition.role_session_name),
        ("source_identity", definition.source_identity),
        ("tags", tags),
        ("policy", definition.policy),
        ("policy_arns", ", ".join(definition.policy_arns)),
    ]
    return tuple((setting, value) for setting, value in values if value)


def _source_problem(name: str, native: Profile | None) -> str | None:
    if native is None:
        return f"its source profile {name} does not exist"
    if native.problem:
        return f"its source profile {name} is invalid: {native.problem}"
    return f"its source profile {name} has no credentials" if native.kind is Kind.UNKNOWN else None


def delivery_problem(
    definition: ManagedProfile,
    native: Profile | None,
    settings: Settings,
    state: ProfileState,
    find_line: Callable[[str], list[str]] | None = None,
) -> str | None:
    """Return the reason why AWS clients do not find what keyturn delivers for this profile, with the next
    step, or None.

    :param find_line: returns the profiles that have the process line of a profile; by default those in
        `settings`.
    """
    if native is not None and native.plaintext_key:
        location = f"{native.origin.file}, line {native.origin.line}" if native.origin else "the shared files"
        return (
            f"a plaintext key ({location}) takes precedence over keyturn; "
            "move it to another profile, or remove it"
        )
    if needs_process_line(definition) and native is not None and _has_own_credentials(native, state):
        location = f" ({native.origin.file}, line {native.origin.line})" if native.origin else ""
        return (
            f"the shared files define it as {native.kind} again{location}, "
            "which takes precedence over keyturn; "
            f"to keep that, run: keyturn release {definition.name}, "
            f"then keyturn adopt {definition.name} to manage it again"
        )
    if needs_process_line(definition) and not _has_process_line(
        settings.get(definition.name, {}), definition.name
    ):
        name = definition.name
        others = find_line(name) if find_line else profiles_by_line(settings).get(name, [])
        if others:
            return (
                f"its credential_process line is in profile {others[0]}; rename that to {definition.name}, "
                f"or run: keyturn release {definition.name}"
            )
        return process_line_missing(definition.name)
    return _session_problem(definition, settings, state.delivered)


def process_line_missing(name: str) -> str:
    """Return the problem of a profile that has no `credential_process` line."""
    return (
        f"its credential_process line is missing from the config file; run: keyturn deliver {name} "
        "--to credential-process"
    )


def _has_own_credentials(native: Profile, state: ProfileState) -> bool:
    """Return True if the shared files hold credentials of a managed profile again, for example after another
    program wrote back an old copy.
    """
    return native.kind not in (Kind.PROCESS, Kind.UNKNOWN) and state.delivered is None


def _session_problem(
    definition: ManagedProfile, settings: Settings, delivered: DeliveryRecord | None
) -> str | None:
    """Return a problem if the delivered session is no longer in the credentials file."""
    if definition.delivery is not Delivery.CREDENTIALS_FILE or delivered is None:
        return None
    if settings.get(delivered.section, {}).get("aws_access_key_id") in delivered.key_ids:
        return None
    command = f"keyturn deliver {definition.name} --to credentials-file"
    if definition.deliver_as:
        command += f" --as {definition.deliver_as}"
    return (
        f"another program removed its session from [{delivered.section}] of the credentials file; "
        f"run: {command}"
    )


ProfilesByLine = Mapping[str, Sequence[str]]
"""Profiles of the shared files, by the profile that their process line calls keyturn for."""


def profiles_by_line(settings: Settings) -> dict[str, list[str]]:
    """Return the profiles of the shared files whose process line calls keyturn, by the profile that it calls
    keyturn for. There are several, or another one, after the user renamed or copied it.
    """
    found: dict[str, list[str]] = {}
    for other, values in settings.items():
        named = _profile_of_line(values)
        if named:
            found.setdefault(named, []).append(other)
    return found


def _has_process_line(settings: Mapping[str, object], name: str) -> bool:
    return _profile_of_line(settings) == name


def _profile_of_line(settings: Mapping[str, object]) -> str | None:
    line = settings.get("credential_process")
    return profile_of_line(line) if isinstance(line, str) else None


def needs_process_line(definition: ManagedProfile) -> bool:
    """Return True if the profile's own section must contain keyturn's `credential_process` line."""
    if definition.delivery is Delivery.CREDENTIALS_FILE:
        return definition.deliver_as is not None
    return definition.delivery is Delivery.CREDENTIAL_PROCESS


def _account(definition: ManagedProfile, key: Key | None) -> tuple[str | None, bool]:
    if definition.role_arn:
        return account_in(definition.role_arn), False
    if key is None:
        return None, False
    if key.user:
        return account_in(key.user), False
    return account_of(key.key_id), True


def account_in(arn: str) -> str | None:
    """Return the account of an ARN (`arn:partition:service:region:account:resource`)."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 and parts[4].isdigit() else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reason why something cannot be done with a profile."""

    why: str
    """A clause about the profile, which is `it`."""
    hint: Hint
    """Next step; empty if there is none."""


def why_not_adoptable(row: Profile) -> Refusal | None:
    """Return why a profile cannot be adopted, judged by its row; None if it can. Adopt also checks its name
    and the files.
    """
    if row.managed:
        return Refusal("it is already managed by keyturn", "")
    if row.problem:
        return Refusal(row.problem, "Correct the profile in the shared files first")
    if row.kind in (Kind.MFA_SESSION, Kind.STATIC_SESSION):
        return Refusal(
            "it has only temporary credentials, which expire", "Adopt the profile that they were made from"
        )
    if row.kind is Kind.IAM_KEY or (row.kind is Kind.ROLE and (row.chain or row.credential_source)):
        return None
    refresh = ("Refresh it without adopting: ", Remedy("refresh", row.name))
    return Refusal(
        f"a profile of type {row.kind} has no long-term secret in the shared files",
        "Add credentials to it first" if row.kind is Kind.UNKNOWN else refresh,
    )


def why_not_rotatable(row: Profile) -> Refusal | None:
    """Return why a profile's access key cannot be rotated, judged by its row; None if it can."""
    has_own_key = row.managed and (row.kind is Kind.IAM_KEY or row.source == row.name)
    if has_own_key or row.rotation.pending_step is not None:
        return None
    if row.plaintext_key:
        return Refusal(
            "its key is a plaintext key in the shared files, where a new one could get lost",
            ("Adopt it first: ", Remedy("adopt", row.name)),
        )
    if row.source and not row.credential_source and (row.managed or row.kind is Kind.ROLE):
        # A source that is no profile of the chain is a sign-in, which has no key.
        is_profile = row.source in row.chain
        rotate = ("Rotate its source: ", Remedy("rotate", row.source))
        return Refusal("it has no access key of its own", rotate if is_profile else Remedy("show", row.name))
    return Refusal("the vault has no access key for it", Remedy("show", row.name))


def row_table(row: Profile, vault: VaultState, now: datetime) -> dict[str, Any]:
    """Return a profile as `list --json` prints it; null if unknown, never a secret."""
    state, rotation = state_of(row, vault, now), row.rotation
    session = None if state is State.NONE else row.session
    own_key_id = row.key.key_id if row.key else None
    key_id = (session.key_id if session else None) or own_key_id
    if row.delivers_key or row.plaintext_key:
        key_id = own_key_id or key_id
    return {
        "name": row.name,
        "managed": row.managed,
        "kind": str(row.kind),
        "source": row.source,
        "account": row.account,
        "account_derived": row.account_derived,
        "role": row.role,
        "region": row.region,
        "key_id": key_id,
        "state": None if state is State.UNKNOWN else str(state),
        "issued": iso(session.issued) if session else None,
        "expires": iso(session.expires) if session else None,
        "login": _login_table(row.login, now) if row.login else None,
        "delivery": str(row.delivery),
        "renew": str(row.renew) if row.renew else None,
        "rotation": {
            "state": str(rotation.state),
            "age_days": rotation.age_days,
            "limit_days": rotation.limit_days,
            "last_used": iso(rotation.last_used),
            "waits": rotation.pending_step,
        },
        "problem": row.problem,
        "origin": {"file": row.origin.file, "line": row.origin.line} if row.origin else None,
    }


def _login_table(login: Login, now: datetime) -> dict[str, Any]:
    return {
        "name": login.name,
        "state": str(login_state(login, now)),
        "until": iso(login.until),
        "renewable_until": iso(login.renewable_until),
    }
