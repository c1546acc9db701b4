"""Base class of credential providers, their result, and their input: profiles, keys, AWS client and stores of
one refresh."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self, TypeVar

from keyturn.aws.api import Aws, AwsFactory, IssuedCredentials
from keyturn.aws.deadline import Deadline
from keyturn.model.errors import RUN, NeedsMfa, Remedy, UsageError
from keyturn.model.profile import Credentials, Profile, Session
from keyturn.storage.index import ProfileState
from keyturn.storage.managed_profiles import ManagedProfile, ManagedProfiles
from keyturn.system.clock import Clock

T = TypeVar("T")


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
        """Return what is shown of the session. Times are in whole seconds, as the index stores them."""
        credentials = self.issued.credentials
        issued = self.requested_at.replace(microsecond=0)
        return Session(credentials.access_key_id, issued, credentials.expires, self.issued.arn)


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

    def drop(self, refused: FetchedSession) -> None:
        """Delete a session that AWS does not accept any more, wherever it is stored. Failures are ignored."""
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

    def drop(self, refused: FetchedSession) -> None:
        """Delete a session that AWS does not accept any more, wherever it is stored. Failures are ignored."""
        ...


class MfaCodeSource(Protocol):
    """Source of MFA codes that are not typed, and record of AWS's responses to them."""

    def has_command(self, profile: str, serial: str) -> bool:
        """Return True if a command shows the codes of a device."""

    def code(self, profile: str, serial: str, deadline: Deadline) -> str:
        """Return a code that AWS has not seen yet, from the command."""

    def record_use(self, serial: str) -> None:
        """Record that a typed code is being sent."""

    def record_refusal(self, profile: str, serial: str) -> None:
        """Record that AWS refused a code."""

    def record_acceptance(self, serial: str) -> None:
        """Record that AWS accepted a code."""

    def refuses_session_tokens(self, serial: str) -> bool:
        """Return True if AWS denies the device's user a session with MFA."""

    def record_session_token_refusal(self, serial: str) -> None:
        """Record that AWS denied the device's user a session with MFA."""


class OneTimeCode:
    """MFA code of a refresh. It can be taken once, because AWS accepts it once."""

    def __init__(self, code: str | None) -> None:
        self._code = code

    def __bool__(self) -> bool:
        return self._code is not None

    def take(self) -> str | None:
        code, self._code = self._code, None
        return code


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """One refresh: its MFA code, its time limit, and the profiles of the chain so far."""

    code: OneTimeCode
    path: tuple[str, ...]
    is_on_demand: bool
    """True if a cached session that is fresh is sufficient."""
    deadline: Deadline = field(default_factory=Deadline)

    def of_source(self, name: str) -> SessionRequest:
        """Return the request for the source profile `name` of the last profile in the chain."""
        return replace(self, path=(*self.path, name))


@dataclass(frozen=True, slots=True)
class SourceSession:
    """A session of a source profile that signs for a role."""

    role: str
    """The profile that it signs for."""
    source: str
    fetched: FetchedSession


class RefresherPort(Protocol):
    """Port to the refresher: sessions of other profiles, locks, and calls to AWS."""

    def cached(self, name: str) -> FetchedSession | None:
        """Return the cached session of a profile, expired or not."""

    def fingerprint(self, name: str, path: tuple[str, ...] = ()) -> str:
        """Return a digest of everything that a session of a profile depends on."""

    def source_session(self, source: str, request: SessionRequest) -> SourceSession:
        """Return a session of a source profile, refreshed if it is due."""

    def call_as_source(
        self,
        session: SourceSession,
        request: SessionRequest,
        call: Callable[[Credentials], T],
        *,
        refusals: Collection[str],
    ) -> T:
        """Make a call signed with a session of a source profile; see
        :meth:`keyturn.providers.refresher.Refresher.call_as_source`.
        """

    def lock(self, name: str, request: SessionRequest) -> AbstractContextManager[None]:
        """Hold the lock of a source across processes."""

    def aws(self, name: str, request: SessionRequest) -> Aws:
        """Return the AWS client for a profile, with the time limit of the request."""

    def with_code(
        self, profile: str, serial: str | None, request: SessionRequest, call: Callable[[str | None], T]
    ) -> T:
        """Make a call with a code of an MFA device, if there is a device, and record AWS's response to the
        code.

        :raises NeedsMfa: if there was no response, because the code may be used up.
        """


