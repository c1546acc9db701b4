"""Sessions from a caller's own endpoint or CA bundle are kept apart from what others get."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyturn.aws.api import IssuedCredentials
from keyturn.model.errors import AwsError, ChangeRefused
from keyturn.model.profile import Credentials, Delivery
from keyturn.model.secret import Secret
from keyturn.operations.context import Context
from keyturn.operations.credentials import refresh, session_cache
from keyturn.operations.credentials.caller_sessions import CallerSessions
from keyturn.operations.rotation.key_signer import KeySigner
from keyturn.providers.base import FetchedSession, MfaDevice
from keyturn.system.caller_environment import CallerEnvironment
from tests.core.operations.conftest import Bench

NOW = datetime.now(UTC)
KEY = Credentials("AKIAIOSFODNN7EXAMPLE", Secret("s" * 40))
DEVICE = MfaDevice(KEY, "arn:aws:iam::111122223333:mfa/alice")


def session(key_id: str = "ASIAEXAMPLE", *, obtained: datetime = NOW) -> FetchedSession:
    credentials = Credentials(key_id, Secret("s"), Secret("t"), NOW + timedelta(hours=8))
    return FetchedSession(IssuedCredentials(credentials), obtained, obtained, "made")


def foreign(context: Context, url: str = "http://127.0.0.1:1") -> Context:
    """Return the context of a caller whose `.envrc` names an endpoint."""
    own = CallerEnvironment.of(context.environ).variables
    return context.for_caller(CallerEnvironment({**own, "AWS_ENDPOINT_URL_STS": url}))


def test_only_the_newest_sessions_are_kept() -> None:
    sessions = CallerSessions(limit=2)
    for name in ("a", "b", "a", "c"):
        sessions.put("host", name, session(name))
    assert [sessions.get("host", name) is not None for name in ("a", "b", "c")] == [True, False, True]
    assert sessions.get("another", "a") is None
    assert "ASIA" not in repr(sessions)


def test_an_equal_environment_is_the_agents_own(bench: Bench) -> None:
    context = bench.service.context
    assert context.for_caller(CallerEnvironment.of(context.environ)) is context
    assert context.for_caller(None) is context


def test_a_region_or_proxy_makes_no_caller_foreign(bench: Bench) -> None:
    context = bench.service.context
    own = CallerEnvironment.of(context.environ).variables
    other = context.for_caller(
        CallerEnvironment({**own, "AWS_DEFAULT_REGION": "eu-north-1", "HTTPS_PROXY": "http://127.0.0.1:1"})
    )
    assert other is not context
    assert other.foreign_names == ()
    assert other.host_fingerprint == context.host_fingerprint


def test_neither_sees_the_others_session(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    context = bench.service.context
    bench.service.refresh("ci-deploy")
    caller = foreign(context)
    store = session_cache.CallerSessionStore(caller)
    assert session_cache.refresher(caller, caller.read()).cached("ci-deploy") is None
    store.put("ci-deploy", session())
    assert store.get("ci-deploy") is not None
    assert session_cache.CallerSessionStore(foreign(context, "http://127.0.0.1:2")).get("ci-deploy") is None
    own = session_cache.refresher(context, context.read()).cached("ci-deploy")
    assert own is not None
    assert own.issued.credentials.access_key_id != "ASIAEXAMPLE"


def test_a_stop_ends_a_callers_session_too(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    caller = foreign(bench.service.context)
    store = session_cache.CallerSessionStore(caller)
    store.put("ci-deploy", session(obtained=caller.clock()))
    bench.service.stop("ci-deploy")
    assert store.get("ci-deploy") is None


def test_mfa_sessions_are_kept_apart_and_end_with_a_stop(bench: Bench) -> None:
    context = bench.service.context
    caller = foreign(context)
    store = session_cache.CallerMfaSessionStore(caller, caller.read())
    store.put(DEVICE, session())
    assert store.get(DEVICE) is not None
    assert session_cache.VaultMfaSessionStore(context, context.read()).get(DEVICE) is None
    context.index.change(lambda index: session_cache.end_mfa_sessions(index, DEVICE.serial))
    assert store.get(DEVICE) is None


def test_an_mfa_session_serves_the_endpoint_that_issued_it_only(bench: Bench) -> None:
    context = bench.service.context
    session_cache.VaultMfaSessionStore(context, context.read()).put(DEVICE, session())
    assert session_cache.VaultMfaSessionStore(context, context.read()).get(DEVICE) is not None
    elsewhere = replace(context, environ={**context.environ, "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"})
    assert session_cache.VaultMfaSessionStore(elsewhere, elsewhere.read()).get(DEVICE) is None


def test_a_session_serves_the_endpoint_that_issued_it_only(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.refresh("ci-deploy")
    context = bench.service.context
    elsewhere = replace(context, environ={**context.environ, "AWS_CA_BUNDLE": "/elsewhere.pem"})
    assert session_cache.refresher(context, context.read()).cached("ci-deploy") is not None
    assert session_cache.refresher(elsewhere, elsewhere.read()).cached("ci-deploy") is None


def test_what_a_callers_endpoint_answers_is_not_recorded(bench: Bench) -> None:
    bench.adopt("ci-deploy", "acme-alice")
    caller = foreign(bench.service.context)
    before = caller.index.load()
    with pytest.raises(AwsError):
        refresh.refresh(caller, "ci-deploy")
    sources = session_cache.refresher(caller, caller.read()).sources
    sources.record_accepted_duration("ci-deploy", 900)
    sources.codes.record_refusal("acme-alice", DEVICE.serial)
    sources.codes.record_session_token_refusal(DEVICE.serial)
    assert not sources.codes.refuses_session_tokens(DEVICE.serial)
    assert not caller.paths.mfa_file.exists()
    after = caller.index.load()
    assert after.of("ci-deploy").failure is None
    assert after.of("ci-deploy").accepted_seconds is None
    assert after.keys == before.keys


def test_neither_a_shared_file_nor_a_rotation_depends_on_it(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    caller = foreign(bench.service.context)
    with pytest.raises(ChangeRefused):
        refresh.refresh(caller, "ci-deploy")
    with pytest.raises(ChangeRefused):
        KeySigner(caller, "ci-deploy").aws()
