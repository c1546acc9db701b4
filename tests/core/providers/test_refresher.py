"""Session requests to AWS: their times, signatures and codes, and the cached results.

AWS and the stores are small in-memory implementations that keep the rules of the real ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.aws.api import IssuedCredentials, RoleRequest
from keyturn.aws.deadline import DEFAULT_SECONDS, EXTENDED_SECONDS, MAX_SECONDS, Deadline
from keyturn.model.chain import MAX_CHAIN
from keyturn.model.errors import (
    AwsError,
    AwsRefused,
    FileChanged,
    KeyturnError,
    NeedsMfa,
    NoResponse,
    NotFound,
    ProfileBroken,
    UsageError,
    WrongMfaCode,
)
from keyturn.model.profile import Credentials, Kind, Profile
from keyturn.model.secret import Secret
from keyturn.providers import refresher as refreshing
from keyturn.providers.assume_role import RECENT_CODE
from keyturn.providers.base import FetchedSession, MfaDevice, Sources
from keyturn.providers.refresher import Refresher, source_lock_name
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.system.caller_environment import CallerEnvironment

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ARN = "arn:aws:iam::111122223333:role/{}"
SERIAL = "arn:aws:iam::111122223333:mfa/alice"
OTHER_SERIAL = "arn:aws:iam::111122223333:mfa/bob"
CODE, NEXT_CODE = "123456", "654321"
#: Duration of each AWS call here.
ANSWER_TIME = timedelta(seconds=2)


@dataclass
class MovableClock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


@dataclass(frozen=True)
class Call:
    """One request as AWS receives it."""

    action: str
    profile: str | None
    signer: str = ""
    seconds: int = 0
    serial: str | None = None
    code: str | None = None
    role: str = ""
    region: str | None = None


@dataclass
class Sts:
    """STS: a code is valid once, and a session of a role from a session lasts an hour at most."""

    clock: MovableClock
    calls: list[Call] = field(default_factory=list)
    spent: set[str] = field(default_factory=set)
    longest: dict[str, int] = field(default_factory=dict)
    """The longest session that a role allows."""
    refused: dict[str, str] = field(default_factory=dict)
    """Roles that nobody may assume, and AWS's code for that."""
    faults: dict[str, deque[Exception]] = field(default_factory=dict)
    """Errors of the next calls of an action, raised after the check of the code."""
    native: dict[str, Credentials] = field(default_factory=dict)
    deadlines: list[Deadline] = field(default_factory=list)
    born_dead: timedelta | None = None
    """Time from its start to the expiry of a session, by this machine's wrong clock."""

    def fail(self, action: str, *errors: Exception) -> None:
        self.faults.setdefault(action, deque()).extend(errors)

    def answer(self, call: Call) -> None:
        self.calls.append(call)
        self.clock.move(ANSWER_TIME)
        if call.code is not None:
            if call.code in self.spent:
                raise WrongMfaCode(call.action, "MultiFactorAuthentication failed", code="AccessDenied")
            self.spent.add(call.code)
        if self.faults.get(call.action):
            raise self.faults[call.action].popleft()

    def issue(self, seconds: int, arn: str | None = None) -> IssuedCredentials:
        number = len(self.calls)
        began = self.clock() - ANSWER_TIME
        ends = began + (timedelta(seconds=seconds) if self.born_dead is None else self.born_dead)
        key = Credentials(f"ASIA{number:016}", Secret("s" * 40), Secret(f"token {number}"), ends)
        return IssuedCredentials(key, arn)

    def count(self, action: str) -> int:
        return sum(call.action == action for call in self.calls)

    def __call__(
        self,
        profile: str | None,
        region: str | None,
        *,
        deadline: Deadline | None = None,
        short_timeouts: bool = False,
        caller: CallerEnvironment | None = None,
    ) -> StsOfProfile:
        assert caller is None
        assert deadline is not None
        assert not short_timeouts
        self.deadlines.append(deadline)
        return StsOfProfile(self, profile, region)


