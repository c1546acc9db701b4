"""A change or a stop during a refresh: the session requested before it is neither cached, delivered nor
returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Thread
from typing import Any

import pytest

from keyturn.model.errors import FileChanged
from keyturn.model.profile import Delivery
from keyturn.operations.credentials.session_cache import VaultSessionStore
from tests.core.operations.conftest import Bench

Change = Callable[[], object]


def set_itself(bench: Bench) -> Change:
    return lambda: bench.another().set("acme-hub", {"source_identity": "jo"})


def set_below(bench: Bench) -> Change:
    return lambda: bench.another().set("acme-build", {"mfa_serial": "GAHT12345678"})


def stop(bench: Bench) -> Change:
    return lambda: bench.another().stop("acme-hub")


def run_during_aws_call(bench: Bench, _patch: pytest.MonkeyPatch, operation: Change) -> None:
    """Run `operation` once, during the AWS call for a role."""
    real, left = bench.service.context.aws, [operation]

    def slow(*args: Any, **options: Any) -> Any:
        client = real(*args, **options)
        assume = client.assume_role

        def interfere(*inner: Any) -> Any:
            answer = assume(*inner)
            if left:
                left.pop()()
            return answer

        object.__setattr__(client, "assume_role", interfere)
        return client

    bench.service.context = replace(bench.service.context, aws=slow)


@pytest.mark.parametrize("operation", [set_itself, set_below, stop])
def test_a_refresh_under_way_brings_nothing_back_that_was_ended_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, operation: Callable[[Bench], Change]
) -> None:
    bench.adopt("acme-build")
    bench.service.deliver("acme-hub", Delivery.CREDENTIALS_FILE)
    assert "ASIA" in bench.section("acme-hub")
    run_during_aws_call(bench, monkeypatch, operation(bench))
    with pytest.raises(FileChanged, match=r"during the request to AWS\. Run: keyturn refresh acme-hub"):
        bench.service.refresh("acme-hub")
    _assert_ended(bench)


@pytest.mark.parametrize("operation", [set_itself, set_below, stop])
def test_what_is_ended_between_storing_and_delivering_a_session_stays_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, operation: Callable[[Bench], Change]
) -> None:
    """The other process waits for the lock under which the session is stored and delivered."""
    bench.adopt("acme-build")
    bench.service.deliver("acme-hub", Delivery.CREDENTIALS_FILE)
    other = Thread(target=operation(bench))
    real = VaultSessionStore.put

    def put(self: VaultSessionStore, name: str, fetched: Any) -> None:
        real(self, name, fetched)
        if name == "acme-hub":
            other.start()
            other.join(0.3)
            assert other.is_alive(), "it waits for the lock"

    monkeypatch.setattr(VaultSessionStore, "put", put)
    bench.service.refresh("acme-hub")
    other.join()
    _assert_ended(bench)


def _assert_ended(bench: Bench) -> None:
    assert "ASIA" not in bench.section("acme-hub")
    assert bench.another().context.vault.session("acme-hub") is None
    known = bench.service.context.profile_state("acme-hub")
    assert known.session is None
    assert known.delivered is None


def test_a_client_is_not_served_the_session_that_was_ended_while_it_waited(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("acme-build")
    bench.service.refresh("acme-hub")
    bench.sandbox.move_clock(50 * 60)
    count = bench.calls("AssumeRole")
    run_during_aws_call(bench, monkeypatch, stop(bench))
    with pytest.raises(FileChanged, match="it was stopped during the request to AWS"):
        bench.service.credential_process("acme-hub")
    assert bench.calls("AssumeRole") == count + 1


def test_a_delivery_that_begins_beside_a_stop_leaves_the_old_one_as_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("acme-build")
    before = bench.files(), bench.service.paths.profiles_file.read_bytes()
    run_during_aws_call(bench, monkeypatch, stop(bench))
    with pytest.raises(FileChanged, match="it was stopped during the request to AWS"):
        bench.service.deliver("acme-hub", Delivery.CREDENTIALS_FILE)
    assert (bench.files(), bench.service.paths.profiles_file.read_bytes()) == before


def test_after_a_stop_the_next_refresh_works_even_if_the_clock_was_set_back(bench: Bench) -> None:
    bench.adopt("acme-build")
    bench.service.deliver("acme-hub", Delivery.CREDENTIALS_FILE)
    for seconds in (0, 60, -3600):
        bench.service.stop("acme-hub")
        bench.sandbox.move_clock(seconds)
        first = bench.service.refresh("acme-hub").session.key_id
        assert first in bench.section("acme-hub")
        assert bench.service.credential_process("acme-hub").count(first) == 1
