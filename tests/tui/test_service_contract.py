"""The promises of the service that the app relies on, over the real service and over its double in memory.

The same body runs over both: the same class of error, the same form of result, the same effect on the next
snapshot. Where the two differ, the double is wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from keyturn.model.errors import (
    AgentUnavailable,
    AwsRefused,
    FileChanged,
    KeyringAbsent,
    KeyturnError,
    NeedsConfirmation,
    NeedsMfa,
    NeedsUnlock,
    NeedsVault,
    NotFound,
    RotationHalted,
    Unreachable,
    UsageError,
    VaultCorrupt,
    VaultExists,
    WrongMfaCode,
    WrongPassphrase,
)
from keyturn.model.profile import Delivery, Renew, RotationState, Session, State, VaultState, state_of
from keyturn.model.secret import Secret
from keyturn.operations.rotation.delete_key import Obstacle
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import GRACE_PERIOD, Step
from keyturn.operations.rotation.rotation_client import RotationClient
from keyturn.service import CredentialService
from keyturn_tui.workers import RotationPort, ServicePort
from tests.tui.memory_rotation import MemoryRotation
from tests.tui.memory_service import PASSPHRASE, MemoryService
from tests.tui.service_worlds import (
    BROKEN,
    KEY,
    MFA_KEY,
    MFA_ROLE,
    NATIVE_ROLE,
    PLAINTEXT,
    PLAINTEXT_SOURCE,
    PROCESS,
    ROLE,
    TEMPORARY,
    UNKNOWN,
    MemoryWorld,
    RealWorld,
    World,
    sandboxed,
)

RIGHT, WRONG = Secret(PASSPHRASE), Secret("three other words")
IN_USE = (KEY, "ci-release", ROLE)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealWorld]:
    with sandboxed(tmp_path_factory.mktemp("contract") / "sandbox") as world:
        yield world


@pytest.fixture(params=["real", "memory"])
def world(request: pytest.FixtureRequest, real: RealWorld) -> World:
    worlds: dict[str, World] = {"real": real, "memory": MemoryWorld(real)}
    return worlds[request.param]


@pytest.fixture
def fresh(world: World) -> World:
    """Return a world without a vault."""
    world.begin(VaultState.ABSENT)
    return world


@pytest.fixture
def opened(world: World) -> World:
    """Return a world with an open vault and managed profiles."""
    world.begin(VaultState.OPEN)
    return world


@pytest.fixture
def locked(world: World) -> World:
    """Return a world with a locked vault and managed profiles."""
    world.begin(VaultState.LOCKED)
    return world


def is_same(session: Session | None, shown: Session | None) -> bool:
    """Return True if a snapshot shows a session that an operation returned; the index keeps whole seconds."""
    assert session is not None
    return shown is not None and (session.key_id, session.expires) == (shown.key_id, shown.expires)


def fails(expected: type[KeyturnError], run: Callable[[], object]) -> KeyturnError:
    """Assert that a call raises exactly this class, because the app decides by it, and return the error."""
    with pytest.raises(KeyturnError) as caught:
        run()
    assert type(caught.value) is expected, repr(caught.value)
    return caught.value


# The snapshot.


def test_a_snapshot_has_a_number_of_its_own_and_nothing_has_changed_since(opened: World) -> None:
    first, second = opened.service.snapshot(), opened.service.snapshot()
    assert second.generation >= first.generation
    assert first.profiles == second.profiles
    assert not opened.service.has_changed()


def test_a_change_by_another_program_is_noticed_once(opened: World) -> None:
    opened.service.snapshot()
    opened.change_files()
    assert opened.service.has_changed()
    opened.service.snapshot()
    assert not opened.service.has_changed()


@pytest.mark.parametrize("state", [VaultState.ABSENT, VaultState.LOCKED, VaultState.OPEN])
def test_a_snapshot_tells_the_state_of_the_vault_and_lists_every_profile(
    world: World, state: VaultState
) -> None:
    world.begin(state)
    snapshot = world.service.snapshot()
    assert snapshot.vault is state
    assert {KEY, ROLE, MFA_KEY, PLAINTEXT, TEMPORARY, PROCESS, BROKEN} <= {
        row.name for row in snapshot.profiles
    }
    assert snapshot.recovery_key_seen
    assert not snapshot.paused
    assert world.row(KEY).managed == (state is not VaultState.ABSENT)
    assert world.row(KEY).plaintext_key == (state is VaultState.ABSENT)


# Refresh.


def test_a_refresh_gives_a_new_session_that_the_next_snapshot_has(opened: World) -> None:
    done = opened.service.refresh(KEY)
    row = opened.row(KEY)
    assert (done.profile, done.delivered) == (KEY, Delivery.CREDENTIAL_PROCESS)
    assert is_same(done.session, row.session)
    assert row.failure is None
    assert state_of(row, VaultState.OPEN, opened.service.now()) is State.FRESH
    assert opened.service.refresh(KEY).session.key_id != done.session.key_id


def test_an_expired_session_is_shown_as_such_and_can_be_refreshed(opened: World) -> None:
    opened.service.refresh(ROLE)
    opened.wait(timedelta(hours=2))
    assert state_of(opened.row(ROLE), VaultState.OPEN, opened.service.now()) is State.EXPIRED
    opened.service.refresh(ROLE)
    assert state_of(opened.row(ROLE), VaultState.OPEN, opened.service.now()) is State.FRESH


def test_a_native_role_is_refreshed_without_being_delivered(opened: World) -> None:
    done = opened.service.refresh(NATIVE_ROLE)
    assert done.delivered is Delivery.NATIVE
    assert is_same(done.session, opened.row(NATIVE_ROLE).session)
    assert not opened.row(NATIVE_ROLE).managed


@pytest.mark.parametrize("name", [PLAINTEXT, TEMPORARY, BROKEN])
@pytest.mark.parametrize("state", [VaultState.ABSENT, VaultState.LOCKED, VaultState.OPEN])
def test_what_has_no_sessions_is_refused_before_a_vault_is_asked_for(
    world: World, name: str, state: VaultState
) -> None:
    world.begin(state)
    before = world.row(name)
    fails(KeyturnError, lambda: world.service.refresh(name))
    assert world.row(name) == before
    fails(NotFound, lambda: world.service.refresh(UNKNOWN))


def test_a_code_is_asked_for_with_the_device_and_works_once(opened: World) -> None:
    need = fails(NeedsMfa, lambda: opened.service.refresh(MFA_KEY))
    assert isinstance(need, NeedsMfa)
    assert (need.profile, need.serial) == (MFA_KEY, opened.row(MFA_KEY).mfa_serial)
    fails(WrongMfaCode, lambda: opened.service.refresh(MFA_KEY, "000000"))
    assert (opened.row(MFA_KEY).failure, opened.row(MFA_KEY).session) == (None, None)
    code = opened.unused_code()
    done = opened.service.refresh(MFA_KEY, code)
    assert is_same(done.session, opened.row(MFA_KEY).session)
    fails(WrongMfaCode, lambda: opened.service.refresh(MFA_KEY, code))
    assert is_same(done.session, opened.row(MFA_KEY).session)


@pytest.mark.parametrize(("fault", "kind"), [("refuse", AwsRefused), ("disconnect", Unreachable)])
def test_a_failure_of_aws_stays_in_the_row_until_the_next_success(
    opened: World, fault: str, kind: type[KeyturnError]
) -> None:
    session = opened.service.refresh(KEY).session
    getattr(opened, fault)(KEY)
    with pytest.raises(kind) as caught:
        opened.service.refresh(KEY)
    failure = opened.row(KEY).failure
    assert failure is not None
    assert failure.line == caught.value.line()
    assert is_same(session, opened.row(KEY).session), "the delivered session stays"
    opened.reconnect()
    opened.service.refresh(KEY)
    assert opened.row(KEY).failure is None


@pytest.mark.parametrize("name", [KEY, ROLE, MFA_KEY])
def test_a_locked_vault_is_to_be_unlocked_first(locked: World, name: str) -> None:
    before = locked.row(name)
    fails(NeedsUnlock, lambda: locked.service.refresh(name))
    assert locked.row(name) == before


def test_without_a_vault_one_is_to_be_created_first(fresh: World) -> None:
    for name in (NATIVE_ROLE, MFA_ROLE):
        fails(NeedsVault, lambda name=name: fresh.service.refresh(name))  # type: ignore[misc]  # a default argument binds the loop variable
    fails(NeedsVault, lambda: fresh.service.adopt(fresh.service.plan_adopt((PLAINTEXT,))))
    fails(NeedsVault, lambda: fresh.service.plan_release((KEY,)))
    fails(NeedsVault, lambda: fresh.service.unlock(RIGHT))
    fresh.service.lock()
    assert fresh.service.snapshot().vault is VaultState.ABSENT


def test_sessions_in_use_that_need_nobody_are_due(opened: World) -> None:
    assert opened.service.due_profiles() == ()
    opened.deliver_to_file(ROLE)
    opened.service.refresh(KEY)
    opened.service.refresh(MFA_KEY, opened.unused_code())
    opened.wait(timedelta(hours=13))
    assert opened.service.due_profiles() == (ROLE,), "nobody asked for the others"
    assert opened.service.unused_profiles() == (KEY,), "the other one needs an MFA code"
    opened.service.refresh(ROLE)
    assert opened.service.due_profiles() == ()


def test_an_expired_session_is_withdrawn_from_the_file_once(opened: World) -> None:
    opened.deliver_to_file(ROLE)
    assert opened.row(ROLE).delivery is Delivery.CREDENTIALS_FILE
    assert opened.service.withdraw_expired() == ()
    opened.wait(timedelta(hours=2))
    assert opened.service.withdraw_expired() == (ROLE,)
    assert opened.service.withdraw_expired() == ()
    assert state_of(opened.row(ROLE), VaultState.OPEN, opened.service.now()) is State.EXPIRED


# Stop.


@pytest.mark.parametrize("is_locked", [False, True])
def test_stop_ends_a_session_whether_the_vault_is_open_or_not(opened: World, is_locked: bool) -> None:
    opened.service.refresh(KEY)
    if is_locked:
        opened.service.lock()
    assert KEY in opened.service.stop(KEY)
    assert (opened.row(KEY).session, opened.row(KEY).last_use) == (None, None)
    assert KEY in opened.service.stop(KEY), "a second stop is no error"
    fails(NotFound, lambda: opened.service.stop(UNKNOWN))


# Adopt.


def test_a_plan_names_the_dependants_and_changes_nothing(fresh: World) -> None:
    before = fresh.service.snapshot().profiles
    plan = fresh.service.plan_adopt((KEY,))
    assert (plan.action, set(plan.names), set(plan.dependants)) == ("adopt", set(IN_USE), set(IN_USE) - {KEY})
    assert plan.needs_vault
    assert not plan.session_none
    assert {line.sign for line in plan.diff} >= {"@", "+", "-"}
    (secret,) = plan.secrets
    assert secret.startswith(f"{KEY}: secret access key of AKIA…")
    assert fresh.service.plan_adopt((KEY,), session_none=True).session_none
    assert fresh.service.snapshot().profiles == before


@pytest.mark.parametrize("name", [TEMPORARY, PROCESS, BROKEN, KEY])
def test_what_cannot_be_adopted_has_no_plan(opened: World, name: str) -> None:
    fails(KeyturnError, lambda: opened.service.plan_adopt((name,)))
    fails(NotFound, lambda: opened.service.plan_adopt((UNKNOWN,)))


def test_adopted_profiles_are_managed_and_their_keys_are_in_no_file(opened: World) -> None:
    plan = opened.service.plan_adopt((PLAINTEXT_SOURCE,))
    assert opened.service.adopt(plan) == plan.names
    for name in plan.names:
        row = opened.row(name)
        assert (row.managed, row.plaintext_key, row.delivers_key) == (True, False, False)
        assert (row.delivery, row.renew) == (Delivery.CREDENTIAL_PROCESS, Renew.AUTO)
    assert opened.service.refresh(NATIVE_ROLE).delivered is Delivery.CREDENTIAL_PROCESS


def test_a_key_that_is_delivered_itself_is_not_refreshed(opened: World) -> None:
    opened.service.adopt(opened.service.plan_adopt((PLAINTEXT,), session_none=True))
    assert opened.row(PLAINTEXT).delivers_key
    fails(KeyturnError, lambda: opened.service.refresh(PLAINTEXT))


def test_a_plan_stays_good_when_a_session_of_the_credentials_file_changes(opened: World) -> None:
    opened.deliver_to_file(ROLE)
    plan = opened.service.plan_adopt((PLAINTEXT,))
    opened.service.refresh(ROLE)
    assert opened.service.adopt(plan) == plan.names


def test_a_profile_named_twice_is_planned_once(opened: World) -> None:
    assert opened.service.plan_adopt((PLAINTEXT, PLAINTEXT)).names.count(PLAINTEXT) == 1


def test_without_the_vault_a_refusal_of_aws_is_not_reached(opened: World) -> None:
    opened.refuse(ROLE)
    opened.service.lock()
    fails(NeedsUnlock, lambda: opened.service.refresh(ROLE))


@pytest.mark.parametrize("action", ["adopt", "release"])
def test_a_plan_stays_good_while_only_other_profiles_change(opened: World, action: str) -> None:
    service = opened.service
    plan = service.plan_adopt((PLAINTEXT,)) if action == "adopt" else service.plan_release((ROLE,))
    opened.change_files()
    assert getattr(service, action)(plan) == plan.names


def test_a_plan_of_another_change_is_refused(opened: World) -> None:
    service = opened.service
    plan = service.plan_adopt((PLAINTEXT,))
    opened.change_plaintext_profile()
    before = service.snapshot().profiles
    fails(FileChanged, lambda: service.adopt(plan))
    assert service.snapshot().profiles == before
    again = service.plan_adopt((PLAINTEXT,))
    assert again.digest != plan.digest
    service.adopt(again)


def test_a_locked_vault_takes_and_gives_nothing(locked: World) -> None:
    plan = locked.service.plan_adopt((PLAINTEXT,))
    fails(NeedsUnlock, lambda: locked.service.adopt(plan))
    fails(NeedsUnlock, lambda: locked.service.plan_release((KEY,)))
    assert not locked.row(PLAINTEXT).managed


# Release.


def test_a_key_leaves_the_vault_with_the_passphrase_only(opened: World) -> None:
    service = opened.service
    plan = service.plan_release((KEY,))
    assert (plan.action, plan.names, plan.dependants, plan.needs_vault) == ("release", (KEY,), (), True)
    (secret,) = plan.secrets
    assert secret.startswith(f"{KEY}: secret access key of AKIA…")
    fails(NeedsUnlock, lambda: service.release(plan))
    fails(NeedsUnlock, lambda: service.release(plan, words=f"release {KEY}"))
    fails(WrongPassphrase, lambda: service.release(plan, WRONG))
    assert opened.row(KEY).managed
    service.refresh(KEY)
    assert service.release(plan, RIGHT) == (KEY,)
    row = opened.row(KEY)
    assert (row.managed, row.plaintext_key, row.delivery) == (False, True, Delivery.NATIVE)
    assert (row.session, row.renew) == (None, None)
    fails(NotFound, lambda: service.plan_release((KEY,)))
    fails(NotFound, lambda: service.plan_release((UNKNOWN,)))


def test_a_role_is_released_without_a_question(opened: World) -> None:
    plan = opened.service.plan_release((ROLE,))
    assert plan.secrets == ()
    assert opened.service.release(plan) == (ROLE,)
    assert (opened.row(ROLE).managed, opened.row(ROLE).plaintext_key) == (False, False)


# The vault.


def test_a_new_vault_is_open_and_its_recovery_key_is_not_saved_yet(fresh: World) -> None:
    service = fresh.service
    for slot, passphrase in (("passphrase", None), ("passphrase", Secret("")), ("tape", RIGHT)):
        fails(UsageError, lambda slot=slot, passphrase=passphrase: service.create_vault(slot, passphrase))  # type: ignore[misc]  # default arguments bind the loop variables
    assert service.snapshot().vault is VaultState.ABSENT
    recovery_key = service.create_vault("passphrase", RIGHT)
    assert recovery_key.reveal().startswith("AGE-SECRET-KEY-1")
    assert len(recovery_key.reveal()) == 74
    snapshot = service.snapshot()
    assert (snapshot.vault, snapshot.recovery_key_seen) == (VaultState.OPEN, False)
    service.confirm_recovery_key()
    assert service.snapshot().recovery_key_seen
    fails(VaultExists, lambda: service.create_vault("passphrase", RIGHT))
    service.refresh(NATIVE_ROLE)
    service.lock()
    fails(VaultExists, lambda: service.create_vault("passphrase", RIGHT))
    service.unlock(recovery_key=recovery_key)
    assert service.snapshot().vault is VaultState.OPEN


def test_without_a_system_keyring_none_is_offered_or_taken(fresh: World) -> None:
    assert fresh.service.keyring_backend() is None
    fails(KeyringAbsent, lambda: fresh.service.create_vault("keyring"))
    assert fresh.service.snapshot().vault is VaultState.ABSENT


def test_the_passphrase_opens_the_vault_and_nothing_else_does(locked: World) -> None:
    service = locked.service
    fails(WrongPassphrase, lambda: service.unlock(WRONG))
    fails(WrongPassphrase, lambda: service.unlock(recovery_key=Secret("AGE-SECRET-KEY-1QQQQ")))
    fails(KeyringAbsent, service.unlock)
    assert service.snapshot().vault is VaultState.LOCKED
    service.unlock(RIGHT)
    assert service.snapshot().vault is VaultState.OPEN
    service.refresh(KEY)
    service.lock()
    assert service.snapshot().vault is VaultState.LOCKED


def test_without_an_agent_there_is_nothing_to_pause(locked: World) -> None:
    for paused in (True, False):
        fails(AgentUnavailable, lambda paused=paused: locked.service.pause(paused=paused))  # type: ignore[misc]  # a default argument binds the loop variable
    assert not locked.service.snapshot().agent


def test_a_vault_that_managed_profiles_need_is_not_replaced_by_a_new_one(opened: World) -> None:
    opened.lose_vault()
    service = opened.service
    assert service.snapshot().vault is VaultState.ABSENT
    fails(VaultCorrupt, lambda: service.refresh(KEY))
    fails(VaultCorrupt, lambda: service.plan_release((KEY,)))
    fails(VaultCorrupt, lambda: service.rotation.start(KEY))
    fails(VaultCorrupt, lambda: service.create_vault("passphrase", RIGHT))


# Rotation.


def last_four(key_id: str | None) -> str:
    assert key_id is not None
    return key_id[-4:]


def through(rotation: RotationPort, progress: Progress) -> list[Progress]:
    """Advance until the rotation is finished or halted, and return every progress."""
    steps = [progress]
    while not (steps[-1].is_halted or steps[-1].is_finished):
        assert len(steps) < 20
        steps.append(rotation.advance(KEY))
    return steps


def waits(opened: World) -> str | None:
    """Return the step that the snapshot shows as pending."""
    return opened.row(KEY).rotation.pending_step


def test_a_rotation_takes_its_steps_and_the_row_shows_each(opened: World) -> None:
    rotation = opened.service.rotation
    old = opened.row(KEY).key
    assert old is not None
    first = rotation.start(KEY)
    assert (first.profile, first.old_id, first.step, waits(opened)) == (
        KEY,
        old.key_id,
        Step.CREATED,
        "created",
    )
    assert opened.row(KEY).rotation.state is RotationState.IN_PROGRESS
    shown = {}
    for progress in (rotation.advance(KEY) for _ in range(4)):
        key = opened.row(KEY).key
        assert waits(opened) == str(progress.step)
        assert key is not None
        shown[progress.step] = key.key_id
    new = progress.new_id
    assert shown == {Step.VERIFIED: old.key_id, Step.STORED: new, Step.DELIVERED: new, Step.DEACTIVATED: new}
    assert progress.is_halted, "the deletion is the user's decision"
    assert progress.deletable_from is not None
    assert abs(progress.deletable_from - opened.service.now() - GRACE_PERIOD) < timedelta(minutes=1)
    assert rotation.advance(KEY).is_halted
    keys = {key["key_id"]: (key["status"], key["held"]) for key in rotation.status(KEY)["keys"]}
    assert keys == {old.key_id: ("Inactive", "previous"), new: ("Active", "current")}

    facts = rotation.deletion_facts(KEY)
    assert (facts.old_id, len(facts.warnings)) == (old.key_id, 1)
    assert "grace" in facts.warnings[0]
    fails(RotationHalted, lambda: rotation.finish(KEY, None))
    fails(NeedsConfirmation, lambda: rotation.finish(KEY, last_four(new)))
    for force in ((), (Obstacle.USED,)):
        fails(RotationHalted, lambda force=force: rotation.finish(KEY, last_four(old.key_id), force=force))  # type: ignore[misc]  # a default argument binds the loop variable
    fails(NeedsConfirmation, lambda: rotation.finish(KEY, None, force=(Obstacle.GRACE,)))
    opened.wait(timedelta(hours=25))
    assert rotation.deletion_facts(KEY).warnings == ()
    fails(NeedsConfirmation, lambda: rotation.finish(KEY, None))
    done = rotation.finish(KEY, last_four(old.key_id))
    assert (done.step, done.is_finished, waits(opened)) == (Step.DONE, True, None)
    assert [key["key_id"] for key in rotation.status(KEY)["keys"]] == [new]
    fails(NotFound, lambda: rotation.advance(KEY))
    fails(NotFound, lambda: rotation.finish(KEY, last_four(old.key_id)))


@pytest.mark.parametrize("steps", [0, 4])
def test_an_undo_returns_to_the_old_key(opened: World, steps: int) -> None:
    rotation = opened.service.rotation
    old_id = rotation.start(KEY).old_id
    for _ in range(steps):
        rotation.advance(KEY)
    first = rotation.undo(KEY)
    assert first.is_undoing
    assert waits(opened) == (None if first.is_finished else "undoing")
    last = through(rotation, first)[-1]
    assert (last.step, last.is_finished, waits(opened)) == (Step.UNDONE, True, None)
    row = opened.row(KEY)
    assert row.key is not None
    assert row.key.key_id == old_id
    assert row.rotation.state is RotationState.OVERDUE
    fails(NotFound, lambda: rotation.undo(KEY))


def test_only_one_rotation_of_a_key_at_a_time_and_no_deletion_or_release_before_its_end(
    opened: World,
) -> None:
    rotation = opened.service.rotation
    old_id = rotation.start(KEY).old_id
    fails(RotationHalted, lambda: rotation.start(KEY))
    fails(RotationHalted, lambda: rotation.deletion_facts(KEY))
    fails(RotationHalted, lambda: rotation.finish(KEY, last_four(old_id)))
    fails(RotationHalted, lambda: rotation.delete_other_key(KEY, last_four(old_id)))
    fails(RotationHalted, lambda: opened.service.plan_release((KEY,)))
    assert waits(opened) == "created"


@pytest.mark.parametrize("state", [VaultState.ABSENT, VaultState.LOCKED, VaultState.OPEN])
def test_what_has_no_key_of_its_own_is_refused_before_a_vault_is_asked_for(
    world: World, state: VaultState
) -> None:
    world.begin(state)
    for name in (PLAINTEXT, NATIVE_ROLE, ROLE):
        fails(KeyturnError, lambda name=name: world.service.rotation.start(name))  # type: ignore[misc]  # a default argument binds the loop variable
    fails(NotFound, lambda: world.service.rotation.start(UNKNOWN))


def test_where_no_rotation_waits_there_is_nothing_to_do(opened: World) -> None:
    rotation = opened.service.rotation
    steps: list[Callable[[], object]] = [
        lambda: rotation.advance(KEY),
        lambda: rotation.undo(KEY),
        lambda: rotation.deletion_facts(KEY),
        lambda: rotation.finish(KEY, "AAAA"),
        lambda: rotation.delete_other_key(KEY, "AAAA"),
    ]
    for step in steps:
        fails(NotFound, step)
    status = rotation.status(KEY)
    assert sorted(status) == ["gone", "keys", "profile", "rotation", "used_by", "user"]
    (key,) = status["keys"]
    assert sorted(key) == [
        "age_days",
        "busy",
        "created",
        "held",
        "key_id",
        "known",
        "last_used",
        "last_used_by",
        "status",
    ]
    assert (status["profile"], status["rotation"], key["held"]) == (KEY, None, "current")
    assert set(status["used_by"]) == set(IN_USE)
    fails(KeyturnError, lambda: rotation.status(ROLE))


def test_a_locked_vault_rotates_nothing(locked: World) -> None:
    rotation = locked.service.rotation
    steps: list[Callable[[], object]] = [
        lambda: rotation.start(KEY),
        lambda: rotation.advance(KEY),
        lambda: rotation.undo(KEY),
        lambda: rotation.deletion_facts(KEY),
        lambda: rotation.finish(KEY, "AAAA"),
        lambda: rotation.delete_other_key(KEY, "AAAA"),
        lambda: rotation.status(KEY),
    ]
    for step in steps:
        fails(NeedsUnlock, step)
    assert waits(locked) is None


def test_an_idle_key_in_the_other_slot_stops_a_rotation_until_it_is_deleted(opened: World) -> None:
    rotation = opened.service.rotation
    key = opened.row(KEY).key
    assert key is not None
    idle = opened.add_idle_key(KEY)
    fails(RotationHalted, lambda: rotation.start(KEY))
    assert waits(opened) is None
    status = {each["key_id"]: (each["held"], each["busy"]) for each in rotation.status(KEY)["keys"]}
    assert status[idle] == (None, None)
    fails(RotationHalted, lambda: rotation.delete_other_key(KEY, last_four(key.key_id)))
    fails(NotFound, lambda: rotation.delete_other_key(KEY, "AAAA"))
    assert last_four(idle) in rotation.delete_other_key(KEY, last_four(idle))
    assert rotation.start(KEY).step is Step.CREATED


# Signatures.


def public_methods(port: type) -> dict[str, Callable[..., object]]:
    return {name: member for name, member in inspect.getmembers(port, inspect.isfunction) if name[0] != "_"}


@pytest.mark.parametrize(
    ("port", "real_class", "double"),
    [(ServicePort, CredentialService, MemoryService), (RotationPort, RotationClient, MemoryRotation)],
)
def test_the_double_has_the_signatures_of_the_real_service(
    port: type, real_class: type, double: type
) -> None:
    """Names, parameters, defaults and annotations are the same, except further keyword parameters of the real
    service that the port leaves out."""
    for name, method in public_methods(port).items():
        expected = inspect.signature(method)
        assert inspect.signature(getattr(double, name)) == expected, name
        if expected.return_annotation == port.__name__:  # the real one returns itself
            expected = expected.replace(return_annotation=real_class.__name__)
        found = inspect.signature(getattr(real_class, name))
        further = [each for each in found.parameters.values() if each.name not in expected.parameters]
        assert all(each.default is not each.empty and each.kind is each.KEYWORD_ONLY for each in further)
        shared = [each for each in found.parameters.values() if each.name in expected.parameters]
        assert found.replace(parameters=shared) == expected, name


@pytest.mark.parametrize(
    ("real_class", "double"), [(CredentialService, MemoryService), (RotationClient, MemoryRotation)]
)
def test_what_the_double_has_besides_is_not_a_method_of_the_real_service(
    real_class: type, double: type
) -> None:
    """A method of the double that the real one has too but the port does not would be checked by nothing."""
    port = ServicePort if double is MemoryService else RotationPort
    besides = set(public_methods(double)) - set(public_methods(port))
    assert not besides & set(public_methods(real_class))
