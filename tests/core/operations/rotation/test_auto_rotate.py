"""Automatic rotation by the agent, and its limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.model.profile import Rotate, RotationState
from keyturn.operations.rotation.record import Step
from keyturn.storage import managed_profiles
from keyturn.storage.managed_profiles import ManagedProfile
from tests.core.operations.rotation.direct_iam import Fault
from tests.core.operations.rotation.rotation_home import PROFILE, Home
from tests.core.operations.rotation.rotation_states import fault_at, run_until, undo_rotation


def run_agent_cycle(home: Home, times: int = 1) -> None:
    for _ in range(times):
        home.service.renew_due()
        home.time.now += timedelta(seconds=15)


def set_auto_rotate(home: Home, rotate: Rotate) -> None:
    def edit(table: dict[str, ManagedProfile]) -> None:
        table[PROFILE] = replace(table[PROFILE], rotate=rotate)

    managed_profiles.change(home.service.paths.profiles_file, edit)


def current_step(home: Home) -> str | None:
    return next((known.step for known in home.service.context.index.load().rotations.values()), None)


def test_it_learns_of_every_key_and_asks_again_after_an_hour(home: Home) -> None:
    run_agent_cycle(home, 4)
    key = home.service.context.index.load().keys[PROFILE]
    assert key.created == home.user.keys[0].created
    assert key.user == home.user.arn
    count = len(home.line.calls)
    assert 0 < count < 5
    home.time.now += timedelta(hours=1)
    run_agent_cycle(home)
    assert len(home.line.calls) == 2 * count - 1


def test_what_iam_refuses_to_tell_is_not_asked_again_and_again(home: Home) -> None:
    home.line.next_fault = lambda action: Fault.DENIED if action == "ListAccessKeys" else Fault.NONE
    run_agent_cycle(home, 20)
    assert len(home.line.calls) < 5


def test_a_key_past_its_policy_is_only_announced_unless_its_owner_wants_more(home: Home) -> None:
    run_agent_cycle(home, 10)
    assert current_step(home) is None
    assert len(home.user.keys) == 1


def test_where_its_owner_wants_it_the_key_is_rotated_up_to_the_last_step_and_never_deleted(
    home: Home,
) -> None:
    set_auto_rotate(home, Rotate.AUTO)
    run_agent_cycle(home, 10)
    assert current_step(home) == Step.DEACTIVATED
    home.time.now += timedelta(days=30)
    run_agent_cycle(home, 10)
    assert [key.status for key in home.user.keys] == ["Inactive", "Active"]


def test_what_a_person_took_back_is_not_begun_again(home: Home) -> None:
    set_auto_rotate(home, Rotate.AUTO)
    run_agent_cycle(home, 10)
    rotation = home.service.rotation
    list(rotation.run_to_end(rotation.undo(PROFILE), lambda: rotation.advance(PROFILE), home.time.sleep))
    assert len(home.user.keys) == 1
    home.time.now += timedelta(hours=2)
    run_agent_cycle(home, 10)
    assert len(home.user.keys) == 1


@pytest.mark.parametrize("by", ["undo", "console"])
def test_nor_what_was_taken_back_before_there_was_a_key_or_at_aws(home: Home, by: str) -> None:
    set_auto_rotate(home, Rotate.AUTO)
    if by == "undo":
        home.line.next_fault = fault_at("CreateAccessKey", Fault.UNSENT)
        run_agent_cycle(home, 1)
        assert current_step(home) == Step.INTENT
        undo_rotation(home)
    else:
        run_agent_cycle(home, 10)
        home.state.set_status(home.user.keys[0], "Active")
        home.state.delete_key(home.user, home.user.keys[1])
        home.time.now += timedelta(minutes=5)
        assert "was deleted at AWS, outside keyturn" in home.service.rotation.advance(PROFILE).note
    assert current_step(home) is None
    (left,) = home.user.keys
    assert left.status == "Active"
    assert home.service.context.key(PROFILE).access_key_id == left.key_id
    home.time.now += timedelta(hours=2)
    run_agent_cycle(home, 10)
    assert len(home.user.keys) == 1


def test_an_index_that_was_lost_is_filled_again(home: Home) -> None:
    run_until(home, Step.STORED)
    home.service.paths.index_file.unlink()
    run_agent_cycle(home, 2)
    (row,) = [row for row in home.service.snapshot().profiles if row.name == PROFILE]
    assert (row.rotation.pending_step, row.rotation.state) == ("stored", RotationState.IN_PROGRESS)
    assert row.key is not None
    assert row.key.created is not None


def test_what_goes_wrong_is_tried_again_after_an_hour(home: Home) -> None:
    set_auto_rotate(home, Rotate.AUTO)
    home.line.next_fault = lambda action: Fault.DENIED if action == "CreateAccessKey" else Fault.NONE
    run_agent_cycle(home, 10)
    denied = [action for action, _ in home.line.calls].count("ListAccessKeys")
    failure = home.service.context.profile_state(PROFILE).failure
    assert failure is not None
    assert "iam:CreateAccessKey" in failure.line
    assert denied < 4
    home.line.next_fault = lambda _: Fault.NONE
    home.time.now += timedelta(hours=1)
    run_agent_cycle(home, 10)
    assert current_step(home) == Step.DEACTIVATED
    assert home.service.context.profile_state(PROFILE).failure is None, (
        "what went well by now is no failure any more"
    )