@dataclass(frozen=True)
class Sources:
    """Everything that providers read: profiles, keys, AWS and MFA devices, as of one moment.

    :param key: the long-term key of a vault entry; raises `NeedsUnlock` while the vault is locked.
    :param plain_key: the static credentials that a native profile has in the shared files, None if AWS tools
        would take its credentials from elsewhere.
    :param settings: all settings of a native profile.
    :param caller_credential_source: returns the `credential_source` at the end of a profile's chain, or None.
        Such sessions are never stored, because the next caller may run in another environment and must not
        receive this one's identity.
    :param accepted: the duration in seconds that AWS accepts for a profile, if it refused a longer one.
    :param record_accepted_duration: stores such a duration.
    :param denied_signers: by profile, the access key id to which AWS denied its role: the key of its user
        without MFA, or a session of its source that was new.
    :param record_denied_signer: stores such a key id, or None once AWS accepted it.
    :param host_fingerprint: digest of the endpoints and CA bundles by which AWS is reached.
    :param foreign_names: the variables of them that only the caller has.
    """

    definitions: ManagedProfiles
    natives: Mapping[str, Profile]
    key: Callable[[str], Credentials]
    plain_key: Callable[[str], Credentials | None]
    settings: Callable[[str], Mapping[str, object]]
    caller_credential_source: Callable[[str], str | None]
    factory: AwsFactory
    clock: Clock
    accepted: Mapping[str, int]
    record_accepted_duration: Callable[[str, int], None]
    denied_signers: Mapping[str, str]
    record_denied_signer: Callable[[str, str | None], None]
    devices: MfaSessionStore
    codes: MfaCodeSource
    host_fingerprint: str = ""
    foreign_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownState:
    """Known facts about a managed profile while the vault is locked."""

    profile: ProfileState
    has_code_command: bool
    """A command shows the codes of its MFA device."""
    mfa_session_expires: datetime | None
    """Expiry of the MFA session of the user who signs for it, None if there is none."""
    is_key_denied: bool = False
    """AWS denied its role to the key of that user without MFA."""


#: Checks the text of a setting and returns its value; raises `UsageError`.
Parser = Callable[[str], Any]


@dataclass(frozen=True)
class CredentialProvider(ABC):
    """One way to get a session for a profile. A provider calls AWS; the refresher locks, caches and stores.

    The class describes a kind of managed profile, an instance serves one profile.
    """

    kind: ClassVar[str] = ""
    """`kind` of its managed profiles in `profiles.toml`; empty if it serves native profiles only."""
    label: ClassVar[str] = ""
    """Name of the kind for people, if :data:`keyturn.model.labels.KIND_WORDS` has none."""
    plural: ClassVar[str] = ""
    """Its profiles in an error line, such as `roles`."""
    settings: ClassVar[Mapping[str, Parser]] = MappingProxyType({})
    """Its own settings by name, besides those of every managed profile. Their values are TOML values."""

    name: str
    sources: Sources
    refresher: RefresherPort

    @classmethod
    def of(cls, name: str, sources: Sources, refresher: RefresherPort) -> Self | None:
        """Return the provider of a profile, or None if it does not apply to this profile."""
        definition = sources.definitions.get(name)
        return cls(name, sources, refresher) if definition and definition.kind == cls.kind else None

    @classmethod
    def source(cls, definition: ManagedProfile) -> str | None:
        """Return the source of a profile's sessions, such as a key, or None if another profile signs."""
        return None if definition.source_profile else definition.name

    @classmethod  # noqa: B027  # most kinds have no settings that can conflict
    def check(cls, definition: ManagedProfile) -> None:
        """Check the settings together, without reading a file.

        :raises UsageError: if they conflict.
        """

    @classmethod
    def needs_person(cls, _definition: ManagedProfile, _known: Callable[[], KnownState]) -> bool:
        """Return True if a refresh needs a person, for an MFA code or a sign-in. It is asked for each row of
        the list, so `known` looks its facts up only when it is called.
        """
        return False

    @property
    def definition(self) -> ManagedProfile:
        """The definition of its managed profile."""
        return self.sources.definitions[self.name]

    @abstractmethod
    def fingerprint(self, path: tuple[str, ...]) -> list[object]:
        """Return everything that a session depends on, as JSON values. A cached session is valid only while
        they are unchanged.

        :param path: the profiles of the chain, this one last.
        """

    @abstractmethod
    def retrieve(self, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """Get a session from AWS. Return it and a note for the user, which may be empty.

        :raises NeedsMfa: if a code is required and none is left.
        """


_CODE = re.compile(r"[0-9]{6}")


def require_code(profile: str, serial: str, code: str | None) -> str:
    """Return `code` if it has the form of an MFA code.

    :raises NeedsMfa: if it is missing.
    :raises UsageError: if it is not six digits, because AWS would count it as a failed attempt.
    """
    if not code:
        raise NeedsMfa(
            f"Could not refresh {profile}",
            f"an MFA code of {serial} is required",
            (RUN, Remedy("refresh", profile), ", and type the code or add --mfa-code CODE"),
            profile=profile,
            serial=serial,
        )
    if not _CODE.fullmatch(code):
        raise UsageError(
            "Invalid MFA code", "it is not six digits", "Type the six digits that the device shows"
        )
    return code
