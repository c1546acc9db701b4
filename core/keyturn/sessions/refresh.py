"""A new session for a profile: its chain of sources walked from the first hop that is due.

Every source is locked across processes while AWS is asked for it, and looked at again once the lock is held, so that
many callers cause one call. No vault and no file is locked meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from keyturn.aws.ports import Aws, AwsFactory, Issued
from keyturn.clock import Clock
from keyturn.definitions import Definition, Definitions
from keyturn.errors import NotFound, ProfileBroken
from keyturn.model import Credentials, Kind, Profile, Session, State, session_state
from keyturn.sessions import iam_user, role
from keyturn.sessions.mfa import require_code
from keyturn.sessions.stored import SessionStore

#: botocore refuses a chain that returns to itself; this bounds one that merely is absurd.
DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Fetched:
    """A session and how it came about."""

    issued: Issued
    at: datetime
    note: str = ""
    asked_aws: bool = True
    """False where another process brought it while this one waited."""

    def facts(self) -> Session:
        credentials = self.issued.credentials
        return Session(credentials.access_key_id, self.at, credentials.expires, self.issued.arn)


@dataclass(frozen=True, slots=True)
class Signer:
    """What signs the next hop."""

    credentials: Credentials
    chained: bool
    """Temporary, so that AWS allows the next hop one hour at most."""


@dataclass(frozen=True)
class Refresher:
    """Asks AWS for sessions, with what is at hand at one moment.

    :param key: the long-term key of a vault entry; raises `NeedsUnlock` where the vault is closed.
    :param plain_key: the static credentials that a native profile holds in the shared files, None if it has none.
    :param lock: an exclusive lock across processes, by name.
    """

    definitions: Definitions
    natives: Mapping[str, Profile]
    hops: Callable[[str], role.Hop | None]
    key: Callable[[str], Credentials]
    plain_key: Callable[[str], Credentials | None]
    sessions: SessionStore
    aws: AwsFactory
    clock: Clock
    lock: Callable[[str], AbstractContextManager[None]]
    accepted: Mapping[str, int]
    remember: Callable[[str, int], None]
    """Notes the duration that AWS accepts for a profile, once it refused a longer one."""

    def fetch(self, name: str, code: str | None = None, *, only_if_due: bool = False) -> Fetched:
        """A new session for `name`.

        :param code: an MFA code, used at the first hop that asks for one, once.
        :param only_if_due: give what is cached while it is fresh.
        :raises NeedsMfa: a hop needs a code and none is left.
        """
        began = self.clock()
        codes = _OneCode(code)
        with self.lock(source_lock(name)):
            cached = self.sessions.get(name)
            if cached is not None and self._good_enough(cached, began, only_if_due=only_if_due):
                return Fetched(cached.issued, cached.at, asked_aws=False)
            fetched = self._ask(name, codes, (name,))
            self.sessions.put(name, fetched.issued, fetched.at)
        return fetched

    def _good_enough(self, cached: Fetched, began: datetime, *, only_if_due: bool) -> bool:
        if session_state(cached.facts(), self.clock()) is not State.FRESH:
            return False
        return only_if_due or cached.at > began

    def _ask(self, name: str, codes: _OneCode, path: tuple[str, ...]) -> Fetched:
        definition = self.definitions.get(name)
        if definition is not None and definition.kind is Kind.IAM_KEY:
            return self._user_session(definition, codes)
        hop = self.hops(name)
        if hop is not None:
            return self._role_session(name, hop, codes, path)
        native = self.natives.get(name)
        if native is None:
            raise NotFound(f"profile {name}", "there is none by that name", "Run: keyturn list")
        if native.problem:
            raise ProfileBroken(f"profile {name}", native.problem, "Correct it in the shared files")
        credentials = self._aws(name).native_credentials(name)
        return Fetched(Issued(credentials), self.clock())

    def _user_session(self, definition: Definition, codes: _OneCode) -> Fetched:
        key = self.key(definition.key or definition.name)
        code = codes.take() if definition.mfa_serial else None
        at = self.clock()
        return Fetched(iam_user.issue(self._aws(definition.name), key, definition, code), at)

    def _role_session(self, name: str, hop: role.Hop, codes: _OneCode, path: tuple[str, ...]) -> Fetched:
        if len(path) > DEEPEST:
            raise ProfileBroken(
                f"profile {name}", "its chain of source profiles has no end", "Correct source_profile"
            )
        if hop.mfa_serial and not codes.left:
            require_code(hop.profile, hop.mfa_serial, None)
        signer = self._signer(name, codes, path)
        code = codes.take() if hop.mfa_serial else None
        at = self.clock()
        assumed = role.assume(
            self._aws(name), signer.credentials, hop, code=code, chained=signer.chained,
            accepted_seconds=self.accepted.get(name),
            on_shorter=lambda seconds: self.remember(name, seconds),
        )  # fmt: skip
        return Fetched(assumed.issued, at, assumed.note)

    def _signer(self, name: str, codes: _OneCode, path: tuple[str, ...]) -> Signer:
        definition = self.definitions.get(name)
        native = self.natives.get(name)
        if definition is not None and definition.key:
            return Signer(self.key(definition.key), chained=False)
        source = (
            definition.source_profile
            if definition
            else (native.chain[0] if native and native.chain else None)
        )
        if source is None:
            raise ProfileBroken(f"profile {name}", "it names no source profile", "Add source_profile")
        return self._source(source, codes, path)

    def _source(self, source: str, codes: _OneCode, path: tuple[str, ...]) -> Signer:
        definition = self.definitions.get(source)
        if definition is not None and definition.key:
            return Signer(self.key(definition.key), chained=False)
        plain = self.plain_key(source) if definition is None else None
        if plain is not None:
            return Signer(plain, chained=plain.session_token is not None)
        if source in path:
            raise ProfileBroken(
                f"profile {path[0]}", f"its chain of sources returns to {source}", "Correct it"
            )
        with self.lock(source_lock(source)):
            cached = self.sessions.get(source)
            if cached is not None and session_state(cached.facts(), self.clock()) is State.FRESH:
                return Signer(cached.issued.credentials, chained=True)
            fetched = self._ask(source, codes, (*path, source))
            self.sessions.put(source, fetched.issued, fetched.at)
        return Signer(fetched.issued.credentials, chained=True)

    def _aws(self, name: str) -> Aws:
        native = self.natives.get(name)
        return self.aws(name, native.region if native else None)


class _OneCode:
    """An MFA code that can be taken once, since AWS takes it once."""

    def __init__(self, code: str | None) -> None:
        self._code = code

    @property
    def left(self) -> bool:
        return self._code is not None

    def take(self) -> str | None:
        code, self._code = self._code, None
        return code


def source_lock(name: str) -> str:
    """The name of the lock that one profile's session is fetched under."""
    return "source-" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
