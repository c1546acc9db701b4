"""Refresh of a profile's session: lock, check the cache again, call the provider, store. Independent of the
kind of profile.

A source is locked across processes while AWS is called for it, and its cache is checked again under the lock,
so that many callers cause one call. No vault lock and no file lock is held during the call.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from keyturn.aws.api import Aws
from keyturn.aws.deadline import EXTENDED_SECONDS, MAX_SECONDS
from keyturn.aws.errors import ENDED_SESSION_CODES, EXPIRED_SESSION_CODES, is_session_refusal
from keyturn.model.chain import MAX_CHAIN, cycle_problem
from keyturn.model.errors import (
    RUN,
    THEN_RUN,
    AwsError,
    AwsRefused,
    FileChanged,
    KeyturnError,
    NeedsInteraction,
    NeedsMfa,
    NoResponse,
    ProfileBroken,
    Remedy,
    Unreachable,
    WrongMfaCode,
)
from keyturn.model.profile import Credentials, State, session_state
from keyturn.providers import process, registry
from keyturn.providers.base import (
    CredentialProvider,
    FetchedSession,
    OneTimeCode,
    SessionRequest,
    SessionStore,
    Sources,
    SourceSession,
)
from keyturn.system import running_call

T = TypeVar("T")


@dataclass(frozen=True)
class Refresher:
    """Gets sessions of profiles, for one inventory.

    :param store: the session cache.
    :param source_lock: returns an exclusive lock across processes, by name and maximum wait in seconds.
    """

    sources: Sources
    store: SessionStore
    source_lock: Callable[[str, float], AbstractContextManager[None]]

    def fetch(self, name: str, code: str | None = None, *, only_if_due: bool = False) -> FetchedSession:
        """Return a new session of a profile.

        :param code: an MFA code, used once, for the first source that requires one.
        :param only_if_due: return the cached session if it is fresh.
        :raises NeedsMfa: if a source requires a code and none is left.
        """
        started = self.sources.clock()
        request = SessionRequest(OneTimeCode(code), (name,), is_on_demand=only_if_due)
        with self.lock(name, request):
            cached = self.cached(name)
            if cached is not None and self._is_fresh(cached) and (only_if_due or cached.obtained > started):
                return replace(cached, asked_aws=False)
            return self._retrieve(name, request)

    @contextmanager
    def lock(self, name: str, request: SessionRequest) -> Iterator[None]:
        """Hold the lock of a source. The wait for it does not count against the time limit of the AWS
        calls. It is longer by the limit of a program that another process may wait for under this lock.
        """
        started, patience = time.monotonic(), request.deadline.left(EXTENDED_SECONDS)
        program_seconds = self._program_seconds(name, request)
        if program_seconds:
            running_call.current().allow(patience + 2 * program_seconds + MAX_SECONDS)
        with self.source_lock(source_lock_name(name), patience + program_seconds):
            waited = time.monotonic() - started
            if program_seconds:
                request.deadline.exclude(waited)
            else:
                request.deadline.add_time(waited, "waiting for another refresh")
            yield

    def _program_seconds(self, name: str, request: SessionRequest) -> int:
        """Return the time limit of the program that gives the credentials of a source; 0 if none does."""
        definitions = self.sources.definitions
        path = process.path_to_program(definitions, self.sources.natives, name)
        before = tuple(each for each in request.path if each not in path)
        return process.seconds_for(definitions, (*before, *path)) if path else 0

    def cached(self, name: str) -> FetchedSession | None:
        """Return the cached session of a profile, expired or not, if its fingerprint still matches."""
        if self.sources.caller_credential_source(name):
            return None
        session = self.store.get(name)
        return (
            session if session is not None and session.source_fingerprint == self.fingerprint(name) else None
        )

    def fingerprint(self, name: str, path: tuple[str, ...] = ()) -> str:
        """Return a digest of everything that a session of a profile depends on: its key, each role and source
        of its chain, and the endpoints and CA bundles by which AWS is reached.

        :param path: the profiles before this one in the chain.
        """
        if name in path or len(path) > MAX_CHAIN:
            return "endless"
        parts = self._provider(name).fingerprint((*path, name))
        if self.sources.host_fingerprint:
            parts = [*parts, self.sources.host_fingerprint]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def source_session(self, source: str, request: SessionRequest) -> SourceSession:
        """Return a session of a profile that signs for another one, refreshed if it is due.

        :raises ProfileBroken: if the chain of sources returns to itself or is too long.
        """
        if source in request.path or len(request.path) > MAX_CHAIN:
            why = (
                cycle_problem(source)
                if source in request.path
                else f"its chain has more than {MAX_CHAIN} source profiles"
            )
            raise ProfileBroken(f"Profile {request.path[0]} is invalid", why, "Correct source_profile")
        with self.lock(source, request):
            cached = self.cached(source)
            fetched = (
                replace(cached, asked_aws=False)
                if cached is not None and self._is_fresh(cached)
                else self._retrieve_source(source, request)
            )
        return SourceSession(request.path[-1], source, fetched)

    def call_as_source(
        self,
        session: SourceSession,
        request: SessionRequest,
        call: Callable[[Credentials], T],
        *,
        refusals: Collection[str],
    ) -> T:
        """Make a call signed with a session of a source profile. If that came from the cache and AWS refuses
        it, make the call once more, signed with a new session.

        AWS ends sessions before they expire: a policy denies those issued before a time, or their role was
        created anew. A denial may as well be a missing permission. So the session for which a new one was
        refused too is remembered, and no further session is requested because of it.

        :param refusals: the error codes after which the call may be repeated.
        """
        fetched, role = session.fetched, session.role
        try:
            result = call(fetched.issued.credentials)
        except AwsRefused as error:
            if not is_session_refusal(error):
                raise
            key_id = fetched.issued.credentials.access_key_id
            was_refused_before = self.sources.denied_signers.get(role) == key_id
            if fetched.asked_aws or error.code not in refusals or was_refused_before:
                raise _with_source(error, session, request) from None
            try:
                renewed = self._renewed_source_session(session, request, error)
            except NeedsInteraction:
                if error.code in ENDED_SESSION_CODES:
                    raise
                # A code or sign-in would be in vain if a permission is missing.
                raise _with_source(error, session, request) from None
        else:
            if role in self.sources.denied_signers:
                self.sources.record_denied_signer(role, None)
            return result
        try:
            result = call(renewed.issued.credentials)
        except AwsRefused as error:
            if not is_session_refusal(error):
                raise
            self.sources.record_denied_signer(role, renewed.issued.credentials.access_key_id)
            raise _with_source(error, session, request) from None
        if role in self.sources.denied_signers:
            self.sources.record_denied_signer(role, None)
        return result

    def _renewed_source_session(
        self, session: SourceSession, request: SessionRequest, refusal: AwsRefused
    ) -> FetchedSession:
        """Return a session in place of one that AWS refused: the one that another process has stored
        meanwhile, else a new one. If there is none, one that AWS has ended is deleted.
        """
        refused = session.fetched
        with self.lock(session.source, request):
            cached = self.cached(session.source)
            if cached is not None and self._is_fresh(cached) and not _is_same(cached, refused):
                return cached
            try:
                return self._retrieve_source(session.source, request)
            except Unreachable:
                raise
            except KeyturnError:
                if refusal.code in ENDED_SESSION_CODES:
                    self.store.drop(refused)
                raise

    def _retrieve_source(self, source: str, request: SessionRequest) -> FetchedSession:
        """Get a session of a source profile. An error of AWS names the profile, unless it names one further
        down the chain.
        """
        try:
            return self._retrieve(source, request.of_source(source))
        except AwsError as error:
            if not error.source and not error.what.endswith(f" {source}"):
                error.what = f"{error.what} of {source}"
            error.source = error.source or source
            raise

    def aws(self, name: str, request: SessionRequest) -> Aws:
        """Return the AWS client for a profile, with the time limit of the request."""
        native = self.sources.natives.get(name)
        return self.sources.factory(name, native.region if native else None, deadline=request.deadline)

    def with_code(
        self, profile: str, serial: str | None, request: SessionRequest, call: Callable[[str | None], T]
    ) -> T:
        """Make a call with a code of an MFA device, if there is a device, and record AWS's response to the
        code.

        :raises NeedsMfa: if there was no response, because the code may be used up.
        """
        if serial is None:
            return call(None)
        code = request.code.take()
        if code is not None:
            self.sources.codes.record_use(serial)
        elif self.sources.codes.has_command(profile, serial):
            code = self.sources.codes.code(profile, serial, request.deadline)
        try:
            result = call(code)
        except WrongMfaCode:
            self.sources.codes.record_refusal(profile, serial)
            raise
        except NoResponse as error:
            why = f"{error.what}: {error.why}; the code may be used up"
            hint = ("Wait for the next code, then ", THEN_RUN, Remedy("refresh", profile))
            raise NeedsMfa(
                f"Could not refresh {profile}", why, hint, profile=profile, serial=serial
            ) from None
        self.sources.codes.record_acceptance(serial)
        return result

    def _provider(self, name: str) -> CredentialProvider:
        """Return the first provider of the registry that applies to a profile."""
        providers = (provider.of(name, self.sources, self) for provider in registry.PROVIDERS)
        return next(provider for provider in providers if provider is not None)

    def _retrieve(self, name: str, request: SessionRequest) -> FetchedSession:
        """Get a session from the provider and store it. One without an expiry is not stored, because it may
        end at any time.
        """
        fingerprint = self.fingerprint(name)
        requested_at = self.sources.clock()
        issued, note = self._provider(name).retrieve(request)
        fetched = FetchedSession(issued, requested_at, self.sources.clock(), fingerprint, note)
        expires = issued.credentials.expires
        if expires is not None and expires <= fetched.obtained:
            why = f"the new session expired at {expires:%d %b %H:%M:%S} UTC"
            raise AwsError(f"Could not refresh {name}", why, "Check this machine's clock, then try again")
        if expires is not None and not self.sources.caller_credential_source(name):
            try:
                self.store.put(name, fetched)
            except FileChanged:
                raise
            except (KeyturnError, OSError) as error:
                return replace(fetched, not_stored=error)
        return fetched

    def _is_fresh(self, session: FetchedSession) -> bool:
        return session_state(session.facts(), self.sources.clock()) is State.FRESH


def _is_same(one: FetchedSession, other: FetchedSession) -> bool:
    return one.issued.credentials.access_key_id == other.issued.credentials.access_key_id


def _with_source(error: AwsRefused, session: SourceSession, request: SessionRequest) -> AwsRefused:
    """Return an error that names the profiles of the call: the role, unless it is the requested one, and the
    source profile whose session AWS refused.
    """
    role, source = session.role, session.source
    if role != request.path[0]:
        error.what = f"{error.what} of {role}"
    error.source = role
    refresh = Remedy("refresh", source)
    if error.code in EXPIRED_SESSION_CODES:
        error.hint = ""
    if error.code in ENDED_SESSION_CODES:
        error.why = f"the session of {source} was refused ({error.why})"
        error.add_hint(RUN, refresh)
    else:
        error.add_hint(f"It was signed with a session of {source}; to get a new one, ", THEN_RUN, refresh)
    return error


def source_lock_name(name: str) -> str:
    """Return the name of the lock under which a profile's session is fetched."""
    return "source-" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
