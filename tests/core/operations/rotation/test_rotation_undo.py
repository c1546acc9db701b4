"""Undo to the old key, and changes that another user made to either key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.model.errors import AwsRefused, NotFound, RotationHalted
from keyturn.model.profile import RotationState
from keyturn.operations.rotation import record_store
from keyturn.operations.rotation.record import Step
from tests.core.operations.rotation.direct_iam import Fault
from tests.core.operations.rotation.rotation_home import PROFILE, Home
from tests.core.operations.rotation.rotation_states import fault_at, run_until, statuses, undo_rotation


def test_undo_after_the_old_key_was_switched_off_switches_it_on_before_the_new_one_goes(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    home.line.calls.clear()
    last = undo_rotation(home)
    assert last.step is Step.UNDONE
    assert statuses(home) == {progress.old_id: "Active"}
    assert home.service.context.key(PROFILE).access_key_id == progress.old_id
    operations = [
        action for action, _ in home.line.calls if action not in ("ListAccessKeys", "GetCallerIdentity")
    ]
    assert operations == ["UpdateAccessKey", "UpdateAccessKey", "DeleteAccessKey"]


def test_an_undo_right_after_the_making_does_not_take_a_key_for_gone_that_does_not_show_yet(
    home: Home,
) -> None:
    home.state.propagation = timedelta(seconds=20)
    first = home.service.rotation.start(PROFILE)
    last = undo_rotation(home)
    assert last.step is Step.UNDONE
    home.time.now += timedelta(minutes=1)
    assert list(statuses(home)) == [first.old_id]


def test_an_undo_does_not_trust_what_aws_lists_right_after_the_switching_off(home: Home) -> None:
    progress = run_until(home, Step.DELIVERED)
    home.time.now += timedelta(minutes=10)
    home.state.propagation = timedelta(seconds=60)
    home.service.rotation.advance(PROFILE)
    last = undo_rotation(home)
    assert last.step is Step.UNDONE
    assert statuses(home) == {progress.old_id: "Active"}


def test_the_old_key_deleted_by_somebody_leaves_no_way_back_and_a_way_on(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    home.state.delete_key(home.user, home.user.keys[0])
    with pytest.raises(RotationHalted, match="the rotation cannot be undone") as error:
        home.service.rotation.undo(PROFILE)
    assert "--resume" in error.value.hint
    assert home.service.rotation.advance(PROFILE).step is Step.DONE
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id


@pytest.mark.parametrize("seconds", [0, 300])
def test_an_undo_after_the_new_key_was_deleted_and_the_old_one_reactivated_at_aws_ends(
    home: Home, seconds: int
) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    home.time.sleep(seconds)
    old, new = home.user.keys
    home.state.delete_key(home.user, new)
    home.state.set_status(old, "Active")
    last = undo_rotation(home)
    assert (last.step, statuses(home)) == (Step.UNDONE, {progress.old_id: "Active"})
    assert "is already deleted at AWS" in last.note
    assert home.service.context.key(PROFILE).access_key_id == progress.old_id
    with pytest.raises(NotFound):
        home.service.rotation.undo(PROFILE)


def test_the_vault_returns_to_an_old_key_that_works_before_aws_is_sure_that_the_new_one_is_gone(
    home: Home,
) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    old, new = home.user.keys
    home.state.delete_key(home.user, new)
    home.state.set_status(old, "Active")
    home.service.rotation.undo(PROFILE)
    for _ in range(2):
        latest = home.service.rotation.advance(PROFILE)
    assert home.service.context.key(PROFILE).access_key_id == progress.old_id
    assert not latest.is_finished


def test_an_undo_needs_no_leave_to_reactivate_a_key_that_was_never_deactivated(home: Home) -> None:
    progress = run_until(home, Step.DELIVERED)
    home.time.now += timedelta(minutes=5)
    home.line.next_fault = fault_at("UpdateAccessKey", Fault.DENIED, 99)
    assert home.service.rotation.advance(PROFILE).is_halted
    assert undo_rotation(home).step is Step.UNDONE
    assert statuses(home) == {progress.old_id: "Active"}


def test_an_inactive_old_key_that_the_user_may_not_reactivate_stops_the_undo(home: Home) -> None:
    run_until(home, Step.DEACTIVATED)
    home.line.next_fault = fault_at("UpdateAccessKey", Fault.DENIED, 99)
    with pytest.raises(AwsRefused, match="iam:UpdateAccessKey"):
        home.service.rotation.undo(PROFILE)


def test_a_clock_that_is_set_back_does_not_let_an_undo_wait_for_days(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    old, new = home.user.keys
    home.state.delete_key(home.user, new)
    home.state.set_status(old, "Active")
    record = record_store.require_pending_record(home.service.context, PROFILE)
    in_three_days = {Step.CREATED: home.time.now + timedelta(days=3)}
    record = replace(record, step_times={**record.step_times, **in_three_days})
    record_store.save_step(home.service.context, record, record.step)
    assert undo_rotation(home).step is Step.UNDONE
    assert home.service.context.key(PROFILE).access_key_id == progress.old_id


def test_the_new_key_deleted_by_somebody_while_the_old_one_is_off_is_said(home: Home) -> None:
    run_until(home, Step.DEACTIVATED)
    home.state.delete_key(home.user, home.user.keys[1])
    home.time.now += timedelta(minutes=5)
    with pytest.raises(RotationHalted, match="AWS accepts neither") as error:
        home.service.rotation.advance(PROFILE)
    assert "in the console" in error.value.hint
    home.state.set_status(home.user.keys[0], "Active")
    last = undo_rotation(home)
    assert last.step is Step.UNDONE
    assert home.service.context.key(PROFILE).access_key_id == last.old_id


@pytest.mark.parametrize("looks", range(6))
def test_an_undo_waits_until_iam_knows_the_key_that_it_deletes(home: Home, looks: int) -> None:
    """Successive reads find the key or not, in another order."""
    home.state.flapping = timedelta(seconds=60)
    first = home.service.rotation.start(PROFILE)
    for _ in range(looks):
        home.service.rotation.status(PROFILE)
    assert undo_rotation(home).step is Step.UNDONE
    assert statuses(home) == {first.old_id: "Active"}


def test_after_an_undo_the_old_key_is_as_old_and_as_overdue_as_before(home: Home) -> None:
    run_until(home, Step.DEACTIVATED)
    undo_rotation(home)
    (row,) = [row for row in home.service.snapshot().profiles if row.name == PROFILE]
    assert (row.rotation.state, row.rotation.age_days) == (RotationState.OVERDUE, 94)
