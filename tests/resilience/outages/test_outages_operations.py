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
from tests.resilience.outages.conftest import Stricken
from tests.resilience.outages.failures import LONGEST, QUICK, SILENCE, WAYS, Failure
from tests.resilience.outages.outage_assertions import faults_of, kept, secrets_of

#: Expired long ago; and due, but valid for some minutes yet.
EXPIRED, VALID = "ci-audit", "ci-release"


def named(failures: Sequence[Failure]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("failure", failures, ids=[failure.name for failure in failures])


def suffers(stricken: Stricken, failure: Failure, profile: str, act: Callable[[], object]) -> None:
    """Run one operation during one failure."""
    before = kept(stricken.sandbox.folder)
    stricken.suffer(failure)
    stricken.sandbox.calls.clear()
    began = time.monotonic()
    try:
        with pytest.raises(KeyturnError) as caught:
            act()
        took = time.monotonic() - began
        asked = len(stricken.sandbox.calls)
    finally:
        stricken.recover()
    assert faults_of(caught.value, failure.says, secrets_of(stricken.sandbox), profile) == []
    assert caught.value.exit_code == 1
    assert kept(stricken.sandbox.folder) == before
    assert took < LONGEST
    assert asked <= 2, "no storm of tries against a source that says no"


def plays(stricken: Stricken, failure: Failure) -> None:
    """Refresh, request credentials, and request some that are still valid; then recover."""
    keeper = stricken.service
    suffers(stricken, failure, EXPIRED, lambda: keeper.refresh(EXPIRED))
    suffers(stricken, failure, EXPIRED, lambda: keeper.credential_process(EXPIRED))
    if not failure.is_slow:
        stricken.suffer(failure)
        first, again = (json.loads(keeper.credential_process(VALID)) for _ in range(2))
        stricken.recover()
        assert first == again, "what is still valid is served on"
    keeper.refresh(EXPIRED)
    assert json.loads(keeper.credential_process(EXPIRED))["SecretAccessKey"]
    keeper.stop(EXPIRED)


@named((*QUICK, *WAYS))
def test_no_failure_costs_more_than_one_line(stricken: Stricken, failure: Failure) -> None:
    plays(stricken, failure)


def test_as_many_as_that_were_played(record_property: Callable[[str, object], None]) -> None:
    acts = 3 * (len(QUICK) + len(WAYS))
    record_property("bad days: failures of AWS and of the way to it, in acts", f"{acts // 3}, {acts} acts")


@pytest.mark.campaign
@pytest.mark.timeout(300)
@named(SILENCE)
def test_silence_ends(stricken: Stricken, failure: Failure) -> None:
    plays(stricken, failure)


def test_a_full_disk_at_the_moment_of_storing_is_one_line_and_loses_nothing(
    stricken: Stricken, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Failure("disk full", "No space left")
    real, vault = os.write, stricken.sandbox.folder / "keyturn" / "data"

    def refuse(descriptor: int, data: bytes) -> int:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(vault):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    before = kept(stricken.sandbox.folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        with pytest.raises((KeyturnError, OSError)) as caught:
            stricken.service.refresh(EXPIRED)
    assert full.says in str(caught.value)
    after = kept(stricken.sandbox.folder)
    assert {name for name in after if after[name] != before.get(name)} <= {"keyturn/index.json"}
    stricken.service.refresh(EXPIRED)
    stricken.service.stop(EXPIRED)


def test_a_vault_that_was_locked_meanwhile_asks_for_a_person_and_loses_nothing(stricken: Stricken) -> None:
    before = kept(stricken.sandbox.folder)
    stricken.service.lock()
    for act in (stricken.service.refresh, stricken.service.credential_process):
        with pytest.raises(NeedsUnlock) as caught:
            act(EXPIRED)
        assert "keyturn vault unlock" in caught.value.line()
    assert kept(stricken.sandbox.folder) == before
    stricken.service.unlock_here(recovery_key=stricken.recovery_key)
    stricken.service.refresh(EXPIRED)
    stricken.service.stop(EXPIRED)


def test_a_wrong_and_a_used_mfa_code_are_asked_of_aws_once_each(stricken: Stricken) -> None:
    keeper, sandbox = stricken.service, stricken.sandbox
    with pytest.raises(NeedsMfa):
        keeper.refresh("prod-admin")
    good = sandbox.totp("alice")
    wrong = f"{(int(good) + 1) % 1_000_000:06d}"
    before = kept(sandbox.folder)
    for code in (wrong, "000000" if wrong != "000000" else "111111"):
        sandbox.calls.clear()
        with pytest.raises(WrongMfaCode) as caught:
            keeper.refresh("prod-admin", code)
        assert "Wait for the next code" in caught.value.line()
        assert code not in caught.value.line()
        assert len(sandbox.calls) == 1, "a code is spent by each try"
    used = {"keyturn/state/mfa.json"}
    assert {path: digest for path, digest in kept(sandbox.folder).items() if path not in used} == before, (
        "nothing is noted but which codes are used up"
    )
    keeper.refresh("prod-admin", sandbox.totp("alice"))
    sandbox.calls.clear()
    with pytest.raises(WrongMfaCode):
        keeper.refresh("prod-admin", good)
    assert len(sandbox.calls) == 1


def test_a_role_that_was_deleted_and_a_key_that_was_switched_off(stricken: Stricken) -> None:
    world = stricken.sandbox.state
    user = world.user("aws", "444455556666", "ci-deploy")
    assert user is not None
    (key,) = user.keys
    world.set_status(key, "Inactive")
    off = Failure("inactive", "InvalidClientTokenId")
    suffers(stricken, off, EXPIRED, lambda: stricken.service.refresh(EXPIRED))
    world.set_status(key, "Active")
    role = world.role("arn:aws:iam::123412341234:role/audit/Auditor")
    assert role is not None
    trust = role.trust
    world.set_trust(role, [])
    denied = Failure("denied", "AccessDenied")
    suffers(stricken, denied, EXPIRED, lambda: stricken.service.refresh(EXPIRED))
    world.set_trust(role, trust.now if hasattr(trust, "now") else trust)
    stricken.service.refresh(EXPIRED)
    stricken.service.stop(EXPIRED)
