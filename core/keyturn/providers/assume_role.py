"""AssumeRole: sessions of a role, signed by a source profile or by the caller's own credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Self

from keyturn.aws.api import Aws, IssuedCredentials, RoleRequest
from keyturn.model.errors import THEN_RUN, AwsRefused, NeedsMfa, ProfileBroken, Remedy, WrongMfaCode
from keyturn.model.profile import Credentials, Kind, State, session_state
from keyturn.model.text import span
from keyturn.providers import process, sts_limits
from keyturn.providers.base import (
    CredentialProvider,
    FetchedSession,
    KnownState,
    MfaDevice,
    RefresherPort,
    SessionRequest,
    Sources,
    require_code,
)
from keyturn.providers.sts_limits import CHAINED_MAX, ROLE_DEFAULT, for_role, for_session_token
from keyturn.storage.managed_profiles import ManagedProfile

#: A role denied within this time after a code was accepted is not denied because of the code's age.
RECENT_CODE = timedelta(minutes=10)
_EXPIRED_SESSION_ERRORS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"})


@dataclass(frozen=True, slots=True)
class AssumeRoleParams:
    """Parameters of one AssumeRole call, from a definition or a native profile."""

    profile: str
    role_arn: str
    external_id: str | None = None
    mfa_serial: str | None = None
    session_name: str | None = None
    duration_seconds: int | None = None
    credential_source: str | None = None
    """Source of the signing credentials in place of a source profile."""
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None
    policy: str | None = None
    """JSON text; a policy file has been read already."""
    policy_arns: tuple[str, ...] = ()

    def fingerprint_parts(self) -> list[object]:
        """Return everything that a session depends on except its signer, for a digest."""
        role: list[object] = ["role", self.role_arn, self.external_id, self.mfa_serial, self.session_name]
        policies = [
            sorted(self.tags.items()),
            sorted(self.transitive_tags),
            self.source_identity,
            self.policy,
        ]
        return [*role, *policies, list(self.policy_arns), self.credential_source]


def check(params: AssumeRoleParams) -> None:
    """Check the parameters against AWS's rules, before a request is sent.

    :raises UsageError: with the setting and the reason.
    """
    sts_limits.role_arn(params.role_arn)
    for_role(params.duration_seconds, chained=False)
    for check_text, value in (
        (sts_limits.external_id, params.external_id),
        (sts_limits.serial, params.mfa_serial),
        (sts_limits.session_name, params.session_name),
        (sts_limits.source_identity, params.source_identity),
    ):
        if value is not None:
            check_text(value)
    sts_limits.transitive_tags(params.transitive_tags, sts_limits.tags(params.tags))
    if params.policy is not None:
        sts_limits.policy(params.policy)
    sts_limits.check_policy_size(params.policy, sts_limits.policy_arns(params.policy_arns))


_NOT_ALLOWED_IN_NAMES = re.compile(r"[^\w+=,.@-]", re.ASCII)


def session_name(configured: str | None, profile: str) -> str:
    """Return the RoleSessionName: the configured one, or one made from the profile's name that matches
    `[\\w+=,.@-]{2,64}`.
    """
    name = configured or "keyturn-" + _NOT_ALLOWED_IN_NAMES.sub("-", profile)
    return name[:64]


def assume(
    aws: Aws,
    signer: Credentials,
    params: AssumeRoleParams,
    *,
    code: str | None,
    chained: bool,
    accepted_seconds: int | None = None,
    on_shorter: Callable[[int], None] = lambda _: None,
) -> tuple[IssuedCredentials, str]:
    """Assume a role with the credentials of `signer`. Return them and a note for the user, or an empty one.

    If AWS refuses the duration because it exceeds the role's maximum, the call is repeated once with one
    hour.

    :param code: the current code of `params.mfa_serial`, if that is set.
    :param chained: True if `signer` is temporary.
    :param accepted_seconds: the duration that AWS accepted for this profile before.
    :param on_shorter: called with the new duration if AWS refused the requested one.
    :raises NeedsMfa: if a code is required and missing, or the refused call has used it up.
    :raises UsageError: if the parameters violate AWS's rules; nothing was sent.
    """
    check(params)
    seconds, note = for_role(params.duration_seconds, chained=chained)
    if accepted_seconds:
        seconds = min(seconds, accepted_seconds)
    if params.mfa_serial:
        code = require_code(params.profile, params.mfa_serial, code)
    request = RoleRequest(
        role_arn=params.role_arn,
        session_name=session_name(params.session_name, params.profile),
        duration_seconds=seconds,
        external_id=params.external_id,
        mfa_serial=params.mfa_serial,
        mfa_code=code if params.mfa_serial else None,
        tags=params.tags,
        transitive_tags=params.transitive_tags,
        source_identity=params.source_identity,
        policy=params.policy,
        policy_arns=params.policy_arns,
    )
    try:
        return aws.assume_role(signer, request), note
    except AwsRefused as error:
        if error.code != "ValidationError" or "DurationSeconds" not in error.why or seconds <= CHAINED_MAX:
            raise
    on_shorter(CHAINED_MAX)
    refusal = f"AWS refused {span(timedelta(seconds=seconds))} for this role"
    try:
        issued = aws.assume_role(signer, replace(request, duration_seconds=CHAINED_MAX))
    except WrongMfaCode:
        raise NeedsMfa(
            f"Could not refresh {params.profile}",
            f"{refusal} and used up the code; one hour will be requested from now on",
            ("Wait for the next code, then ", THEN_RUN, Remedy("refresh", params.profile)),
            profile=params.profile,
            serial=params.mfa_serial or "",
        ) from None
    return issued, f"{refusal}, so it lasts one hour"


#: Far beyond any policy that AWS accepts. A wrong path may name an endless file.
MAX_POLICY_FILE_BYTES = 65_536


def policy_text(value: str, profile: str) -> str:
    """Return the policy as text, read from a file if `value` is a path.

    :raises ProfileBroken: if the file cannot be read.
    """
    if value.lstrip().startswith("{"):
        return value
    path = Path(os.path.expanduser(value))  # noqa: PTH111  # Path.expanduser raises if there is no home directory
    what, hint = f"Policy of {profile} is invalid", Remedy("set", profile, "policy=FILE")
    if not path.is_absolute():
        raise ProfileBroken(what, f"{value} is neither JSON nor an absolute path", hint)
    try:
        if not path.is_file():
            raise ProfileBroken(what, f"{value} is not a file", hint)
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_FILE_BYTES + 1)
        if len(data) > MAX_POLICY_FILE_BYTES:
            raise ProfileBroken(what, f"{value} is longer than {MAX_POLICY_FILE_BYTES} bytes", hint)
        return data.decode("utf-8")
    except OSError as error:
        raise ProfileBroken(what, f"{value}: {error.strerror or error}", hint) from None
    except UnicodeDecodeError:
        raise ProfileBroken(what, f"{value} is not UTF-8 text", hint) from None


def managed_role_params(definition: ManagedProfile) -> AssumeRoleParams | None:
    """Return the AssumeRole parameters of a managed profile, None if it assumes no role.

    :raises ProfileBroken: if its policy is a file that cannot be read.
    """
    if definition.role_arn is None:
        return None
    return AssumeRoleParams(
        profile=definition.name,
        role_arn=definition.role_arn,
        external_id=definition.external_id,
        mfa_serial=definition.mfa_serial,
        session_name=definition.role_session_name,
        duration_seconds=definition.duration_seconds,
        credential_source=definition.credential_source,
        tags=definition.tags,
        transitive_tags=definition.transitive_tags,
        source_identity=definition.source_identity,
        policy=policy_text(definition.policy, definition.name) if definition.policy else None,
        policy_arns=definition.policy_arns,
    )


def native_role_params(name: str, settings: Mapping[str, object]) -> AssumeRoleParams | None:
    """Return the AssumeRole parameters of a native profile, or None if its settings name no role or no
    source.
    """

    def text(key: str) -> str | None:
        value = settings.get(key)
        return value if isinstance(value, str) and value else None

    arn = text("role_arn")
    if arn is None or (text("source_profile") is None and text("credential_source") is None):
        return None
    duration = text("duration_seconds") or ""
    seconds = int(duration) if duration.isascii() and duration.isdigit() else None
    return AssumeRoleParams(
        name, arn, text("external_id"), text("mfa_serial"), text("role_session_name"), seconds,
        text("credential_source")
    )  # fmt: skip


_SETTINGS = MappingProxyType({**sts_limits.ROLE_SETTINGS, "timeout": process.timeout})


@dataclass(frozen=True)
class AssumeRoleProvider(CredentialProvider):
    """Sessions of the role that a profile names, managed or native."""

    kind = Kind.ROLE
    plural = "roles"
    settings = _SETTINGS

    params: AssumeRoleParams

    @classmethod
    def of(cls, name: str, sources: Sources, refresher: RefresherPort) -> Self | None:
        """See :meth:`keyturn.providers.base.CredentialProvider.of`."""
        definition, native = sources.definitions.get(name), sources.natives.get(name)
        if definition is not None:
            params = managed_role_params(definition)
        elif native is not None and native.kind is Kind.ROLE and not native.problem:
            params = native_role_params(name, sources.settings(name))
        else:
            params = None
        return cls(name, sources, refresher, params) if params is not None else None

    @classmethod
    def source(cls, definition: ManagedProfile) -> str | None:
        """See :meth:`keyturn.providers.base.CredentialProvider.source`."""
        if definition.source_profile is None and definition.credential_source:
            return definition.credential_source
        return definition.key if definition.source_profile in (None, definition.name) else None

    @classmethod
    def check(cls, definition: ManagedProfile) -> None:
        """See :meth:`keyturn.providers.base.CredentialProvider.check`."""
        sts_limits.transitive_tags(definition.transitive_tags, definition.tags)
        for_role(definition.duration_seconds, chained=False)

    @classmethod
    def needs_person(cls, definition: ManagedProfile, known: Callable[[], KnownState]) -> bool:
        """See :meth:`keyturn.providers.base.CredentialProvider.needs_person`."""
        if not definition.mfa_serial:
            return False
        state = known()
        if state.has_code_command:
            return False
        # A longer duration than AWS allows for role chaining requires a code for AssumeRole itself.
        seconds = state.profile.accepted_seconds or definition.duration_seconds or 0
        return state.mfa_session_expires is None or seconds > CHAINED_MAX

    def fingerprint(self, path: tuple[str, ...]) -> list[object]:
        """See :meth:`keyturn.providers.base.CredentialProvider.fingerprint`."""
        if self.params.credential_source:
            return [*self.params.fingerprint_parts(), None]
        key = self._source_key()
        signer = key.access_key_id if key else self.refresher.fingerprint(self._source(), path)
        return [*self.params.fingerprint_parts(), signer]

    def retrieve(self, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """See :meth:`keyturn.providers.base.CredentialProvider.retrieve`."""
        params, source = self.params, self.params.credential_source
        check(params)
        key = None if source else self._source_key()
        if params.mfa_serial and key is not None and key.session_token is None:
            assumed = self._assume_with_mfa_session(MfaDevice(key, params.mfa_serial), request)
            if assumed is not None:
                return assumed
        if params.mfa_serial and not self._has_code(params.mfa_serial, request):
            require_code(params.profile, params.mfa_serial, None)
        if source:
            signer = self.refresher.aws(self.name, request).source_credentials(self.name, source)
        else:
            signer = key or self.refresher.source_credentials(self._source(), request)
        return self.refresher.with_code(
            params.profile,
            params.mfa_serial,
            request,
            lambda code: self._assume(params, signer, request, code),
        )

    def _has_code(self, serial: str, request: SessionRequest) -> bool:
        return bool(request.code) or self.sources.codes.has_command(self.params.profile, serial)

    def _assume(
        self, params: AssumeRoleParams, signer: Credentials, request: SessionRequest, code: str | None
    ) -> tuple[IssuedCredentials, str]:
        return assume(
            self.refresher.aws(self.name, request),
            signer,
            params,
            code=code,
            chained=signer.session_token is not None,
            accepted_seconds=self.sources.accepted.get(self.name),
            on_shorter=lambda seconds: self.sources.record_accepted_duration(self.name, seconds),
        )

    def _assume_with_mfa_session(
        self, device: MfaDevice, request: SessionRequest
    ) -> tuple[IssuedCredentials, str] | None:
        """Assume the role with the MFA session of its user, so that one code serves all roles of that user.

        Return None if AssumeRole needs the code itself: for a duration above the one hour of role chaining
        (IAM User Guide), or if no MFA session can be obtained.
        """
        sources, params, clock = self.sources, self.params, self.sources.clock
        without_code = replace(params, mfa_serial=None)
        seconds = sources.accepted.get(self.name) or params.duration_seconds or ROLE_DEFAULT
        exceeds_chained_limit = seconds > CHAINED_MAX
        stored = None if request.code else sources.devices.get(device)
        if stored is not None and not (exceeds_chained_limit and self._is_valid()):
            try:
                return self._assume(without_code, stored.issued.credentials, request, None)
            except AwsRefused as error:
                # AWS may deny it because the MFA session is too old for this role; a new code decides.
                too_old = error.code == "AccessDenied" and clock() - stored.obtained > RECENT_CODE
                if not too_old and error.code not in _EXPIRED_SESSION_ERRORS:
                    raise
        has_code = self._has_code(device.serial, request)
        if exceeds_chained_limit or not has_code or sources.codes.refuses_session_tokens(device.serial):
            return None
        session = self._new_mfa_session(device, request)
        return self._assume(without_code, session.issued.credentials, request, None)

    def _new_mfa_session(self, device: MfaDevice, request: SessionRequest) -> FetchedSession:
        """Get a new session of the device's user and store it for all roles of that user.

        :raises NeedsMfa: if AWS gives that user none; the next code goes to the role itself.
        """
        sources, profile, clock = self.sources, self.params.profile, self.sources.clock
        started = clock()
        source = sources.definitions.get(self._source())

        def call(code: str | None) -> IssuedCredentials:
            return self.refresher.aws(self.name, request).get_session_token(
                device.key,
                duration_seconds=for_session_token(source.duration_seconds if source else None),
                mfa_serial=device.serial,
                mfa_code=require_code(profile, device.serial, code),
            )

        with self.refresher.lock(f"\0{device.key.access_key_id}\0{device.serial}", request):
            stored = sources.devices.get(device)
            if stored is not None and stored.obtained > started:
                return stored
            requested_at = clock()
            try:
                issued = self.refresher.with_code(profile, device.serial, request, call)
            except WrongMfaCode:
                raise
            except AwsRefused as error:
                if error.code != "AccessDenied":
                    raise
                sources.codes.record_session_token_refusal(device.serial)
                why = f"AWS denied its user a session with MFA ({error.why}) and used up the code"
                hint = ("Wait for the next code, then ", THEN_RUN, Remedy("refresh", profile))
                raise NeedsMfa(
                    f"Could not refresh {profile}", why, hint, profile=profile, serial=device.serial
                ) from None
            session = FetchedSession(issued, requested_at, clock(), "")
            sources.devices.put(device, session)
            return session

    def _is_valid(self) -> bool:
        """Return True if there is a session that a shorter one must not replace."""
        cached = self.refresher.cached(self.name)
        return cached is not None and session_state(cached.facts(), self.sources.clock()) is not State.EXPIRED

    def _source(self) -> str:
        """Return the profile that signs for the role."""
        definition, native = self.sources.definitions.get(self.name), self.sources.natives.get(self.name)
        if definition is not None:
            source = definition.source_profile or (self.name if definition.key else None)
        else:
            source = native.chain[0] if native and native.chain else None
        if source is None:
            raise ProfileBroken(
                f"Profile {self.name} is invalid", "it has no source profile", "Add source_profile"
            )
        return source

    def _source_key(self) -> Credentials | None:
        """Return the static credentials of the profile that signs for the role, or None if it has a session
        instead.
        """
        source = self._source()
        definition = self.sources.definitions.get(source)
        if definition is not None:
            return self.sources.key(definition.key) if definition.key else None
        return self.sources.plain_key(source)
