"""One MFA code serves all profiles of a user: every role, and renewals for hours, until the user ends it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from keyturn.model.errors import AwsRefused, FileChanged, NeedsMfa, WrongMfaCode
from keyturn.model.profile import Profile
from keyturn.service import CredentialService
from tests.core.operations.conftest import Bench
from tests.core.providers.test_roles_mfa_command import choose, sandbox_command
from tests.core.vault.vault_user import session_names

DEV = "111122223333"
ALICE = f"arn:aws:iam::{DEV}:mfa/alice"
HOUR = 3600
ROLES = ("ops", "billing", "long")
PROFILES = "".join(
    f"""
[profile {name}]
role_arn = arn:aws:iam::{DEV}:role/{name.title()}
source_profile = acme-alice
mfa_serial = {ALICE}
region = eu-west-1
"""
    for name in ROLES
)


@pytest.fixture
def alice(bench: Bench) -> Bench:
    """Alice's key in the vault, and three roles of hers that require MFA."""
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{DEV}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }
    arns = tuple(f"arn:aws:iam::{DEV}:role/{name.title()}" for name in ROLES)
    for name in ROLES:
        bench.sandbox.state.add_role(DEV, name.title(), [trust], max_session=43200)
    user = bench.sandbox.state.user("aws", DEV, "alice")
    assert user is not None
    user.may_assume = (*user.may_assume, *arns)
    bench.config.write_text(bench.config.read_text() + PROFILES)
    bench.adopt("acme-alice", "prod-admin", *ROLES)
    return bench


def row(service: CredentialService, name: str) -> Profile:
    return next(each for each in service.snapshot().profiles if each.name == name)


def code(bench: Bench) -> str:
    bench.sandbox.move_clock(30)
    return bench.sandbox.totp("alice")


def session_lifetime(bench: Bench, name: str) -> timedelta:
    session = row(bench.service, name).session
    assert session is not None
    assert session.expires is not None
    return session.expires - bench.service.now()


def sts_calls(bench: Bench) -> tuple[int, int]:
    return bench.calls("GetSessionToken"), bench.calls("AssumeRole")


def test_one_code_serves_every_role_and_the_user_for_hours(alice: Bench) -> None:
    service = alice.service
    assert all(row(service, name).needs_person for name in ("acme-alice", "prod-admin", *ROLES))
    with pytest.raises(NeedsMfa):
        service.refresh("ops")
    service.refresh("ops", code(alice))
    assert sts_calls(alice) == (1, 1)
    assert not any(row(service, name).needs_person for name in ("acme-alice", "prod-admin", *ROLES))
    service.refresh("billing")
    service.refresh("prod-admin")
    assert json.loads(service.credential_process("long"))["SessionToken"]
    assert sts_calls(alice) == (1, 4)
    assert json.loads(service.credential_process("acme-alice"))["SessionToken"]
    assert sts_calls(alice) == (1, 4), "the user's own session is the one that the code was given for"
    for _ in range(11):
        alice.sandbox.move_clock(HOUR)
        service.refresh("ops")
        assert session_lifetime(alice, "ops") > timedelta(minutes=59)
    alice.sandbox.move_clock(HOUR)
    assert row(service, "ops").needs_person
    with pytest.raises(NeedsMfa):
        service.refresh("ops")
    refused = [call for call in alice.sandbox.calls if call.error]
    assert not [call for call in refused if call.action in ("AssumeRole", "GetSessionToken")]


def test_a_code_serves_the_profiles_with_the_same_mfa_session(alice: Bench) -> None:
    service = alice.service
    service.set("long", {"duration_seconds": "4h"})
    for first in ("ops", "acme-alice"):
        for name in ("ops", "acme-alice"):
            service.stop(name)
        service.refresh(first, code(alice))
        session = row(service, first).mfa_session
        assert session is not None
        served = {each.name for each in service.snapshot().profiles if each.mfa_session == session} - {first}
        assert served == {"acme-alice", "prod-admin", "ops", "billing"} - {first}
        for name in sorted(served):
            service.refresh(name)
        assert row(service, "long").mfa_session is None, "it may need a code for AssumeRole itself"


def test_a_code_for_a_longer_role_session_serves_no_other_profile(alice: Bench) -> None:
    alice.service.set("long", {"duration_seconds": "4h"})
    alice.service.refresh("long", code(alice))
    for name in ("acme-alice", "ops"):
        with pytest.raises(NeedsMfa):
            alice.service.refresh(name)


def test_the_user_is_asked_for_a_newer_session_than_the_one_it_has(alice: Bench) -> None:
    alice.service.refresh("acme-alice", code(alice))
    with pytest.raises(NeedsMfa):
        alice.service.refresh("acme-alice")
    alice.service.refresh("ops", code(alice))
    alice.service.refresh("acme-alice")
    assert sts_calls(alice) == (2, 1), "the session of the second code serves the user, too"


