"""A new session for a profile: its chain of sources walked from the first hop that is due.

Every source is locked across processes while AWS is asked for it, and looked at again once the lock is held, so that
many callers cause one call. No vault and no file is locked meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol, TypeVar

from keyturn.aws.api import Aws, AwsFactory, IssuedCredentials
from keyturn.aws.deadline import OWN_SECONDS, Deadline
from keyturn.model.errors import (
    AwsError,
    AwsRefused,
    FileChanged,
    KeyturnError,
    NeedsMfa,
    NoResponse,
    NotFound,
    ProfileBroken,
    WrongMfaCode,
)
from keyturn.model.profile import Credentials, Kind, Profile, State, session_state
from keyturn.providers import assume_role, session_token
from keyturn.providers.cached_session import FetchedSession, MfaDevice, MfaSessionStore, SessionStore
from keyturn.providers.mfa_codes import require_code
from keyturn.providers.sts_limits import CHAINED_LONGEST, ROLE_DEFAULT, for_session_token
from keyturn.storage.managed_profiles import ManagedProfile, ManagedProfiles
from keyturn.system.clock import Clock

#: botocore refuses a chain that returns to itself; this bounds one that merely is absurd.
DEEPEST = 32
Answer = TypeVar("Answer")

#: A role that is denied so soon after a code was given is not denied for the age of the code.
RECENT = timedelta(minutes=10)
_EXPIRED_SESSION_ERRORS = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"})


class MfaCodeSource(Protocol):
    """Where MFA codes come from if no person types them, and what became of them."""

    def has_command(self, profile: str, serial: str) -> bool: ...

    def code(self, profile: str, serial: str, deadline: Deadline) -> str: ...

    def used(self, serial: str) -> None: ...

    def refused(self, profile: str, serial: str) -> None: ...

    def accepted(self, serial: str) -> None: ...

    def refuses_session_tokens(self, serial: str) -> bool: ...

    def record_session_token_refusal(self, serial: str) -> None: ...


@dataclass(frozen=True)
class Refresher:
    """Asks AWS for sessions, with what is at hand at one moment.

    :param key: the long-term key of a vault entry; raises `NeedsUnlock` where the vault is closed.
    :param plain_key: the static credentials that a native profile holds in the shared files, None if AWS tools would
        take its credentials from elsewhere.
    :param settings: all settings of a native profile.
    :param lock: an exclusive lock across processes, by name and the seconds to wait for it at most.
    :param accepted: the duration that AWS accepts for a profile, where it refused a longer one.
    :param remember: notes such a duration.
    :param asker_source: the credential source that a profile's chain ends in, None where a profile's own key or sign-in
        is the end. Sessions that rest on one are made anew each time and kept nowhere: the next to ask may be in another
        environment, and must not get this one's identity.
    """

    definitions: ManagedProfiles
    natives: Mapping[str, Profile]
    hops: Callable[[str], assume_role.AssumeRoleParams | None]
    key: Callable[[str], Credentials]
    plain_key: Callable[[str], Credentials | None]
    settings: Callable[[str], Mapping[str, object]]
    sessions: SessionStore
    aws: AwsFactory
    clock: Clock
    lock: Callable[[str, float], AbstractContextManager[None]]
    accepted: Mapping[str, int]
    record_accepted_duration: Callable[[str, int], None]
    caller_credential_source: Callable[[str], str | None]
    devices: MfaSessionStore
    codes: MfaCodeSource

    def fetch(self, name: str, code: str | None = None, *, only_if_due: bool = False) -> FetchedSession:
        """A new session for `name`.

        :param code: an MFA code, used at the first hop that asks for one, once.
        :param only_if_due: give what is cached while it is fresh.
        :raises NeedsMfa: a hop needs a code and none is left.
        """
        began = self.clock()
        asking = _RefreshAttempt(code, is_on_demand=only_if_due)
        with self._alone(name, asking):
            cached = self.cached(name)
            if cached is not None and self._is_fresh(cached) and (only_if_due or cached.obtained > began):
                return replace(cached, asked_aws=False)
            return self._asked(name, asking, (name,))

    @contextmanager
    def _alone(self, name: str, asking: _RefreshAttempt) -> Iterator[None]:
        """Holds the lock of a source. Waiting for it is not AWS's fault, and leaves the call its own time."""
        began = time.monotonic()
        with self.lock(source_lock(name), asking.deadline.left(OWN_SECONDS)):
            asking.deadline.add_time(time.monotonic() - began, "waiting for another refresh")
            yield

    def cached(self, name: str) -> FetchedSession | None:
        """The cached session of a profile, expired or not, if it was made from what the profile still is."""
        if self.caller_credential_source(name):
            return None
        found = self.sessions.get(name)
        return found if found is not None and found.source_fingerprint == self.fingerprint(name) else None

    def fingerprint(self, name: str, path: tuple[str, ...] = ()) -> str:
        """A digest of what a session of `name` is made from: the key, each role on the way and how it is assumed."""
        if name in path or len(path) > DEEPEST:
            return "endless"
        definition = self.definitions.get(name)
        params = self.hops(name)
        parts: list[object]
        if definition is not None and definition.kind is Kind.IAM_KEY:
            parts = ["user", self.key(definition.key or name).access_key_id, definition.mfa_serial]
        elif params is not None:
            parts = [*params.parts(), None if params.credential_source else self._below(name, path)]
        else:
            parts = ["native", sorted((key, str(value)) for key, value in self.settings(name).items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _below(self, name: str, path: tuple[str, ...]) -> str:
        """What the signer of a role is: the key's id, or the digest of the session that signs."""
        signer = self._key_of_source(name)
        return signer.access_key_id if signer else self.fingerprint(self._source_of(name), (*path, name))

    def _is_fresh(self, one: FetchedSession) -> bool:
        return session_state(one.facts(), self.clock()) is State.FRESH

    def _asked(self, name: str, asking: _RefreshAttempt, path: tuple[str, ...]) -> FetchedSession:
        """Asks for a session and keeps it, unless its end is unknown: what may end at any time is not cached."""
        made_from = self.fingerprint(name)
        at = self.clock()
        issued, note = self._ask(name, asking, path)
        fetched = FetchedSession(issued, at, self.clock(), made_from, note)
        if issued.credentials.expires is not None and issued.credentials.expires <= fetched.obtained:
            why = f"what was given for it ended at {issued.credentials.expires:%d %b %H:%M:%S} UTC already"
            raise AwsError(f"session of {name}", why, "Look at this machine's clock, then try again")
        if issued.credentials.expires is not None and not self.caller_credential_source(name):
            try:
                self.sessions.put(name, fetched)
            except FileChanged:
                raise
            except (KeyturnError, OSError) as error:
                return replace(fetched, not_stored=error)
        return fetched

    def _ask(
        self, name: str, asking: _RefreshAttempt, path: tuple[str, ...]
    ) -> tuple[IssuedCredentials, str]:
        definition = self.definitions.get(name)
        if definition is not None and definition.kind is Kind.IAM_KEY:
            return self._user_session(definition, asking), ""
        params = self.hops(name)
        if params is not None:
            return self._role_session(name, params, asking, path)
        native = self.natives.get(name)
        if native is None:
            raise NotFound(f"profile {name}", "there is none by that name", "Run: keyturn list")
        if native.problem:
            raise ProfileBroken(f"profile {name}", native.problem, "Correct it in the shared files")
        if native.kind is Kind.UNKNOWN:
            raise ProfileBroken(
                f"profile {name}", "it defines no credentials of its own", "Give it some first"
            )
        return IssuedCredentials(self._aws(name, asking).native_credentials(name)), ""

    def _user_session(self, definition: ManagedProfile, asking: _RefreshAttempt) -> IssuedCredentials:
        key = self.key(definition.key or definition.name)

        def act(code: str | None) -> IssuedCredentials:
            return session_token.issue(self._aws(definition.name, asking), key, definition, code)

        if definition.mfa_serial is None:
            return act(None)
        device = MfaDevice(key, definition.mfa_serial)
        held = self.devices.get(device) if asking.is_on_demand and not asking.has_code else None
        if held is not None and self._is_fresh(held):
            return held.issued
        at = self.clock()
        issued = self._with_code(definition.name, definition.mfa_serial, asking, act)
        self.devices.put(device, FetchedSession(issued, at, self.clock(), ""))
        return issued

    def _with_code(
        self, profile: str, serial: str | None, asking: _RefreshAttempt, act: Callable[[str | None], Answer]
    ) -> Answer:
        """Does `act` with a code of the device, if one is asked for, and notes what AWS made of it."""
        if serial is None:
            return act(None)
        code = asking.take()
        if code is not None:
            self.codes.used(serial)
        elif self.codes.has_command(profile, serial):
            code = self.codes.code(profile, serial, asking.deadline)
        try:
            done = act(code)
        except WrongMfaCode:
            self.codes.refused(profile, serial)
            raise
        except NoResponse as error:
            why = f"{error.what}: {error.why}; the code may be used up"
            hint = f"Wait for the next code, then run: keyturn refresh {profile}"
            raise NeedsMfa(f"session for {profile}", why, hint, profile=profile, serial=serial) from None
        self.codes.accepted(serial)
        return done

    def _role_session(
        self, name: str, params: assume_role.AssumeRoleParams, asking: _RefreshAttempt, path: tuple[str, ...]
    ) -> tuple[IssuedCredentials, str]:
        assume_role.check(params)
        key = None if params.credential_source else self._key_of_source(name)
        if params.mfa_serial and key is not None and key.session_token is None:
            assumed = self._assumed_by_device(name, params, MfaDevice(key, params.mfa_serial), asking)
            if assumed is not None:
                return assumed.issued, assumed.note
        if (
            params.mfa_serial
            and not asking.has_code
            and not self.codes.has_command(params.profile, params.mfa_serial)
        ):
            require_code(params.profile, params.mfa_serial, None)
        if params.credential_source:
            signer = self._aws(name, asking).source_credentials(name, params.credential_source)
        else:
            signer = key or self._session_of_source(name, asking, path)

        def act(code: str | None) -> assume_role.Assumed:
            return self._assumed(name, params, signer, asking, code)

        assumed = self._with_code(params.profile, params.mfa_serial, asking, act)
        return assumed.issued, assumed.note

    def _assumed(
        self,
        name: str,
        params: assume_role.AssumeRoleParams,
        signer: Credentials,
        asking: _RefreshAttempt,
        code: str | None,
    ) -> assume_role.Assumed:
        return assume_role.assume(
            self._aws(name, asking),
            signer,
            params,
            code=code,
            chained=signer.session_token is not None,
            accepted_seconds=self.accepted.get(name),
            on_shorter=lambda seconds: self.record_accepted_duration(name, seconds),
        )

    def _assumed_by_device(
        self, name: str, params: assume_role.AssumeRoleParams, device: MfaDevice, asking: _RefreshAttempt
    ) -> assume_role.Assumed | None:
        """A role assumed with the MFA session of its user, so that one code serves all roles behind that.

        None where a code must go to AssumeRole itself: for more than the hour that AWS gives from a session (aws-facts 4),
        or where none is held and none is to be had.
        """
        by_session = replace(params, mfa_serial=None)
        wants_more = (self.accepted.get(name) or params.duration_seconds or ROLE_DEFAULT) > CHAINED_LONGEST
        held = None if asking.has_code else self.devices.get(device)
        if held is not None and not (wants_more and self._is_valid(name)):
            try:
                return self._assumed(name, by_session, held.issued.credentials, asking, None)
            except AwsRefused as error:
                # It may be denied because the code is too old for this role: a new one tells.
                too_old = error.code == "AccessDenied" and self.clock() - held.obtained > RECENT
                if not too_old and error.code not in _EXPIRED_SESSION_ERRORS:
                    raise
        has_code = asking.has_code or self.codes.has_command(params.profile, device.serial)
        if wants_more or not has_code or self.codes.refuses_session_tokens(device.serial):
            return None
        made = self._device_session(name, params.profile, device, asking)
        return self._assumed(name, by_session, made.issued.credentials, asking, None)

    def _device_session(
        self, name: str, asker: str, device: MfaDevice, asking: _RefreshAttempt
    ) -> FetchedSession:
        """A new session of the device's user, kept for all roles behind it.

        :raises NeedsMfa: AWS gives that user none; the next code goes to the role itself.
        """
        began = self.clock()
        source = self.definitions.get(self._source_of(name))
        seconds = for_session_token(source.duration_seconds if source else None)

        def act(code: str | None) -> IssuedCredentials:
            return self._aws(name, asking).get_session_token(
                device.key,
                duration_seconds=seconds,
                mfa_serial=device.serial,
                mfa_code=require_code(asker, device.serial, code),
            )

        with self._alone(f"\0{device.key.access_key_id}\0{device.serial}", asking):
            held = self.devices.get(device)
            if held is not None and held.obtained > began:
                return held
            at = self.clock()
            try:
                issued = self._with_code(asker, device.serial, asking, act)
            except WrongMfaCode:
                raise
            except AwsRefused as error:
                if error.code != "AccessDenied":
                    raise
                self.codes.record_session_token_refusal(device.serial)
                why = f"AWS gives its user no session for a code ({error.why}), and took the code"
                hint = f"Wait for the next code, then run: keyturn refresh {asker}"
                raise NeedsMfa(
                    f"session for {asker}", why, hint, profile=asker, serial=device.serial
                ) from None
            made = FetchedSession(issued, at, self.clock(), "")
            self.devices.put(device, made)
            return made

    def _is_valid(self, name: str) -> bool:
        """Whether there is a session yet that a shorter one must not take the place of."""
        cached = self.cached(name)
        return cached is not None and session_state(cached.facts(), self.clock()) is not State.EXPIRED

    def _source_of(self, name: str) -> str:
        """The profile that signs for a role."""
        definition, native = self.definitions.get(name), self.natives.get(name)
        if definition is not None:
            source = definition.source_profile or (name if definition.key else None)
        else:
            source = native.chain[0] if native and native.chain else None
        if source is None:
            raise ProfileBroken(f"profile {name}", "it names no source profile", "Add source_profile")
        return source

    def _key_of_source(self, name: str) -> Credentials | None:
        """The static credentials of the profile that signs for a role, None where that has a session instead."""
        source = self._source_of(name)
        definition = self.definitions.get(source)
        if definition is not None:
            return self.key(definition.key) if definition.key else None
        return self.plain_key(source)

    def _session_of_source(self, name: str, asking: _RefreshAttempt, path: tuple[str, ...]) -> Credentials:
        source = self._source_of(name)
        if source in path or len(path) > DEEPEST:
            raise ProfileBroken(
                f"profile {path[0]}", f"its chain of sources returns to {source}", "Correct it"
            )
        with self._alone(source, asking):
            cached = self.cached(source)
            if cached is not None and self._is_fresh(cached):
                return cached.issued.credentials
            return self._asked(source, asking, (*path, source)).issued.credentials

    def _aws(self, name: str, asking: _RefreshAttempt) -> Aws:
        native = self.natives.get(name)
        return self.aws(name, native.region if native else None, deadline=asking.deadline)


class _RefreshAttempt:
    """One act of asking: its end, and the MFA code that it was given, which can be taken once, since AWS takes it once."""

    def __init__(self, code: str | None, *, is_on_demand: bool) -> None:
        self._code = code
        self.is_on_demand = is_on_demand
        self.deadline = Deadline()

    @property
    def has_code(self) -> bool:
        return self._code is not None

    def take(self) -> str | None:
        code, self._code = self._code, None
        return code


def source_lock(name: str) -> str:
    """The name of the lock that one profile's session is fetched under."""
    return "source-" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
