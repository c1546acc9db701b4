"""The agent's auto-renewal with a real service on the sandbox, under a shifted clock."""

from __future__ import annotations

import pytest

from keyturn.model.profile import Delivery, State, session_state
from keyturn.operations.credentials.auto_renew import AutoRenewal
from tests.core.operations.conftest import Bench

HOUR = 3600.0


@pytest.fixture
def renewal(bench: Bench) -> AutoRenewal:
    bench.adopt("ci-deploy")
    return AutoRenewal(bench.service.context)


def state(bench: Bench, name: str) -> State:
    row = next(row for row in bench.service.snapshot().profiles if row.name == name)
    return session_state(row.session, bench.service.now())


def test_what_clients_ask_for_is_renewed_before_they_would_wait(bench: Bench, renewal: AutoRenewal) -> None:
    bench.service.credential_process("ci-release")
    assert renewal.renew_due() == ()
    for _ in range(5):
        bench.sandbox.move_clock(42 * 60)
        assert renewal.renew_due() == ("ci-release",)
        assert state(bench, "ci-release") is State.FRESH
        assert renewal.renew_due() == ()
    calls = bench.calls("AssumeRole")
    bench.service.credential_process("ci-release")
    assert bench.calls("AssumeRole") == calls == 6


def test_what_is_delivered_is_renewed_in_place(bench: Bench, renewal: AutoRenewal) -> None:
    bench.service.deliver("ci-release", Delivery.CREDENTIALS_FILE)
    before = bench.section("ci-release")
    bench.sandbox.move_clock(42 * 60)
    assert renewal.renew_due() == ("ci-release",)
    after = bench.section("ci-release")
    assert after != before
    assert [line.split("=")[0] for line in after.splitlines()] == [
        line.split("=")[0] for line in before.splitlines()
    ]


def test_what_cannot_be_renewed_is_tried_again_after_a_pause_and_withdrawn_when_it_ends(
    bench: Bench, renewal: AutoRenewal
) -> None:
    bench.service.deliver("ci-release", Delivery.CREDENTIALS_FILE)
    bench.sandbox.move_clock(45 * 60)
    bench.sandbox.faults.order("AssumeRole", "throttle", times=None)
    calls = bench.calls("AssumeRole")
    assert renewal.renew_due() == ()
    attempts = bench.calls("AssumeRole")
    assert attempts > calls
    assert renewal.renew_due() == ()
    assert bench.calls("AssumeRole") == attempts, "not again at once"
    assert bench.section("ci-release"), "what is still valid stays"
    bench.sandbox.move_clock(16 * 60)
    bench.service.withdraw_expired()
    assert not bench.section("ci-release")
    bench.sandbox.faults.clear()
    assert renewal.renew_due() == ("ci-release",)
    assert bench.section("ci-release"), "delivered again as soon as it can be had"


def test_it_stops_at_the_first_thing_that_needs_a_person(bench: Bench) -> None:
    bench.adopt("acme-alice")
    renewing = AutoRenewal(bench.service.context)
    bench.service.refresh("prod-admin", bench.sandbox.totp("alice"))
    bench.service.credential_process("prod-admin")
    bench.sandbox.move_clock(50 * 60)
    assert renewing.renew_due() == ("prod-admin",), "the code is still good for another one"
    bench.sandbox.move_clock(50 * 60)
    assert renewing.renew_due() == (), "this role wants a younger code"
    calls = len(bench.sandbox.calls)
    for _ in range(3):
        assert renewing.renew_due() == ()
        bench.sandbox.move_clock(HOUR)
    assert len(bench.sandbox.calls) == calls


def test_a_role_without_a_device_is_renewed_with_its_users_mfa_session_or_not_at_all(bench: Bench) -> None:
    account = "111122223333"
    arn = f"arn:aws:iam::{account}:role/Adm"
    state = bench.sandbox.state
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }
    state.add_role(account, "Adm", [trust])
    alice = state.user("aws", account, "alice")
    assert alice is not None
    alice.may_assume = (*alice.may_assume, arn)
    with bench.config.open("a") as file:
        file.write(f"\n[profile adm]\nrole_arn = {arn}\nsource_profile = acme-alice\nregion = eu-west-1\n")
    bench.adopt("acme-alice")
    bench.service.set("acme-alice", {"duration_seconds": "1h30m"})
    renewing = AutoRenewal(bench.service.context)
    bench.service.refresh("acme-alice", bench.sandbox.totp("alice"))
    bench.service.credential_process("adm")
    bench.sandbox.move_clock(50 * 60)
    assert "adm" in renewing.renew_due()
    bench.sandbox.move_clock(50 * 60)
    calls = bench.calls("AssumeRole")
    for _ in range(3):
        assert "adm" not in renewing.renew_due()
        bench.sandbox.move_clock(60)
    assert bench.calls("AssumeRole") == calls + 1, "the key is tried once, and denied"
    bench.service.refresh("acme-alice", bench.sandbox.totp("alice"))
    assert "adm" in renewing.renew_due(), "it goes on as soon as there is an MFA session"


def test_a_denied_hop_is_tried_again_with_pauses(bench: Bench) -> None:
    bench.adopt("acme-build")
    renewing = AutoRenewal(bench.service.context)
    bench.service.credential_process("acme-spoke")
    bench.service.credential_process("acme-hub")
    role = bench.sandbox.state.role("arn:aws:iam::777788889999:role/Spoke")
    assert role is not None
    role.trust = ()
    bench.sandbox.move_clock(45 * 60)
    bench.service.refresh("acme-hub")
    bench.sandbox.calls.clear()
    for _ in range(5):
        renewing.renew_due()
    assert bench.calls("AssumeRole") == 3, "one new session of the hub, and none at once afterwards"
    bench.sandbox.move_clock(31)
    renewing.renew_due()
    assert bench.calls("AssumeRole") == 4


def test_a_session_that_was_stopped_stays_stopped(bench: Bench, renewal: AutoRenewal) -> None:
    bench.service.credential_process("ci-release")
    bench.service.stop("ci-release")
    bench.sandbox.move_clock(50 * 60)
    assert renewal.renew_due() == ()
    assert state(bench, "ci-release") is State.NONE


def test_a_clock_that_jumps_renews_what_is_due_then(bench: Bench, renewal: AutoRenewal) -> None:
    bench.service.credential_process("ci-release")
    bench.sandbox.move_clock(-6 * HOUR)
    assert renewal.renew_due() == ()
    bench.sandbox.move_clock(6 * HOUR + 9 * HOUR)
    assert renewal.renew_due() == ("ci-release",)
    assert state(bench, "ci-release") is State.FRESH


def test_what_another_process_just_renewed_is_not_asked_for_again(bench: Bench, renewal: AutoRenewal) -> None:
    bench.service.credential_process("ci-release")
    bench.sandbox.move_clock(45 * 60)
    other = bench.another()
    other.refresh("ci-release")
    calls = bench.calls("AssumeRole")
    assert renewal.renew_due() == ()
    assert bench.calls("AssumeRole") == calls


def test_an_agent_that_goes_withdraws_what_it_delivered(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-release", Delivery.CREDENTIALS_FILE)
    bench.service.deliver("ci-audit", Delivery.CREDENTIALS_FILE, "default")
    assert sorted(bench.service.withdraw_delivered()) == ["ci-audit", "ci-release"]
    assert not bench.section("ci-release")
    assert not bench.section("default")
    assert bench.service.withdraw_delivered() == ()