def test_the_users_own_code_serves_the_roles(alice: Bench) -> None:
    alice.service.refresh("acme-alice", code(alice))
    alice.service.refresh("ops")
    assert sts_calls(alice) == (1, 1)
    with pytest.raises(NeedsMfa):
        alice.service.refresh("acme-alice")


def test_a_code_that_has_become_too_old_for_a_role_is_asked_for_anew(alice: Bench) -> None:
    """The role's trust policy requires `aws:MultiFactorAuthAge` below an hour."""
    service = alice.service
    service.refresh("prod-admin", code(alice))
    alice.sandbox.move_clock(HOUR + 60)
    with pytest.raises(NeedsMfa):
        service.refresh("prod-admin")
    service.refresh("ops")
    service.refresh("prod-admin", code(alice))
    assert session_lifetime(alice, "prod-admin") > timedelta(minutes=59)


def test_a_role_that_nobody_may_assume_says_so_after_a_code(alice: Bench) -> None:
    alice.service.refresh("ops", code(alice))
    trust: dict[str, object] = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    role = alice.sandbox.state.role(f"arn:aws:iam::{DEV}:role/Billing")
    assert role is not None
    role.trust = (trust,)
    with pytest.raises(AwsRefused, match=r"AccessDenied|not authorized"):
        alice.service.refresh("billing")
    alice.sandbox.move_clock(20 * 60)
    with pytest.raises(NeedsMfa):
        alice.service.refresh("billing")
    with pytest.raises(AwsRefused, match=r"AccessDenied|not authorized"):
        alice.service.refresh("billing", code(alice))


def test_a_longer_session_than_an_hour_takes_a_code_of_its_own(alice: Bench) -> None:
    service = alice.service
    service.set("long", {"duration_seconds": "4h"})
    service.refresh("long", code(alice))
    assert sts_calls(alice) == (0, 1)
    assert session_lifetime(alice, "long") > timedelta(hours=3, minutes=59)
    with pytest.raises(NeedsMfa):
        service.refresh("ops")
    service.refresh("ops", code(alice))
    assert row(service, "long").needs_person, "an hour must not take the place of four"
    with pytest.raises(NeedsMfa):
        service.refresh("long")
    alice.sandbox.move_clock(4 * HOUR + 60)
    assert json.loads(service.credential_process("long"))["SessionToken"], "an hour is better than nothing"
    assert timedelta(minutes=59) < session_lifetime(alice, "long") <= timedelta(hours=1)


@pytest.mark.parametrize("is_open", [True, False])
def test_a_person_ends_it_with_the_session(alice: Bench, *, is_open: bool) -> None:
    service = alice.service
    service.refresh("ops", code(alice))
    service.refresh("billing")
    if not is_open:
        service.lock()
    service.stop("ops")
    assert row(service, "billing").needs_person
    if not is_open:
        service.unlock_here(recovery_key=alice.recovery_key)
    for name in ("ops", "billing"):
        with pytest.raises(NeedsMfa):
            service.refresh(name)
    service.refresh("billing", code(alice))
    service.refresh("ops")


def test_it_goes_with_the_key(alice: Bench) -> None:
    alice.service.refresh("ops", code(alice))
    alice.release("acme-alice", "prod-admin", *ROLES)
    alice.adopt("acme-alice", "prod-admin", *ROLES)
    assert row(alice.service, "ops").needs_person
    with pytest.raises(NeedsMfa):
        alice.service.refresh("ops")


def test_the_agent_renews_by_it_and_stops_where_it_ends(alice: Bench) -> None:
    service = alice.service
    service.refresh("ops", code(alice))
    service.credential_process("ops")
    renewed = 0
    for _ in range(11 * 12):
        alice.sandbox.move_clock(HOUR / 12)
        renewed += len(service.renew_due())
        assert session_lifetime(alice, "ops") >= timedelta(minutes=14)
    assert sts_calls(alice) == (1, 1 + renewed)
    assert 11 <= renewed <= 18
    alice.sandbox.move_clock(HOUR)
    assert service.renew_due() == ()
    assert row(service, "ops").needs_person
    assert sts_calls(alice) == (1, 1 + renewed)


def test_where_aws_gives_the_user_no_session_the_codes_go_to_the_roles(alice: Bench) -> None:
    service = alice.service
    alice.sandbox.faults.refuse("GetSessionToken", "AccessDenied", "an explicit deny", status=403)
    with pytest.raises(NeedsMfa, match="AWS denied its user a session with MFA"):
        service.refresh("ops", code(alice))
    for name in ("ops", "billing"):
        with pytest.raises(NeedsMfa):
            service.refresh(name)
        service.refresh(name, code(alice))
    assert sts_calls(alice) == (1, 2)