@dataclass
class StsOfProfile:
    sts: Sts
    profile: str | None
    region: str | None

    def get_session_token(
        self, signer: Credentials, *, duration_seconds: int, mfa_serial: str | None, mfa_code: str | None
    ) -> IssuedCredentials:
        call = Call(
            "GetSessionToken", self.profile, signer.access_key_id, duration_seconds, mfa_serial, mfa_code
        )
        self.sts.answer(replace(call, region=self.region))
        if signer.session_token is not None:
            raise AwsRefused("GetSessionToken", "with session credentials", code="AccessDenied")
        return self.sts.issue(duration_seconds)

    def assume_role(self, signer: Credentials, request: RoleRequest) -> IssuedCredentials:
        call = Call(
            "AssumeRole", self.profile, signer.access_key_id, request.duration_seconds, request.mfa_serial,
            request.mfa_code, request.role_arn, self.region,
        )  # fmt: skip
        self.sts.answer(call)
        if request.role_arn in self.sts.refused:
            raise denied(self.sts.refused[request.role_arn])
        limit = 3600 if signer.session_token is not None else self.sts.longest.get(request.role_arn, 43_200)
        if request.duration_seconds > limit:
            raise AwsRefused("AssumeRole", "DurationSeconds exceeds the maximum", code="ValidationError")
        return self.sts.issue(request.duration_seconds, request.role_arn)

    def source_credentials(self, profile: str, source: str) -> Credentials:
        self.sts.answer(Call(f"source {source}", profile))
        return Credentials("ASIASOURCE0000000000", Secret("s"), Secret("t"))

    def native_credentials(self, profile: str) -> Credentials:
        self.sts.answer(Call("native", profile, region=self.region))
        return self.sts.native[profile]

    def _is_not_for_sessions(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("no session is made by that call")

    get_caller_identity = list_access_keys = list_mfa_devices = access_key_last_used = _is_not_for_sessions
    create_access_key = set_access_key_status = delete_access_key = _is_not_for_sessions


@dataclass
class Sessions:
    """The vault's cache; `fault` is its error for the next session to store."""

    kept: dict[str, FetchedSession] = field(default_factory=dict)
    fault: Exception | None = None

    def get(self, name: str) -> FetchedSession | None:
        return self.kept.get(name)

    def put(self, name: str, fetched: FetchedSession) -> None:
        if self.fault is not None:
            raise self.fault
        self.kept[name] = fetched

    def drop(self, refused: FetchedSession) -> None:
        drop(self.kept, refused)


def drop(kept: dict[Any, FetchedSession], refused: FetchedSession) -> None:
    for name, fetched in list(kept.items()):
        if fetched.issued == refused.issued:
            del kept[name]


@dataclass
class DeviceSessions:
    clock: MovableClock
    kept: dict[tuple[str, str], FetchedSession] = field(default_factory=dict)

    def get(self, device: MfaDevice) -> FetchedSession | None:
        found = self.kept.get((device.key.access_key_id, device.serial))
        ends = found.issued.credentials.expires if found else None
        return found if ends is not None and ends - self.clock() > timedelta(minutes=2) else None

    def put(self, device: MfaDevice, fetched: FetchedSession) -> None:
        self.kept[device.key.access_key_id, device.serial] = fetched

    def drop(self, refused: FetchedSession) -> None:
        drop(self.kept, refused)


@dataclass
class CodeSource:
    """Programs that print codes, and the outcome of each code."""

    commands: dict[tuple[str, str], deque[str]] = field(default_factory=dict)
    marks: list[tuple[str, ...]] = field(default_factory=list)
    alone: set[str] = field(default_factory=set)

    def has_command(self, profile: str, serial: str) -> bool:
        return (profile, serial) in self.commands

    def code(self, profile: str, serial: str, deadline: Deadline) -> str:
        assert deadline.left() > 0
        return self.commands[profile, serial].popleft()

    def record_use(self, serial: str) -> None:
        self.marks.append(("used", serial))

    def record_refusal(self, profile: str, serial: str) -> None:
        self.marks.append(("refused", profile, serial))

    def record_acceptance(self, serial: str) -> None:
        self.marks.append(("accepted", serial))

    def refuses_session_tokens(self, serial: str) -> bool:
        return serial in self.alone

    def record_session_token_refusal(self, serial: str) -> None:
        self.alone.add(serial)


class Home:
    """All in-memory dependencies of a refresher."""

    def __init__(self) -> None:
        self.clock = MovableClock()
        self.aws = Sts(self.clock)
        self.definitions: dict[str, ManagedProfile] = {}
        self.natives: dict[str, Profile] = {}
        self.settings: dict[str, dict[str, object]] = {}
        self.keys: dict[str, Credentials] = {}
        self.plain_keys: dict[str, Credentials] = {}
        self.accepted: dict[str, int] = {}
        self.denied: dict[str, str] = {}
        self.askers: dict[str, str] = {}
        self.sessions = Sessions()
        self.devices = DeviceSessions(self.clock)
        self.codes = CodeSource()
        self.locked: list[tuple[str, float]] = []
        """Every lock taken, with its timeout."""
        self.holding: set[str] = set()
        self.meanwhile: Callable[[str], None] = lambda _: None
        """Changes of other processes while a lock is waited for."""

    @contextmanager
    def lock(self, name: str, seconds: float) -> Iterator[None]:
        assert name not in self.holding, "a process that waits for itself waits forever"
        self.locked.append((name, seconds))
        self.holding.add(name)
        self.meanwhile(name)
        try:
            yield
        finally:
            self.holding.remove(name)

    def user(self, name: str, **more: Any) -> None:
        self.definitions[name] = replace(ManagedProfile(name, Kind.IAM_KEY, key=f"{name}-entry"), **more)
        self.keys[f"{name}-entry"] = Credentials(f"AKIA{name.upper():0<16}", Secret("s" * 40))

    def role(self, name: str, source: str | None, **more: Any) -> None:
        profile = ManagedProfile(name, Kind.ROLE, role_arn=ARN.format(name), source_profile=source)
        self.definitions[name] = replace(profile, **more)

    def native(self, name: str, kind: Kind = Kind.SSO_ROLE, **more: Any) -> None:
        self.natives[name] = replace(Profile(name, kind=kind, region="eu-west-1"), **more)
        ends = self.clock() + HOUR
        self.aws.native[name] = Credentials(f"ASIA{name.upper():0<16}", Secret("s"), Secret("t"), ends)

    def record_denied_signer(self, name: str, key_id: str | None) -> None:
        self.denied.pop(name, None)
        if key_id is not None:
            self.denied[name] = key_id

    def refresher(self) -> Refresher:
        def settings(name: str) -> Mapping[str, object]:
            return self.settings.get(name, {})

        sources = Sources(
            definitions=self.definitions, natives=self.natives, key=self.keys.__getitem__,
            plain_key=self.plain_keys.get, settings=settings, caller_credential_source=self.askers.get,
            factory=self.aws, clock=self.clock, accepted=self.accepted,
            record_accepted_duration=self.accepted.__setitem__, denied_signers=dict(self.denied),
            record_denied_signer=self.record_denied_signer, devices=self.devices, codes=self.codes,
        )  # fmt: skip
        return Refresher(sources, self.sessions, self.lock)

    def refresh(self, name: str, code: str | None = None) -> FetchedSession:
        return self.refresher().fetch(name, code)

    def need(self, name: str, code: str | None = None) -> FetchedSession:
        """Request credentials as a client does: a cached session suffices while it is fresh."""
        return self.refresher().fetch(name, code, only_if_due=True)


@pytest.fixture
def home() -> Home:
    return Home()


def key_of(fetched: FetchedSession) -> str:
    return fetched.issued.credentials.access_key_id


# New or cached


def test_a_refresh_gets_a_new_session_even_if_the_cached_one_is_fresh(home: Home) -> None:
    home.user("ci")
    first, second = home.refresh("ci"), home.refresh("ci")
    assert home.aws.count("GetSessionToken") == 2
    assert key_of(first) != key_of(second)
    assert second.asked_aws
    assert home.sessions.kept["ci"] == second


def test_a_client_gets_the_cached_session_while_it_is_fresh(home: Home) -> None:
    home.user("ci")
    first, second = home.refresh("ci"), home.need("ci")
    assert home.aws.count("GetSessionToken") == 1
    assert key_of(second) == key_of(first)
    assert (first.asked_aws, second.asked_aws) == (True, False)


@pytest.mark.parametrize(
    ("passed", "requested"),
    [(timedelta(0), 1), (timedelta(minutes=39), 1), (timedelta(minutes=41), 2), (timedelta(hours=2), 2)],
)
def test_a_client_gets_a_new_session_once_the_cached_one_is_due(
    home: Home, passed: timedelta, requested: int
) -> None:
    home.user("ci", duration_seconds=3600)
    home.need("ci")
    home.clock.move(passed)
    home.need("ci")
    assert home.aws.count("GetSessionToken") == requested


def other_process(home: Home, name: str, *, got: timedelta, left: timedelta = HOUR) -> FetchedSession:
    """Cache a session of another process, `got` from now."""
    at = home.clock() + got
    key = Credentials("ASIAOTHERPROCESS0000", Secret("s"), Secret("t"), home.clock() + left)
    return FetchedSession(IssuedCredentials(key), at, at, home.refresher().fingerprint(name))


@pytest.mark.parametrize(
    ("got", "left", "requested"),
    [(MINUTE, HOUR, 0), (timedelta(0), HOUR, 1), (-MINUTE, HOUR, 1), (MINUTE, timedelta(minutes=-1), 1)],
    ids=[
        "made while this one waited",
        "made before",
        "made long before",
        "made while this one waited, but ended",
    ],
)
def test_what_another_process_got_while_this_one_waited_is_new_enough(
    home: Home, got: timedelta, left: timedelta, requested: int
) -> None:
    home.user("ci")
    theirs = other_process(home, "ci", got=got, left=left)
    home.meanwhile = lambda _: home.sessions.kept.__setitem__("ci", theirs)
    found = home.refresh("ci")
    assert home.aws.count("GetSessionToken") == requested
    assert found.asked_aws is bool(requested)


def test_a_session_tells_when_it_was_asked_for_and_when_it_came(home: Home) -> None:
    home.user("ci")
    found = home.refresh("ci")
    assert (found.requested_at, found.obtained) == (START, START + ANSWER_TIME)
    assert found.facts().issued == START


def test_what_a_session_was_made_from_is_kept_with_it(home: Home) -> None:
    home.user("ci")
    assert home.refresh("ci").source_fingerprint == home.refresher().fingerprint("ci")
    assert home.refresher().cached("ci") is not None


# Uses of a cached session


def users_device(home: Home) -> None:
    home.definitions["ci"] = replace(home.definitions["ci"], mfa_serial=SERIAL)


def users_key(home: Home) -> None:
    home.keys["ci-entry"] = replace(home.keys["ci-entry"], access_key_id="AKIAANOTHER000000000")


def renamed_role(home: Home) -> None:
    home.definitions["ops"] = replace(home.definitions["ops"], role_arn=ARN.format("else"))


def roles_terms(home: Home) -> None:
    home.definitions["ops"] = replace(home.definitions["ops"], external_id="x")


def another_source(home: Home) -> None:
    home.user("bo")
    home.definitions["ops"] = replace(home.definitions["ops"], source_profile="bo")


def nothing(home: Home) -> None:
    """Change nothing that affects a session."""
    home.user("bo")
    home.natives["ci"] = Profile("ci", region="us-east-1")


#: A change, and the profiles whose cached sessions still match their definition.
CHANGES: list[tuple[Callable[[Home], None], set[str]]] = [
    (nothing, {"ci", "ops", "far"}),
    (users_key, set()),
    (users_device, {"ops", "far"}),
    (renamed_role, {"ci"}),
    (roles_terms, {"ci"}),
    (another_source, {"ci"}),
]


@pytest.mark.parametrize(("change", "good"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_a_cached_session_counts_while_all_that_it_was_made_from_is_the_same(
    home: Home, change: Callable[[Home], None], good: set[str]
) -> None:
    home.user("ci")
    home.role("ops", "ci")
    home.role("far", "ops")
    for name in ("ci", "ops", "far"):
        home.refresh(name)
    change(home)
    found = home.refresher()
    assert {name for name in ("ci", "ops", "far") if found.cached(name) is not None} == good


def test_a_native_session_counts_while_the_settings_of_its_profile_are_the_same(home: Home) -> None:
    home.native("sso")
    home.settings["sso"] = {"sso_role_name": "Admin", "region": "x"}
    home.refresh("sso")
    home.settings["sso"] = {"region": "x", "sso_role_name": "Admin"}
    assert home.refresher().cached("sso") is not None
    home.settings["sso"] = {"sso_role_name": "Reader", "region": "x"}
    assert home.refresher().cached("sso") is None


def test_a_role_behind_a_native_session_is_bound_to_the_settings_below(home: Home) -> None:
    home.native("sso")
    home.role("ops", "sso")
    before = home.refresher().fingerprint("ops")
    home.settings["sso"] = {"sso_role_name": "Reader"}
    assert home.refresher().fingerprint("ops") != before


def test_a_circle_has_a_digest_too(home: Home) -> None:
    home.role("a", "b")
    home.role("b", "a")
    assert home.refresher().fingerprint("a") == home.refresher().fingerprint("a")
    assert home.refresher().fingerprint("a") != home.refresher().fingerprint("b")


def chain(home: Home, roles: int) -> str:
    """Return a chain of this many roles on a native session, and the name of its last role."""
    home.native("r0")
    for number in range(roles):
        home.role(f"r{number + 1}", f"r{number}")
    return f"r{roles}"


def test_a_chain_that_is_absurdly_deep_is_bounded(home: Home) -> None:
    deepest = chain(home, MAX_CHAIN)
    before = home.refresher().fingerprint(deepest)
    home.settings["r0"] = {"changed": "yes"}
    assert home.refresher().fingerprint(deepest) != before
    deeper = chain(home, MAX_CHAIN + 1)
    before = home.refresher().fingerprint(deeper)
    home.settings["r0"] = {"changed": "again"}
    assert home.refresher().fingerprint(deeper) == before


# Stored results


def test_a_session_that_rests_on_whoever_asks_is_never_kept(home: Home) -> None:
    home.role("ops", None, credential_source="Environment")
    home.askers["ops"] = "Environment"
    found = home.refresh("ops")
    assert [call.action for call in home.aws.calls] == ["source Environment", "AssumeRole"]
    assert home.aws.calls[1].signer == "ASIASOURCE0000000000"
    assert home.sessions.kept == {}
    home.sessions.kept["ops"] = found
    assert home.refresher().cached("ops") is None
    assert home.need("ops").asked_aws


def test_a_session_of_no_known_end_is_not_kept(home: Home) -> None:
    home.native("tool", Kind.SSO_ROLE)
    home.aws.native["tool"] = replace(home.aws.native["tool"], expires=None)
    assert home.refresh("tool").asked_aws
    assert home.sessions.kept == {}


@pytest.mark.parametrize(
    ("life", "is_over"),
    [(ANSWER_TIME + timedelta(seconds=1), False), (ANSWER_TIME, True), (timedelta(hours=-1), True)],
)
def test_a_session_that_has_ended_when_it_comes_is_an_error_and_not_kept(
    home: Home, life: timedelta, is_over: bool
) -> None:
    home.user("ci")
    home.aws.born_dead = life
    if is_over:
        with pytest.raises(AwsError, match="Could not refresh ci"):
            home.refresh("ci")
    else:
        home.refresh("ci")
    assert ("ci" in home.sessions.kept) is not is_over


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyturnError("vault", "it is read-only")])
def test_a_session_that_cannot_be_kept_is_given_all_the_same_and_says_why(
    home: Home, fault: Exception
) -> None:
    home.user("ci")
    home.sessions.fault = fault
    found = home.refresh("ci")
    assert found.not_stored is fault
    assert found.asked_aws


def test_a_session_of_a_profile_that_changed_meanwhile_is_not_given(home: Home) -> None:
    home.user("ci")
    home.sessions.fault = FileChanged("refresh of ci", "its definition changed")
    with pytest.raises(FileChanged):
        home.refresh("ci")


def test_a_kept_session_has_no_fault(home: Home) -> None:
    home.user("ci")
    assert home.refresh("ci").not_stored is None


# Sources of a session


def test_what_a_native_profile_gives_is_asked_of_its_own_provider_in_its_region(home: Home) -> None:
    home.native("sso")
    found = home.refresh("sso")
    assert (key_of(found)[:7], found.note) == ("ASIASSO", "")
    assert home.aws.calls == [Call("native", "sso", region="eu-west-1")]


def test_a_profile_without_a_section_has_no_region(home: Home) -> None:
    home.user("ci")
    home.refresh("ci")
    assert home.aws.calls[0].region is None


def test_what_is_not_there_or_cannot_work_is_said_before_aws_is_asked(home: Home) -> None:
    home.native("bad", problem="no such session")
    home.native("bare", Kind.UNKNOWN)
    home.role("lost", None)
    with pytest.raises(NotFound):
        home.refresh("gone")
    for name in ("bad", "bare", "lost"):
        with pytest.raises(ProfileBroken):
            home.refresh(name)
    assert home.aws.calls == []


def test_what_aws_never_takes_is_refused_before_a_code_is_spent(home: Home) -> None:
    home.user("ci")
    home.role("ops", "ci", role_arn="nonsense", mfa_serial=SERIAL)
    with pytest.raises(UsageError):
        home.refresh("ops", CODE)
    assert home.aws.calls == []
    assert home.codes.marks == []


# Users


def test_a_user_without_a_device_is_asked_for_no_code(home: Home) -> None:
    home.user("ci", duration_seconds=900)
    assert home.refresh("ci", CODE).note == ""
    assert home.aws.calls == [Call("GetSessionToken", "ci", "AKIACI00000000000000", 900)]
    assert home.codes.marks == []
    assert home.devices.kept == {}


def test_a_user_whose_definition_names_no_entry_has_the_entry_of_its_name(home: Home) -> None:
    home.user("ci", key=None)
    home.keys["ci"] = Credentials("AKIAOWN", Secret("s"))
    home.refresh("ci")
    assert home.aws.calls[0].signer == "AKIAOWN"


def test_a_user_with_a_device_takes_the_typed_code_and_notes_what_became_of_it(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL)
    found = home.refresh("ci", CODE)
    assert (home.aws.calls[0].serial, home.aws.calls[0].code) == (SERIAL, CODE)
    assert home.codes.marks == [("used", SERIAL), ("accepted", SERIAL)]
    session = home.devices.kept["AKIACI00000000000000", SERIAL]
    assert (session.issued, session.requested_at, session.obtained) == (
        found.issued,
        START,
        START + ANSWER_TIME,
    )


def test_a_user_with_a_device_and_no_code_needs_a_person(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL)
    with pytest.raises(NeedsMfa) as excinfo:
        home.refresh("ci")
    assert (excinfo.value.profile, excinfo.value.serial) == ("ci", SERIAL)
    assert home.aws.calls == []


def test_a_program_shows_the_code_where_nobody_types_one(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL)
    home.codes.commands["ci", SERIAL] = deque([CODE])
    home.refresh("ci")
    assert home.aws.calls[0].code == CODE
    assert home.codes.marks == [("accepted", SERIAL)]
    home.refresh("ci", NEXT_CODE)
    assert home.aws.calls[1].code == NEXT_CODE, "a typed code comes before the program"


def test_a_code_that_aws_refuses_is_noted_and_told(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL)
    home.aws.spent.add(CODE)
    with pytest.raises(WrongMfaCode):
        home.refresh("ci", CODE)
    assert home.codes.marks == [("used", SERIAL), ("refused", "ci", SERIAL)]
    assert home.devices.kept == {}


def test_a_lost_answer_may_have_used_the_code_up(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL)
    home.aws.fail("GetSessionToken", NoResponse("GetSessionToken", "the line went dead"))
    with pytest.raises(NeedsMfa, match="the line went dead") as excinfo:
        home.refresh("ci", CODE)
    assert (excinfo.value.profile, excinfo.value.serial) == ("ci", SERIAL)
    assert home.codes.marks == [("used", SERIAL)]


def test_a_lost_answer_without_a_code_is_told_as_it_is(home: Home) -> None:
    home.user("ci")
    home.aws.fail("GetSessionToken", NoResponse("GetSessionToken", "the line went dead"))
    with pytest.raises(NoResponse):
        home.refresh("ci")


def test_a_client_of_a_user_is_served_by_the_session_of_the_last_code(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL)
    first = home.refresh("ci", CODE)
    home.sessions.kept.clear()
    assert key_of(home.need("ci")) == key_of(first)
    assert home.aws.count("GetSessionToken") == 1
    home.sessions.kept.clear()
    assert key_of(home.need("ci", NEXT_CODE)) != key_of(first), "a typed code is for a new session"
    with pytest.raises(NeedsMfa):
        home.refresh("ci")


def test_a_users_session_that_is_due_is_not_served_again(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL, duration_seconds=3600)
    home.refresh("ci", CODE)
    home.clock.move(timedelta(minutes=41))
    with pytest.raises(NeedsMfa):
        home.need("ci")


# Roles


def test_a_role_of_a_user_is_assumed_by_the_key_itself_for_as_long_as_it_is_wanted(home: Home) -> None:
    home.user("ci")
    home.role("ops", "ci", duration_seconds=7200)
    found = home.refresh("ops")
    assert home.aws.calls == [Call("AssumeRole", "ops", "AKIACI00000000000000", 7200, role=ARN.format("ops"))]
    assert (found.note, found.issued.arn) == ("", ARN.format("ops"))
    assert home.codes.marks == []
    assert set(home.sessions.kept) == {"ops"}


def test_a_role_beside_its_own_key_signs_with_that(home: Home) -> None:
    home.role("ops", None)
    home.keys["own"] = Credentials("AKIAOWN", Secret("s"))
    home.definitions["ops"] = replace(home.definitions["ops"], key="own")
    home.refresh("ops")
    assert home.aws.calls[0].signer == "AKIAOWN"


def test_a_role_of_a_native_key_is_assumed_by_that(home: Home) -> None:
    home.native("src", Kind.IAM_KEY)
    home.plain_keys["src"] = Credentials("AKIAPLAIN", Secret("s"))
    home.role("ops", "src", duration_seconds=7200)
    home.refresh("ops")
    assert [(call.action, call.signer, call.seconds) for call in home.aws.calls] == [
        ("AssumeRole", "AKIAPLAIN", 7200)
    ]


def test_a_role_of_a_native_temporary_key_lives_for_an_hour_and_says_so(home: Home) -> None:
    home.native("src", Kind.STATIC_SESSION)
    home.plain_keys["src"] = Credentials("ASIAPLAIN", Secret("s"), Secret("t"))
    home.role("ops", "src", duration_seconds=7200)
    assert home.refresh("ops").note
    assert [(call.signer, call.seconds) for call in home.aws.calls] == [("ASIAPLAIN", 3600)]


def test_a_role_of_a_sign_in_is_assumed_by_its_session_which_is_kept_too(home: Home) -> None:
    home.native("sso")
    home.role("ops", "sso", duration_seconds=7200)
    assert home.refresh("ops").note
    assert [(call.action, call.signer, call.seconds) for call in home.aws.calls] == [
        ("native", "", 0), ("AssumeRole", "ASIASSO0000000000000", 3600)
    ]  # fmt: skip
    assert set(home.sessions.kept) == {"sso", "ops"}


def test_the_session_below_is_asked_for_anew_only_once_it_is_due(home: Home) -> None:
    home.native("sso")
    home.role("ops", "sso")
    home.refresh("ops")
    home.refresh("ops")
    assert home.aws.count("native") == 1
    home.clock.move(timedelta(minutes=45))
    home.aws.native["sso"] = replace(home.aws.native["sso"], expires=home.clock() + HOUR)
    home.refresh("ops")
    assert home.aws.count("native") == 2


def test_a_chain_of_roles_is_walked_from_its_source(home: Home) -> None:
    home.user("ci")
    for name, source in (("a", "ci"), ("b", "a"), ("c", "b")):
        home.role(name, source)
    home.refresh("c")
    assert [call.role for call in home.aws.calls] == [ARN.format(name) for name in "abc"]
    assert [call.signer[:4] for call in home.aws.calls] == ["AKIA", "ASIA", "ASIA"]
    assert set(home.sessions.kept) == {"a", "b", "c"}


def test_a_native_role_signs_by_the_first_of_its_chain(home: Home) -> None:
    home.user("ci")
    home.native("old", Kind.ROLE, chain=("ci", "else"))
    home.settings["old"] = {"role_arn": ARN.format("old"), "source_profile": "ci"}
    home.refresh("old")
    assert home.aws.calls[0].signer == "AKIACI00000000000000"


def test_a_native_role_without_a_chain_is_broken(home: Home) -> None:
    home.native("old", Kind.ROLE)
    home.settings["old"] = {"role_arn": ARN.format("old"), "source_profile": "ci"}
    with pytest.raises(ProfileBroken):
        home.refresh("old")


def test_a_circle_of_roles_is_broken_and_aws_is_not_asked(home: Home) -> None:
    home.role("a", "b")
    home.role("b", "c")
    home.role("c", "b")
    with pytest.raises(ProfileBroken, match=r"Profile a is invalid.*cycle at b"):
        home.refresh("a")
    assert home.aws.calls == []


def test_a_chain_that_is_absurdly_deep_is_broken_and_one_that_is_less_so_is_walked(home: Home) -> None:
    home.refresh(chain(home, MAX_CHAIN))
    assert home.aws.count("AssumeRole") == MAX_CHAIN
    home.aws.calls.clear()
    home.sessions.kept.clear()
    with pytest.raises(ProfileBroken, match=rf"its chain has more than {MAX_CHAIN} source profiles"):
        home.refresh(chain(home, MAX_CHAIN + 1))
    assert home.aws.calls == []


def test_a_code_for_a_role_without_a_device_is_not_spent(home: Home) -> None:
    home.user("ci")
    home.role("ops", "ci")
    home.refresh("ops", CODE)
    assert signers(home) == [("AssumeRole", "AKIA", None)]


def test_a_native_profile_that_names_a_role_but_gets_its_credentials_elsewhere_is_native(home: Home) -> None:
    home.native("web", Kind.WEB_IDENTITY)
    home.settings["web"] = {"role_arn": ARN.format("web"), "source_profile": "ci"}
    home.refresh("web")
    assert [call.action for call in home.aws.calls] == ["native"]


def test_a_native_role_that_is_broken_is_not_assumed(home: Home) -> None:
    home.user("ci")
    home.native("old", Kind.ROLE, chain=("ci",), problem="no such source")
    home.settings["old"] = {"role_arn": ARN.format("old"), "source_profile": "ci"}
    with pytest.raises(ProfileBroken, match="no such source"):
        home.refresh("old")
    assert home.aws.calls == []


def test_a_role_of_whoever_asks_is_bound_to_its_terms(home: Home) -> None:
    home.role("ops", None, credential_source="Environment")
    before = home.refresher().fingerprint("ops")
    home.role("ops", None, credential_source="Environment", external_id="x")
    assert home.refresher().fingerprint("ops") != before


def test_a_role_accepts_what_aws_refused_to_make_longer(home: Home) -> None:
    home.user("ci")
    home.role("ops", "ci", duration_seconds=7200)
    home.aws.longest[ARN.format("ops")] = 3600
    assert home.refresh("ops").note
    assert home.accepted == {"ops": 3600}
    home.refresh("ops")
    assert [call.seconds for call in home.aws.calls] == [7200, 3600, 3600]


# Roles with a code

DEVICE_SECONDS = 43_200


def staff(home: Home, *names: str, **more: Any) -> None:
    """Roles behind the device of the user `ci`."""
    if "ci" not in home.definitions:
        home.user("ci")
    for name in names:
        home.role(name, "ci", mfa_serial=SERIAL, **more)


def signers(home: Home) -> list[tuple[str, str, str | None]]:
    return [(call.action, call.signer[:4], call.code) for call in home.aws.calls]


def test_one_code_serves_every_role_behind_the_same_user(home: Home) -> None:
    staff(home, "a", "b")
    home.refresh("a", CODE)
    home.refresh("b")
    assert signers(home) == [
        ("GetSessionToken", "AKIA", CODE), ("AssumeRole", "ASIA", None), ("AssumeRole", "ASIA", None)
    ]  # fmt: skip
    assert home.aws.calls[0].seconds == DEVICE_SECONDS
    assert [call.serial for call in home.aws.calls] == [SERIAL, None, None]
    assert home.codes.marks == [("used", SERIAL), ("accepted", SERIAL)]


def test_the_session_of_a_code_is_as_long_as_the_users_own(home: Home) -> None:
    home.user("ci", duration_seconds=1800)
    staff(home, "a")
    home.refresh("a", CODE)
    assert home.aws.calls[0].seconds == 1800


def test_the_session_of_a_native_users_code_has_the_usual_length(home: Home) -> None:
    home.native("src", Kind.IAM_KEY)
    home.plain_keys["src"] = Credentials("AKIAPLAIN", Secret("s"))
    home.role("ops", "src", mfa_serial=SERIAL)
    home.refresh("ops", CODE)
    assert (home.aws.calls[0].action, home.aws.calls[0].seconds) == ("GetSessionToken", DEVICE_SECONDS)


def test_a_typed_code_makes_a_new_session_even_if_one_serves_yet(home: Home) -> None:
    staff(home, "a")
    home.refresh("a", CODE)
    home.clock.move(MINUTE)
    home.refresh("a", NEXT_CODE)
    assert [call.code for call in home.aws.calls if call.action == "GetSessionToken"] == [CODE, NEXT_CODE]


def test_a_role_for_longer_than_an_hour_takes_a_code_of_its_own(home: Home) -> None:
    staff(home, "long", duration_seconds=7200)
    home.refresh("long", CODE)
    assert signers(home) == [("AssumeRole", "AKIA", CODE)]
    assert home.aws.calls[0].seconds == 7200
    assert home.aws.calls[0].serial == SERIAL


def test_an_hour_is_what_a_role_gets_from_the_session_of_a_code(home: Home) -> None:
    staff(home, "hour", duration_seconds=3600)
    home.refresh("hour", CODE)
    assert signers(home)[0] == ("GetSessionToken", "AKIA", CODE)


def test_a_role_that_aws_gave_an_hour_only_is_content_with_the_session_of_a_code(home: Home) -> None:
    staff(home, "long", duration_seconds=7200)
    home.accepted["long"] = 3600
    home.refresh("long", CODE)
    assert signers(home)[0] == ("GetSessionToken", "AKIA", CODE)


def test_a_long_role_that_has_ended_gets_an_hour_where_no_code_is_to_be_had(home: Home) -> None:
    staff(home, "a")
    staff(home, "long", duration_seconds=7200)
    home.refresh("a", CODE)
    found = home.refresh("long")
    assert (home.aws.calls[-1].signer[:4], home.aws.calls[-1].seconds) == ("ASIA", 3600)
    assert found.note


def test_a_long_session_that_is_valid_yet_is_not_replaced_by_an_hour(home: Home) -> None:
    staff(home, "a")
    staff(home, "long", duration_seconds=7200)
    home.refresh("long", CODE)
    home.refresh("a", NEXT_CODE)
    home.clock.move(timedelta(minutes=105))
    with pytest.raises(NeedsMfa):
        home.need("long")
    home.clock.move(timedelta(minutes=20))
    assert home.need("long").note, "once it has ended, an hour is better than nothing"


def test_without_a_code_and_without_a_session_a_role_needs_a_person(home: Home) -> None:
    staff(home, "a")
    with pytest.raises(NeedsMfa) as excinfo:
        home.refresh("a")
    assert (excinfo.value.profile, excinfo.value.serial) == ("a", SERIAL)
    assert home.aws.calls == []


def test_a_program_shows_the_code_of_a_role(home: Home) -> None:
    staff(home, "a")
    home.codes.commands["a", SERIAL] = deque([CODE])
    home.refresh("a")
    assert signers(home)[0] == ("GetSessionToken", "AKIA", CODE)


def test_a_program_shows_the_code_of_a_long_role(home: Home) -> None:
    staff(home, "long", duration_seconds=7200)
    home.codes.commands["long", SERIAL] = deque([CODE])
    home.refresh("long")
    assert signers(home) == [("AssumeRole", "AKIA", CODE)]


def test_a_device_whose_user_gets_no_sessions_gives_its_codes_to_the_role(home: Home) -> None:
    staff(home, "a")
    home.codes.alone.add(SERIAL)
    home.refresh("a", CODE)
    assert signers(home) == [("AssumeRole", "AKIA", CODE)]


def test_a_user_who_is_given_no_session_is_remembered_and_the_code_is_gone(home: Home) -> None:
    staff(home, "a")
    home.aws.fail("GetSessionToken", AwsRefused("GetSessionToken", "an explicit deny", code="AccessDenied"))
    with pytest.raises(NeedsMfa, match="an explicit deny") as excinfo:
        home.refresh("a", CODE)
    assert (excinfo.value.profile, excinfo.value.serial) == ("a", SERIAL)
    assert home.codes.alone == {SERIAL}
    home.refresh("a", NEXT_CODE)
    assert signers(home)[-1] == ("AssumeRole", "AKIA", NEXT_CODE)


def test_another_refusal_of_a_users_session_is_told_as_it_is(home: Home) -> None:
    staff(home, "a")
    home.aws.fail("GetSessionToken", AwsRefused("GetSessionToken", "slow down", code="Throttling"))
    with pytest.raises(AwsRefused, match="slow down"):
        home.refresh("a", CODE)
    assert home.codes.alone == set()


def test_a_wrong_code_says_nothing_about_the_users_sessions(home: Home) -> None:
    staff(home, "a")
    home.aws.spent.add(CODE)
    with pytest.raises(WrongMfaCode):
        home.refresh("a", CODE)
    assert home.codes.alone == set()
    assert home.codes.marks == [("used", SERIAL), ("refused", "a", SERIAL)]


def denied(code: str = "AccessDenied") -> AwsRefused:
    return AwsRefused("AssumeRole", "not authorized", code=code)


@pytest.mark.parametrize(
    ("age", "code", "needs_person"),
    [
        (MINUTE, "AccessDenied", False),
        (RECENT_CODE - ANSWER_TIME * 2, "AccessDenied", False),
        (RECENT_CODE + MINUTE, "AccessDenied", True),
        (RECENT_CODE + MINUTE, "ValidationError", False),
        (MINUTE, "ExpiredToken", True),
        (MINUTE, "ExpiredTokenException", True),
        (MINUTE, "InvalidClientTokenId", True),
        (MINUTE, "Throttling", False),
    ],
)
def test_a_role_denied_to_an_old_code_or_an_ended_session_takes_a_new_code(
    home: Home, age: timedelta, code: str, needs_person: bool
) -> None:
    staff(home, "a")
    home.refresh("a", CODE)
    home.clock.move(age)
    home.aws.fail("AssumeRole", denied(code))
    with pytest.raises(NeedsMfa if needs_person else AwsRefused):
        home.refresh("a")


def test_a_role_denied_to_an_old_code_takes_the_programs_next_one(home: Home) -> None:
    staff(home, "a")
    home.refresh("a", CODE)
    home.clock.move(RECENT_CODE + MINUTE)
    home.aws.fail("AssumeRole", denied())
    home.codes.commands["a", SERIAL] = deque([NEXT_CODE])
    home.refresh("a")
    assert signers(home)[-2:] == [("GetSessionToken", "AKIA", NEXT_CODE), ("AssumeRole", "ASIA", None)]


@pytest.mark.parametrize(("got", "requested"), [(MINUTE, 0), (timedelta(0), 1), (-MINUTE, 1)])
def test_the_session_of_a_code_that_another_process_got_meanwhile_serves_this_one(
    home: Home, got: timedelta, requested: int
) -> None:
    staff(home, "a")
    at = home.clock() + got
    theirs = FetchedSession(
        IssuedCredentials(Credentials("ASIATHEIRS", Secret("s"), Secret("t"), START + HOUR)), at, at, ""
    )
    device = source_lock_name("a")

    def interfere(name: str) -> None:
        if name != device:
            home.devices.kept["AKIACI00000000000000", SERIAL] = theirs

    home.meanwhile = interfere
    home.refresh("a", CODE)
    assert home.aws.count("GetSessionToken") == requested
    assert (home.aws.calls[-1].signer == "ASIATHEIRS") is not bool(requested)


def test_a_code_is_taken_once_by_the_first_hop_that_asks(home: Home) -> None:
    home.native("sso")
    home.role("mid", "sso", mfa_serial=SERIAL)
    home.role("far", "mid", mfa_serial=OTHER_SERIAL)
    with pytest.raises(NeedsMfa) as excinfo:
        home.refresh("far", CODE)
    assert excinfo.value.serial == OTHER_SERIAL
    assert [call.code for call in home.aws.calls] == [None, CODE]


def test_a_role_that_wants_a_code_says_so_before_the_session_below_is_asked_for(home: Home) -> None:
    home.native("sso")
    home.role("ops", "sso", mfa_serial=SERIAL)
    with pytest.raises(NeedsMfa):
        home.refresh("ops")
    assert home.aws.calls == []
    home.codes.commands["ops", SERIAL] = deque([CODE])
    home.refresh("ops")
    assert home.aws.calls[-1].code == CODE


def test_a_temporary_key_of_a_source_gets_no_session_by_a_code(home: Home) -> None:
    home.native("src", Kind.STATIC_SESSION)
    home.plain_keys["src"] = Credentials("ASIAPLAIN", Secret("s"), Secret("t"))
    home.role("ops", "src", mfa_serial=SERIAL)
    home.refresh("ops", CODE)
    assert [(call.action, call.code) for call in home.aws.calls] == [("AssumeRole", CODE)]


def test_a_role_of_whoever_asks_takes_its_own_code(home: Home) -> None:
    home.role("ops", None, credential_source="Environment", mfa_serial=SERIAL)
    home.askers["ops"] = "Environment"
    home.refresh("ops", CODE)
    assert home.aws.calls[-1].code == CODE


# Roles of a user with a device that they do not name


def optional(home: Home, **more: Any) -> None:
    """A user `ci` with a device, and a role `a` of it that names none."""
    home.user("ci", mfa_serial=SERIAL)
    home.role("a", "ci", **more)


KEY = "AKIACI00000000000000"


def test_a_role_that_names_no_device_is_assumed_with_the_mfa_session_of_its_user(home: Home) -> None:
    optional(home)
    home.refresh("ci", CODE)
    home.refresh("a")
    assert signers(home) == [("GetSessionToken", "AKIA", CODE), ("AssumeRole", "ASIA", None)]
    assert home.denied == {}


def test_without_an_mfa_session_the_key_itself_signs(home: Home) -> None:
    optional(home, duration_seconds=7200)
    home.refresh("a")
    assert signers(home) == [("AssumeRole", "AKIA", None)]
    assert home.aws.calls[0].seconds == 7200


def test_a_role_denied_to_the_key_may_require_a_code_and_says_so(home: Home) -> None:
    optional(home)
    home.aws.fail("AssumeRole", denied())
    with pytest.raises(NeedsMfa, match="not authorized; the role may require MFA") as excinfo:
        home.refresh("a")
    assert (excinfo.value.profile, excinfo.value.serial) == ("a", SERIAL)
    assert excinfo.value.hint == "Run: keyturn refresh ci --mfa-code CODE"
    assert home.denied == {"a": KEY}
    assert home.aws.count("AssumeRole") == 1


@pytest.mark.parametrize("code", ["Throttling", "InvalidClientTokenId", "ValidationError"])
def test_another_refusal_of_the_key_is_told_as_it_is(home: Home, code: str) -> None:
    optional(home)
    home.aws.fail("AssumeRole", denied(code))
    with pytest.raises(AwsRefused) as excinfo:
        home.refresh("a")
    assert excinfo.value.code == code
    assert home.denied == {}


def test_a_typed_code_makes_an_mfa_session_for_the_role_and_its_user(home: Home) -> None:
    optional(home)
    home.refresh("a", CODE)
    assert signers(home) == [("GetSessionToken", "AKIA", CODE), ("AssumeRole", "ASIA", None)]
    home.need("ci")
    assert home.aws.count("GetSessionToken") == 1


def test_a_typed_code_goes_to_a_long_role_itself(home: Home) -> None:
    optional(home, duration_seconds=7200)
    home.refresh("a", CODE)
    assert signers(home) == [("AssumeRole", "AKIA", CODE)]
    assert (home.aws.calls[0].serial, home.aws.calls[0].seconds) == (SERIAL, 7200)


def test_a_long_role_is_assumed_with_the_key_unless_that_is_denied(home: Home) -> None:
    optional(home, duration_seconds=7200)
    home.refresh("ci", CODE)
    home.refresh("a")
    assert signers(home)[1:] == [("AssumeRole", "AKIA", None)]
    home.sessions.kept.clear()
    home.aws.fail("AssumeRole", denied())
    assert home.refresh("a").note
    assert signers(home)[2:] == [("AssumeRole", "AKIA", None), ("AssumeRole", "ASIA", None)]
    assert home.denied == {"a": KEY}
    home.refresh("a")
    assert signers(home)[4:] == [("AssumeRole", "ASIA", None)], "the key is not tried again"


def test_a_long_session_is_not_replaced_by_an_hour_of_an_mfa_session(home: Home) -> None:
    optional(home, duration_seconds=7200)
    home.refresh("a", CODE)
    home.refresh("ci", NEXT_CODE)
    home.aws.fail("AssumeRole", denied())
    with pytest.raises(NeedsMfa) as excinfo:
        home.refresh("a")
    assert excinfo.value.hint == "Run: keyturn refresh a --mfa-code CODE"


#: Error code of AWS for the stored MFA session, its age, error code for the key or None, the result, True if
#: the stored session is kept.
REFUSED_SESSIONS: list[tuple[str, timedelta, str | None, type[Exception] | None, bool]] = [
    ("AccessDenied", MINUTE, None, None, True),
    ("AccessDenied", MINUTE, "AccessDenied", AwsRefused, True),
    ("AccessDenied", RECENT_CODE + MINUTE, "AccessDenied", NeedsMfa, True),
    ("ExpiredToken", MINUTE, None, None, False),
    ("ExpiredToken", MINUTE, "AccessDenied", NeedsMfa, False),
    ("InvalidClientTokenId", MINUTE, None, None, False),
    ("InvalidClientTokenId", MINUTE, "AccessDenied", NeedsMfa, False),
    ("Throttling", MINUTE, None, AwsRefused, True),
]


@pytest.mark.parametrize("case", REFUSED_SESSIONS, ids=str)
def test_the_key_is_tried_once_where_the_mfa_session_is_refused(
    home: Home, case: tuple[str, timedelta, str | None, type[Exception] | None, bool]
) -> None:
    code, age, key_code, raised, is_kept = case
    optional(home)
    home.refresh("ci", CODE)
    home.clock.move(age)
    home.aws.fail("AssumeRole", denied(code), *([denied(key_code)] if key_code else []))
    if raised:
        with pytest.raises(raised):
            home.refresh("a")
    else:
        home.refresh("a")
    expected = 1 if code == "Throttling" else 2
    assert signers(home)[1:] == [("AssumeRole", "ASIA", None), ("AssumeRole", "AKIA", None)][:expected]
    assert bool(home.devices.kept) is is_kept


def test_a_region_that_knows_neither_session_nor_key_ends_no_session(home: Home) -> None:
    optional(home)
    home.refresh("ci", CODE)
    home.aws.fail("AssumeRole", denied("InvalidClientTokenId"), denied("InvalidClientTokenId"))
    with pytest.raises(AwsRefused):
        home.refresh("a")
    assert home.devices.kept


def test_the_program_of_the_user_shows_the_code_of_a_role_that_requires_it(home: Home) -> None:
    optional(home)
    home.codes.commands["ci", SERIAL] = deque([CODE, NEXT_CODE])
    home.aws.fail("AssumeRole", denied())
    home.refresh("a")
    assert signers(home) == [
        ("AssumeRole", "AKIA", None), ("GetSessionToken", "AKIA", CODE), ("AssumeRole", "ASIA", None)
    ]  # fmt: skip
    home.devices.kept.clear()
    home.refresh("a")
    assert signers(home)[3:] == [("GetSessionToken", "AKIA", NEXT_CODE), ("AssumeRole", "ASIA", None)]


def test_a_role_that_is_denied_with_a_new_code_too_lacks_a_permission(home: Home) -> None:
    optional(home)
    home.denied["a"] = KEY
    home.aws.fail("AssumeRole", denied())
    with pytest.raises(AwsRefused):
        home.refresh("a", CODE)
    assert home.denied == {}


def test_a_role_that_the_key_may_assume_again_is_noted(home: Home) -> None:
    optional(home)
    home.denied["a"] = KEY
    home.refresh("a")
    assert home.denied == {}


def test_a_native_user_with_a_device_serves_its_roles_likewise(home: Home) -> None:
    home.native("src", Kind.IAM_KEY)
    home.settings["src"] = {"mfa_serial": SERIAL}
    home.plain_keys["src"] = Credentials("AKIAPLAIN", Secret("s"))
    home.role("a", "src")
    home.aws.fail("AssumeRole", denied())
    with pytest.raises(NeedsMfa) as excinfo:
        home.refresh("a")
    assert excinfo.value.hint == "Run: keyturn refresh a --mfa-code CODE", (
        "no session is made for a plain key"
    )
    home.refresh("a", CODE)
    home.refresh("a")
    assert signers(home)[1:] == [
        ("GetSessionToken", "AKIA", CODE), ("AssumeRole", "ASIA", None), ("AssumeRole", "ASIA", None)
    ]  # fmt: skip


def test_a_security_key_of_the_user_shows_no_codes(home: Home) -> None:
    optional(home)
    home.definitions["ci"] = replace(home.definitions["ci"], mfa_serial="arn:aws:iam::1:u2f/user/ci/yubi")
    home.aws.fail("AssumeRole", denied())
    with pytest.raises(AwsRefused):
        home.refresh("a")


def test_a_hop_over_such_a_role_takes_the_code_for_it(home: Home) -> None:
    optional(home)
    home.role("far", "a")
    home.aws.fail("AssumeRole", denied())
    with pytest.raises(NeedsMfa, match="Could not refresh a"):
        home.refresh("far")
    home.refresh("far", CODE)
    assert [call.role for call in home.aws.calls[2:]] == [ARN.format("a"), ARN.format("far")]


# Sessions that AWS ends


def three_hops(home: Home) -> None:
    """Three roles on one another, each with a session."""
    home.user("ci")
    for name, source in (("h1", "ci"), ("h2", "h1"), ("h3", "h2")):
        home.role(name, source)
    home.refresh("h3")
    home.clock.move(MINUTE)
    home.aws.calls.clear()


def hops(home: Home) -> list[str]:
    return [call.role.rpartition("/")[2] for call in home.aws.calls]


ENDED = ["AccessDenied", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"]


@pytest.mark.parametrize("code", ENDED)
def test_a_refused_session_of_a_source_is_made_anew_once(home: Home, code: str) -> None:
    three_hops(home)
    before = home.sessions.kept["h2"]
    home.aws.fail("AssumeRole", denied(code))
    home.refresh("h3")
    assert hops(home) == ["h3", "h2", "h3"]
    assert home.sessions.kept["h2"] != before
    assert home.aws.calls[2].signer == key_of(home.sessions.kept["h2"])
    assert home.denied == {}


@pytest.mark.parametrize("code", ENDED)
def test_refused_sessions_cost_two_calls_for_each_hop(home: Home, code: str) -> None:
    three_hops(home)
    home.aws.fail("AssumeRole", denied(code), denied(code))
    home.refresh("h3")
    assert hops(home) == ["h3", "h2", "h1", "h2", "h3"]


def test_another_refusal_is_not_caused_by_the_session(home: Home) -> None:
    three_hops(home)
    for error in (denied("Throttling"), denied("PackedPolicyTooLarge"), NoResponse("AssumeRole", "x")):
        home.aws.fail("AssumeRole", error)
        with pytest.raises(AwsError):
            home.refresh("h3")
    assert hops(home) == ["h3"] * 3


@pytest.mark.parametrize("code", ENDED)
def test_a_session_that_is_refused_although_it_is_new_is_not_made_anew_again(home: Home, code: str) -> None:
    three_hops(home)
    refuse_role(home, "h3", code)
    for calls in (["h3", "h2", "h3"], ["h3"], ["h3"]):
        home.aws.calls.clear()
        with pytest.raises(AwsRefused, match="not authorized") as excinfo:
            home.refresh("h3")
        assert hops(home) == calls
        assert "keyturn refresh h2" in excinfo.value.line()
    assert home.denied == {"h3": key_of(home.sessions.kept["h2"])}
    home.aws.refused.clear()
    home.refresh("h3")
    assert home.denied == {}


def refuse_role(home: Home, name: str, code: str) -> None:
    """Let AWS refuse a role whoever signs."""
    home.aws.refused[ARN.format(name)] = code


def test_a_source_that_was_just_made_is_not_made_again(home: Home) -> None:
    three_hops(home)
    home.sessions.kept.clear()
    refuse_role(home, "h3", "AccessDenied")
    with pytest.raises(AwsRefused):
        home.refresh("h3")
    assert hops(home) == ["h1", "h2", "h3"]


def test_a_new_session_of_another_process_is_used(home: Home) -> None:
    three_hops(home)
    home.aws.fail("AssumeRole", denied())
    theirs = replace(other_process(home, "h2", got=timedelta(0)))
    seen: list[str] = []

    def interfere(name: str) -> None:
        seen.append(name)
        if seen.count(source_lock_name("h2")) == 2:
            home.sessions.kept["h2"] = theirs

    home.meanwhile = interfere
    home.refresh("h3")
    assert hops(home) == ["h3", "h3"]
    assert home.aws.calls[1].signer == key_of(theirs)


@pytest.mark.parametrize(("code", "is_kept"), [("ExpiredToken", False), ("AccessDenied", True)])
def test_an_ended_session_that_cannot_be_made_anew_is_deleted(home: Home, code: str, is_kept: bool) -> None:
    three_hops(home)
    home.aws.fail("AssumeRole", denied(code), denied(), denied())
    with pytest.raises(AwsRefused, match="of h1"):
        home.refresh("h3")
    assert hops(home) == ["h3", "h2", "h1"]
    assert ("h2" in home.sessions.kept) is is_kept
    assert "h1" in home.sessions.kept, "it was denied only, which may be a missing permission"


def test_a_line_that_is_dead_ends_no_session(home: Home) -> None:
    three_hops(home)
    home.aws.fail("AssumeRole", denied("ExpiredToken"), NoResponse("AssumeRole", "the line went dead"))
    with pytest.raises(NoResponse, match="AssumeRole of h2"):
        home.refresh("h3")
    assert "h2" in home.sessions.kept


@pytest.mark.parametrize(("code", "raised"), [("AccessDenied", AwsRefused), ("ExpiredToken", NeedsMfa)])
def test_a_code_is_asked_for_only_where_the_session_below_has_ended(
    home: Home, code: str, raised: type[Exception]
) -> None:
    staff(home, "a")
    home.role("far", "a")
    home.refresh("far", CODE)
    home.devices.kept.clear()
    home.aws.fail("AssumeRole", denied(code))
    with pytest.raises(raised):
        home.refresh("far")


def test_a_code_is_not_sent_twice_with_a_new_session_of_a_source(home: Home) -> None:
    home.native("sso")
    home.role("ops", "sso", mfa_serial=SERIAL)
    home.need("sso")
    home.aws.fail("AssumeRole", denied())
    with pytest.raises(AwsRefused):
        home.refresh("ops", CODE)
    assert home.aws.count("AssumeRole") == 1


def test_an_ended_session_of_a_sign_in_is_made_anew(home: Home) -> None:
    home.native("sso")
    home.role("ops", "sso")
    home.refresh("ops")
    home.aws.native["sso"] = replace(home.aws.native["sso"], access_key_id="ASIANEW")
    home.aws.calls.clear()
    home.aws.fail("AssumeRole", denied("ExpiredToken"))
    home.refresh("ops")
    assert [(call.action, call.signer) for call in home.aws.calls] == [
        ("AssumeRole", "ASIASSO0000000000000"), ("native", ""), ("AssumeRole", "ASIANEW")
    ]  # fmt: skip


def test_an_ended_mfa_session_is_deleted_for_all_that_have_it(home: Home) -> None:
    home.user("ci", mfa_serial=SERIAL)
    staff(home, "a")
    home.refresh("ci", CODE)
    home.aws.fail("AssumeRole", denied("ExpiredToken"))
    with pytest.raises(NeedsMfa):
        home.refresh("a")
    assert home.devices.kept == {}
    with pytest.raises(NeedsMfa):
        home.refresh("a")
    assert home.aws.count("AssumeRole") == 1


# Locks and time


def test_each_source_has_a_lock_of_its_own(home: Home) -> None:
    staff(home, "a")
    home.native("sso")
    home.role("ops", "sso")
    home.refresh("ops")
    assert [name for name, _ in home.locked] == [source_lock_name("ops"), source_lock_name("sso")]
    home.locked.clear()
    home.refresh("a", CODE)
    names = [name for name, _ in home.locked]
    assert names[0] == source_lock_name("a")
    assert len(set(names)) == 2, "the device has one too"


def test_a_lock_is_waited_for_as_long_as_an_operation_may_take(home: Home) -> None:
    home.user("ci")
    home.refresh("ci")
    (waited,) = [seconds for _, seconds in home.locked]
    assert EXTENDED_SECONDS - 5 < waited <= EXTENDED_SECONDS


class Stopwatch:
    """Replacement of the module `time`: only `monotonic`, moved by hand."""

    def __init__(self) -> None:
        self.elapsed = 100.0

    def monotonic(self) -> float:
        return self.elapsed


def test_waiting_for_another_refresh_leaves_aws_its_own_time(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Stopwatch()
    monkeypatch.setattr(refreshing, "time", watch)

    def wait(_: str) -> None:
        watch.elapsed += 10

    home.meanwhile = wait
    home.user("ci")
    home.refresh("ci")
    (deadline,) = home.aws.deadlines
    assert DEFAULT_SECONDS + 5 < deadline.left() <= DEFAULT_SECONDS + 10 < MAX_SECONDS
    assert "10 s" in deadline.elapsed()


def test_one_operation_has_one_end_however_many_hops_it_takes(home: Home) -> None:
    home.native("sso")
    home.role("ops", "sso")
    home.refresh("ops")
    assert len(set(map(id, home.aws.deadlines))) == 1
    assert len(home.aws.deadlines) > 1


@pytest.mark.parametrize(
    "name", ["ci", "prod/eu", "../../etc", "\0AKIA\0serial", "\udcff", "日本", "x" * 500]
)
def test_the_name_of_a_lock_is_a_file_name_whatever_the_profile_is_called(name: str) -> None:
    found = source_lock_name(name)
    assert found == source_lock_name(name)
    assert found != source_lock_name(name + "x")
    assert found.isascii()
    assert "/" not in found
    assert len(found) < 64
