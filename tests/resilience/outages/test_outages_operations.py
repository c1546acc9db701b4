"""A failed operation ends with one helpful line, nothing is lost, and valid sessions are still served."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from keyturn.model.errors import KeyturnError, NeedsMfa, NeedsUnlock, WrongMfaCode
from tests.resilience.outages.conftest import OutageMachine
from tests.resilience.outages.failures import LONGEST, QUICK, SILENCE, WAYS, Failure
from tests.resilience.outages.outage_assertions import digests_of, faults_of, secrets_of

#: Expired long ago; and due, but valid for some minutes yet.
EXPIRED, VALID = "ci-audit", "ci-release"


def named(failures: Sequence[Failure]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("failure", failures, ids=[failure.name for failure in failures])


def check_operation(
    machine: OutageMachine, failure: Failure, profile: str, operation: Callable[[], object]
) -> None:
    """Run one operation during one failure."""
    before = digests_of(machine.sandbox.folder)
    machine.start_failure(failure)
    machine.sandbox.calls.clear()
    began = time.monotonic()
    try:
        with pytest.raises(KeyturnError) as error_info:
            operation()
        elapsed = time.monotonic() - began
        failed_before = len(machine.sandbox.calls)
    finally:
        machine.end_failure()
    assert faults_of(error_info.value, failure.says, secrets_of(machine.sandbox), profile) == []
    assert error_info.value.exit_code == 1
    assert digests_of(machine.sandbox.folder) == before
    assert elapsed < LONGEST
    assert failed_before <= 2, "no storm of tries against a source that says no"


def check_failure(machine: OutageMachine, failure: Failure) -> None:
    """Refresh, request credentials, and request some that are still valid; then recover."""
    service = machine.service
    check_operation(machine, failure, EXPIRED, lambda: service.refresh(EXPIRED))
    check_operation(machine, failure, EXPIRED, lambda: service.credential_process(EXPIRED))
    if not failure.is_slow:
        machine.start_failure(failure)
        first, again = (json.loads(service.credential_process(VALID)) for _ in range(2))
        machine.end_failure()
        assert first == again, "what is still valid is served on"
    service.refresh(EXPIRED)
    assert json.loads(service.credential_process(EXPIRED))["SecretAccessKey"]
    service.stop(EXPIRED)


@named((*QUICK, *WAYS)[::4])
def test_a_failure_costs_no_more_than_one_line(machine: OutageMachine, failure: Failure) -> None:
    check_failure(machine, failure)


@pytest.mark.campaign
@named((*QUICK, *WAYS))
def test_no_failure_costs_more_than_one_line(machine: OutageMachine, failure: Failure) -> None:
    check_failure(machine, failure)


@pytest.mark.campaign
def test_as_many_as_that_were_played(record_property: Callable[[str, object], None]) -> None:
    operations = 3 * (len(QUICK) + len(WAYS))
    record_property(
        "bad days: failures of AWS and of the way to it, in operations",
        f"{operations // 3}, {operations} operations",
    )


@pytest.mark.campaign
@pytest.mark.timeout(300)
@named(SILENCE)
def test_silence_ends(machine: OutageMachine, failure: Failure) -> None:
    check_failure(machine, failure)


def test_a_full_disk_at_the_moment_of_storing_is_one_line_and_loses_nothing(
    machine: OutageMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Failure("disk full", "No space left")
    real, vault = os.write, machine.sandbox.folder / "keyturn" / "data"

    def refuse(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(vault):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    before = digests_of(machine.sandbox.folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        with pytest.raises((KeyturnError, OSError)) as error_info:
            machine.service.refresh(EXPIRED)
    assert full.says in str(error_info.value)
    after = digests_of(machine.sandbox.folder)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"keyturn/index.json", "keyturn/data/vault/lock"}
    machine.service.refresh(EXPIRED)
    machine.service.stop(EXPIRED)


def test_a_vault_that_was_locked_meanwhile_asks_for_a_person_and_loses_nothing(
    machine: OutageMachine,
) -> None:
    before = digests_of(machine.sandbox.folder)
    machine.service.lock()
    for operation in (machine.service.refresh, machine.service.credential_process):
        with pytest.raises(NeedsUnlock) as error_info:
            operation(EXPIRED)
        assert "keyturn vault unlock" in error_info.value.line()
    assert digests_of(machine.sandbox.folder) == before
    machine.service.unlock_here(recovery_key=machine.recovery_key)
    machine.service.refresh(EXPIRED)
    machine.service.stop(EXPIRED)


def test_a_wrong_and_a_used_mfa_code_are_asked_of_aws_once_each(machine: OutageMachine) -> None:
    service, sandbox = machine.service, machine.sandbox
    with pytest.raises(NeedsMfa):
        service.refresh("prod-admin")
    good = sandbox.totp("alice")
    wrong = f"{(int(good) + 1) % 1_000_000:06d}"
    before = digests_of(sandbox.folder)
    for code in (wrong, "000000" if wrong != "000000" else "111111"):
        sandbox.calls.clear()
        with pytest.raises(WrongMfaCode) as error_info:
            service.refresh("prod-admin", code)
        assert "Wait for the next code" in error_info.value.line()
        assert code not in error_info.value.line()
        assert len(sandbox.calls) == 1, "a code is spent by each try"
    used = {"keyturn/state/mfa.json"}
    assert {
        path: digest for path, digest in digests_of(sandbox.folder).items() if path not in used
    } == before, "nothing is noted but which codes are used up"
    service.refresh("prod-admin", sandbox.totp("alice"))
    sandbox.calls.clear()
    with pytest.raises(WrongMfaCode):
        service.refresh("prod-admin", good)
    assert len(sandbox.calls) == 1


def test_a_role_that_was_deleted_and_a_key_that_was_switched_off(machine: OutageMachine) -> None:
    world = machine.sandbox.state
    user = world.user("aws", "444455556666", "ci-deploy")
    assert user is not None
    (key,) = user.keys
    world.set_status(key, "Inactive")
    off = Failure("inactive", "InvalidClientTokenId")
    check_operation(machine, off, EXPIRED, lambda: machine.service.refresh(EXPIRED))
    world.set_status(key, "Active")
    role = world.role("arn:aws:iam::123412341234:role/audit/Auditor")
    assert role is not None
    trust = role.trust
    world.set_trust(role, [])
    denied = Failure("denied", "AccessDenied")
    check_operation(machine, denied, EXPIRED, lambda: machine.service.refresh(EXPIRED))
    world.set_trust(role, trust.now if hasattr(trust, "now") else trust)
    machine.service.refresh(EXPIRED)
    machine.service.stop(EXPIRED)