def test_many_at_once_on_cold_profiles_use_one_code(alice: Bench) -> None:
    choose(alice.service.paths.config_dir, sandbox_command(alice.sandbox.folder))
    keepers = [alice.another() for _ in range(5)]

    def get(nth: int) -> str:
        return str(
            json.loads(keepers[nth % 5].credential_process(("ops", "billing")[nth % 2]))["AccessKeyId"]
        )

    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(get, range(20)))
    assert len(set(found)) == 2
    assert sts_calls(alice) == (1, 2)


def test_a_cache_that_cannot_be_written_costs_a_code_and_nothing_else(
    alice: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_change: object) -> None:
        raise OSError(28, "No space left on device")

    given = code(alice)
    monkeypatch.setattr(alice.service.context.vault, "change_sessions", refuse)
    with pytest.raises(OSError, match="No space left"):
        alice.service.refresh("ops", given)
    monkeypatch.undo()
    assert session_names(alice.another().context.vault) == ()


def test_a_wrong_code_is_said_to_be_one_and_changes_nothing(alice: Bench) -> None:
    with pytest.raises(WrongMfaCode):
        alice.service.refresh("ops", "000000")
    alice.service.refresh("ops", code(alice))
    alice.service.refresh("billing")


def test_a_stop_while_the_code_is_on_its_way_ends_what_it_brings(alice: Bench) -> None:
    given, another = code(alice), alice.another()  # before AWS is asked, because that takes a while
    alice.sandbox.faults.order("GetSessionToken", "slow", seconds=2.5)
    with ThreadPoolExecutor(1) as pool:
        refreshing = pool.submit(alice.service.refresh, "ops", given)
        while not alice.calls("GetSessionToken"):
            time.sleep(0.01)
        another.stop("ops")
        with pytest.raises(FileChanged):
            refreshing.result()
    for name in ("ops", "billing"):
        with pytest.raises(NeedsMfa):
            alice.service.refresh(name)


@pytest.mark.parametrize("after", ["clock", "index", "release", "setting"])
def test_a_stop_holds_whatever_happens_before_the_vault_is_open_again(alice: Bench, after: str) -> None:
    service = alice.service
    service.refresh("ops", code(alice))
    service.lock()
    if after == "clock":
        alice.sandbox.move_clock(-120)
    service.stop("ops")
    if after == "index":
        service.paths.index_file.unlink()
    if after == "setting":
        service.set("ops", {"mfa_serial": ""})
    service.unlock_here(recovery_key=alice.recovery_key)
    if after == "release":
        alice.release("ops")
    with pytest.raises(NeedsMfa):
        service.refresh("billing")


def test_another_setting_of_one_role_costs_the_others_no_code(alice: Bench) -> None:
    alice.service.refresh("ops", code(alice))
    alice.service.set("ops", {"role_session_name": "other"})
    alice.service.refresh("ops")
    alice.service.refresh("billing")


def test_a_shorter_one_does_not_take_the_place_of_a_longer(alice: Bench) -> None:
    service = alice.service
    service.refresh("ops", code(alice))
    service.set("acme-alice", {"duration_seconds": "15m"})
    service.refresh("acme-alice", code(alice))
    alice.sandbox.move_clock(HOUR)
    service.refresh("ops")


def test_a_session_that_aws_takes_for_ended_is_a_question_again(alice: Bench) -> None:
    alice.service.refresh("ops", code(alice))
    alice.sandbox.faults.refuse("AssumeRole", "ExpiredToken", status=403)
    with pytest.raises(NeedsMfa):
        alice.service.refresh("billing")
    assert row(alice.service, "ops").needs_person, "the ended session is deleted"


def test_an_ended_mfa_session_is_no_session_of_its_user_either(alice: Bench) -> None:
    alice.service.refresh("acme-alice", code(alice))
    alice.service.refresh("ops")
    alice.sandbox.faults.refuse("AssumeRole", "ExpiredToken", status=403)
    with pytest.raises(NeedsMfa):
        alice.service.refresh("billing")
    assert row(alice.service, "acme-alice").session is None
    assert row(alice.service, "ops").session is not None
    with pytest.raises(NeedsMfa):
        alice.service.credential_process("acme-alice")


def test_a_rotation_replaces_an_ended_mfa_session(alice: Bench) -> None:
    user = alice.sandbox.state.user("aws", DEV, "alice")
    assert user is not None
    user.iam_needs_mfa = True
    alice.service.refresh("acme-alice", code(alice))
    alice.sandbox.state.end_sessions(user)
    with pytest.raises(NeedsMfa):
        alice.service.rotation.start("acme-alice")
    alice.service.rotation.start("acme-alice", code(alice))
