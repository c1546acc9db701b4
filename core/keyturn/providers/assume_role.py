"""AssumeRole: sessions of a role, signed by a source profile or by the caller's own credentials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Self

from keyturn.aws.api import Aws, IssuedCredentials, RoleRequest
from keyturn.aws.errors import (
    ENDED_SESSION_CODES,
    EXPIRED_SESSION_CODES,
    SESSION_REFUSAL_CODES,
    is_session_refusal,
)
from keyturn.model.errors import RUN, THEN_RUN, AwsRefused, NeedsMfa, ProfileBroken, Remedy, WrongMfaCode
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
from keyturn.providers.role_params import (
    AssumeRoleParams,
    check,
    managed_role_params,
    native_role_params,
    session_name,
)
from keyturn.providers.sts_limits import CHAINED_MAX, ROLE_DEFAULT, for_role, for_session_token, shows_codes
from keyturn.storage.managed_profiles import ManagedProfile

#: A role denied within this time after a code was accepted is not denied because of the code's age.
RECENT_CODE = timedelta(minutes=10)
_DENIED = frozenset({"AccessDenied"})
#: Longest time from a request to the expiry of a session of role chaining, with a slow response.
_CHAINED_SESSION = timedelta(seconds=CHAINED_MAX, minutes=5)


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


@dataclass(frozen=True)
class AssumeRoleProvider(CredentialProvider):
    """Sessions of the role that a profile names, managed or native."""

    kind = Kind.ROLE
    plural = "roles"
    settings = MappingProxyType({**sts_limits.ROLE_SETTINGS, "timeout": process.timeout})

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
        if not definition.mfa_serial and not definition.source_profile:
            return False
        state = known()
        if state.has_code_command or not (definition.mfa_serial or state.is_key_denied):
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
        if key is not None and key.session_token is None:
            return self._assume_with_key(key, request)
        self._require_code(params.mfa_serial, request)
        if source:
            signer = self.refresher.aws(self.name, request).source_credentials(self.name, source)
        elif key is not None:
            signer = key
        else:
            return self._assume_as_source(request)
        return self.refresher.with_code(
            self.name, params.mfa_serial, request, lambda code: self._assume(params, signer, request, code)
        )

    def _assume_as_source(self, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """Assume the role with the session of its source profile."""
        params = self.params
        session = self.refresher.source_session(self._source(), request)
        # A denied call has used up its code, so it cannot be repeated.
        refusals = ENDED_SESSION_CODES if params.mfa_serial else SESSION_REFUSAL_CODES

        def call(code: str | None) -> tuple[IssuedCredentials, str]:
            return self.refresher.call_as_source(
                session,
                request,
                lambda signer: self._assume(params, signer, request, code),
                refusals=refusals,
            )

        return self.refresher.with_code(self.name, params.mfa_serial, request, call)

    def _assume_with_key(self, key: Credentials, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """Assume the role with the long-term key of a user, or with an MFA session of that user.

        A role without `mfa_serial` may require MFA nevertheless, which only AWS knows. It is assumed with the
        MFA session of its source profile while there is one, as the AWS CLI does with what the
        `credential_process` of that profile delivers.
        """
        serial = self.params.mfa_serial or self._source_serial()
        if serial is None:
            return self._assume(self.params, key, request, None)
        device = MfaDevice(key, serial)
        if self.params.mfa_serial is None:
            return self._assume_with_optional_mfa(device, request)
        if not request.code:
            assumed = self._assume_with_stored_session(device, request)
            if assumed is not None:
                return assumed
        return self._assume_with_code(device, request)

    def _assume_with_stored_session(
        self, device: MfaDevice, request: SessionRequest
    ) -> tuple[IssuedCredentials, str] | None:
        """Assume the role with the stored MFA session of its user, so that one code serves all roles of that
        user. Return None if AssumeRole needs a new code.
        """
        stored = self._usable_session(device)
        if stored is None:
            return None
        try:
            return self._assume_with_session(stored, request)
        except AwsRefused as error:
            if error.code in EXPIRED_SESSION_CODES:
                self.sources.devices.drop(stored)
            # AWS may deny it because the MFA session is too old for this role; a new code decides.
            if error.code in ENDED_SESSION_CODES or self._is_too_old(error, stored):
                return None
            raise self._with_code_hint(error) from None

    def _assume_with_optional_mfa(
        self, device: MfaDevice, request: SessionRequest
    ) -> tuple[IssuedCredentials, str]:
        """Assume a role without `mfa_serial`: with a typed code, else with the stored MFA session of its user
        or with the key itself, else with a code of `mfa_command`.

        :raises NeedsMfa: if AWS denied it and a typed code may help.
        """
        if request.code:
            return self._assume_with_code(device, request)
        has_command = self.sources.codes.has_command(self._code_profile, device.serial)
        stored, key_id = self._usable_session(device), device.key.access_key_id
        by_key: AwsRefused | None = None
        by_session: AwsRefused | None = None
        assumed = None
        for signer in self._signers(device, stored, has_command=has_command):
            try:
                assumed = self._assume(self.params, signer, request, None)
                break
            except AwsRefused as error:
                is_key = signer.access_key_id == key_id
                if error.code not in (_DENIED if is_key else SESSION_REFUSAL_CODES):
                    raise
                by_key, by_session = (error, by_session) if is_key else (by_key, error)
        if stored and by_session and _is_ended(by_session, is_key_known=bool(by_key or assumed)):
            self.sources.devices.drop(stored)
        if assumed is not None:
            if by_key or stored is None or by_session:
                self._record_denied_signer(key_id if by_key else None)
            return assumed
        if stored and by_session and by_session.code in _DENIED and not self._is_too_old(by_session, stored):
            self._record_denied_signer(None)
            raise self._with_code_hint(by_session)
        self._record_denied_signer(key_id)
        if has_command:
            return self._assume_with_code(device, request)
        raise self._needs_code(device.serial, by_key or by_session)

    def _signers(
        self, device: MfaDevice, stored: FetchedSession | None, *, has_command: bool
    ) -> tuple[Credentials, ...]:
        """Return what signs for a role without `mfa_serial`, in order: the stored MFA session and the key.

        The key comes first if the session would make a shorter one. It is left out if AWS denied the role to
        it before and there is another way.
        """
        is_key_denied = self.sources.denied_signers.get(self.name) == device.key.access_key_id
        if stored is None:
            return () if is_key_denied and has_command else (device.key,)
        session = stored.issued.credentials
        if is_key_denied:
            return (session,)
        return (device.key, session) if self._exceeds_chained_limit else (session, device.key)

    def _usable_session(self, device: MfaDevice) -> FetchedSession | None:
        """Return the stored MFA session of the user, unless the hour that AWS allows with it would replace a
        longer session that is valid.
        """
        stored = self.sources.devices.get(device)
        return (
            None
            if stored is not None and self._exceeds_chained_limit and self._has_longer_session()
            else stored
        )

    def _assume_with_session(
        self, session: FetchedSession, request: SessionRequest
    ) -> tuple[IssuedCredentials, str]:
        params = replace(self.params, mfa_serial=None)
        return self._assume(params, session.issued.credentials, request, None)

    def _assume_with_code(self, device: MfaDevice, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """Assume the role with a code: with a new MFA session of its user, or with the key and the code
        themselves for a duration above the one hour of role chaining (IAM User Guide), or if no MFA session
        can be obtained.
        """
        serial, codes = device.serial, self.sources.codes
        try:
            if (
                self._exceeds_chained_limit
                or not self._has_code(serial, request)
                or codes.refuses_session_tokens(serial)
            ):
                self._require_code(serial, request)
                params = replace(self.params, mfa_serial=serial)
                return self.refresher.with_code(
                    self._code_profile,
                    serial,
                    request,
                    lambda code: self._assume(params, device.key, request, code),
                )
            return self._assume_with_session(self._new_mfa_session(device, request), request)
        except AwsRefused as error:
            if self.params.mfa_serial is None and is_session_refusal(error):
                # MFA is not what is missing.
                self._record_denied_signer(None)
            raise

    def _record_denied_signer(self, key_id: str | None) -> None:
        self.sources.record_denied_signer(self.name, key_id)

    def _is_too_old(self, error: AwsRefused, session: FetchedSession) -> bool:
        """Return True if AWS may have denied the role because the code of the session is too old for it."""
        return error.code in _DENIED and self.sources.clock() - session.obtained > RECENT_CODE

    def _needs_code(self, serial: str, refusal: AwsRefused | None) -> NeedsMfa:
        """Return the error for a role that AWS denied and that may require MFA."""
        return NeedsMfa(
            f"Could not refresh {self.name}",
            f"{refusal.why}; the role may require MFA" if refusal else "the role requires MFA",
            (RUN, self._code_remedy()),
            profile=self.name,
            serial=serial,
        )

    def _with_code_hint(self, error: AwsRefused) -> AwsRefused:
        if error.code in _DENIED:
            error.add_hint("If its MFA session was revoked, ", THEN_RUN, self._code_remedy())
        return error

    def _code_remedy(self) -> Remedy:
        """Return the command that gets a new MFA session for the role: of its source profile, so that the
        code serves all its roles, unless the code must go to the role itself.
        """
        definition = self.sources.definitions.get(self._source())
        is_for_source = (
            definition is not None
            and definition.kind == Kind.IAM_KEY
            and definition.mfa_serial == (self.params.mfa_serial or definition.mfa_serial)
            and not (self._exceeds_chained_limit and self._has_longer_session())
        )
        return Remedy("refresh", self._source() if is_for_source else self.name, "--mfa-code CODE")

    @property
    def _code_profile(self) -> str:
        """The profile whose `mfa_command` shows the codes: the one that names the device."""
        is_own = self.params.mfa_serial or self._source() not in self.sources.definitions
        return self.name if is_own else self._source()

    @property
    def _exceeds_chained_limit(self) -> bool:
        """True if the role's session shall last longer than an MFA session or role chaining allows."""
        seconds = self.sources.accepted.get(self.name) or self.params.duration_seconds or ROLE_DEFAULT
        return seconds > CHAINED_MAX

    def _has_code(self, serial: str, request: SessionRequest) -> bool:
        return bool(request.code) or self.sources.codes.has_command(self._code_profile, serial)

    def _require_code(self, serial: str | None, request: SessionRequest) -> None:
        """Check that a code is available, if a device is given.

        :raises NeedsMfa: if there is none.
        """
        if serial and not self._has_code(serial, request):
            require_code(self.name, serial, None)

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

    def _new_mfa_session(self, device: MfaDevice, request: SessionRequest) -> FetchedSession:
        """Get a new session of the device's user and store it for all roles of that user.

        :raises NeedsMfa: if AWS gives that user none; the next code goes to the role itself.
        """
        sources, profile, clock = self.sources, self.name, self.sources.clock
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
                issued = self.refresher.with_code(self._code_profile, device.serial, request, call)
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

    def _has_longer_session(self) -> bool:
        """Return True if there is a session that one of the hour of role chaining must not replace: it is
        valid, and was made for more than that.
        """
        cached = self.refresher.cached(self.name)
        if cached is None or session_state(cached.facts(), self.sources.clock()) is State.EXPIRED:
            return False
        expires = cached.issued.credentials.expires
        return expires is None or expires - cached.requested_at > _CHAINED_SESSION

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

    def _source_serial(self) -> str | None:
        """Return the MFA device of the user who signs for the role, or None if the profile of that user names
        none that shows codes.
        """
        source = self._source()
        definition = self.sources.definitions.get(source)
        if definition is not None:
            serial: object = definition.mfa_serial if definition.kind == Kind.IAM_KEY else None
        else:
            serial = self.sources.settings(source).get("mfa_serial")
        return serial if isinstance(serial, str) and serial and shows_codes(serial) else None

    def _source_key(self) -> Credentials | None:
        """Return the static credentials of the profile that signs for the role, or None if it has a session
        instead.
        """
        source = self._source()
        definition = self.sources.definitions.get(source)
        if definition is not None:
            return self.sources.key(definition.key) if definition.key else None
        return self.sources.plain_key(source)


def _is_ended(refusal: AwsRefused, *, is_key_known: bool) -> bool:
    """Return True if AWS has ended the session that it refused. `InvalidClientTokenId` may also mean that the
    region is not enabled, unless AWS knows the key of the same user there.
    """
    return refusal.code in EXPIRED_SESSION_CODES or (refusal.code in ENDED_SESSION_CODES and is_key_known)
