"""Drift: AWS lists other keys or statuses than the record of a rotation expects."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.model import errors
from keyturn.model.errors import Remedy
from keyturn.operations.rotation.drift import KeyDrift, find_drift
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.state_machine import NextStep, ObservedKeys, next_step
from tests.core.operations.rotation.records import (
    FINISHED,
    HOLDS_NEW,
    HOLDS_OLD,
    HOUR,
    MICROSECOND,
    NOW,
    OPEN,
    SECOND,
    STATUSES,
    observed,
    record_at,
)

OLD_SHOWN, NEW_SHOWN = "AKIA…4WQP", "AKIA…9ZLM"
RESUME, UNDO = "keyturn rotate ci --resume", "keyturn rotate ci --undo"
YOUNG, SETTLED = 120 * SECOND, 120 * SECOND + MICROSECOND
BEFORE_STORED, FROM_STORED = OPEN[:2], OPEN[2:]


def commands(text: str) -> set[str]:
    return {command for command in (RESUME, UNDO) if f": {command}" in text}


def expect(found: KeyDrift | None, subject: str, words: str, followed_by: set[str]) -> None:
    """Assert that drift is of `subject`, says `words`, and names exactly these commands."""
    assert found is not None
    assert found.why.startswith(subject)
    assert words in found.why
    assert commands(errors.words(found.hint)) == followed_by


# -- no drift ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_undoing", [False, True])
@pytest.mark.parametrize("step", FINISHED)
def test_a_finished_rotation_has_no_drift(step: Step, is_undoing: bool) -> None:
    record = record_at(step, is_undoing=is_undoing)
    assert {find_drift(record, observed(old, new)) for old in STATUSES for new in STATUSES} == {None}


@pytest.mark.parametrize("old", STATUSES)
def test_a_rotation_without_a_new_key_has_no_drift(old: str | None) -> None:
    assert find_drift(record_at(Step.INTENT), observed(old, None)) is None


@pytest.mark.parametrize(
    ("step", "old"),
    [(Step.CREATED, "Active"), (Step.VERIFIED, "Active"), (Step.STORED, "Active"), (Step.DELIVERED, "Active"),
     (Step.DEACTIVATED, "Inactive"), (Step.DEACTIVATED, "Expired")],
)  # fmt: skip
def test_the_statuses_that_a_step_expects_are_no_drift(step: Step, old: str) -> None:
    assert find_drift(record_at(step), observed(old, "Active")) is None


@pytest.mark.parametrize("step", OPEN[:4])
def test_a_new_key_that_aws_may_not_list_yet_is_no_drift(step: Step) -> None:
    assert find_drift(record_at(step, age=YOUNG), observed("Active", None)) is None
    assert find_drift(record_at(step, age=SETTLED), observed("Active", None)) is not None


@pytest.mark.parametrize("step", OPEN)
def test_on_the_way_back_an_old_key_that_works_or_can_be_reactivated_is_no_drift(step: Step) -> None:
    record = record_at(step, is_undoing=True)
    for new in STATUSES:
        assert find_drift(record, observed("Active", new)) is None
    assert find_drift(record, observed("Inactive", "Active")) is None


@pytest.mark.parametrize("step", OPEN)
@pytest.mark.parametrize("new", ["Inactive", None])
def test_on_the_way_back_an_old_key_that_no_key_can_reactivate_is_drift(step: Step, new: str | None) -> None:
    found = find_drift(record_at(step, is_undoing=True), observed("Inactive", new))
    expect(found, OLD_SHOWN, "is inactive at AWS, and AKIA…9ZLM is", {UNDO})
    assert found is not None
    assert errors.words(found.hint).startswith(f"Reactivate {OLD_SHOWN} at AWS")


# -- the new key ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", OPEN)
def test_a_deleted_new_key_leads_back_to_an_old_one_that_works(step: Step) -> None:
    found = find_drift(record_at(step), observed("Active", None))
    expect(found, NEW_SHOWN, "was deleted at AWS", {RESUME})
    assert found is not None
    assert OLD_SHOWN in errors.words(found.hint)


@pytest.mark.parametrize("step", OPEN)
def test_a_deleted_new_key_leads_back_once_the_old_one_is_reactivated(step: Step) -> None:
    found = find_drift(record_at(step), observed("Inactive", None))
    expect(found, NEW_SHOWN, "was deleted at AWS", {UNDO})
    assert found is not None
    assert OLD_SHOWN in errors.words(found.hint)


@pytest.mark.parametrize("step", OPEN)
@pytest.mark.parametrize("status", ["Inactive", "Expired"])
@pytest.mark.parametrize("age", [YOUNG, SETTLED])
@pytest.mark.parametrize("old", ["Active", "Inactive"])
def test_a_new_key_that_is_not_active_leads_back_or_on(
    step: Step, status: str, age: timedelta, old: str
) -> None:
    found = find_drift(record_at(step, age=age), observed(old, status))
    expect(found, NEW_SHOWN, f"is {status.lower()} at AWS", {RESUME, UNDO})
    assert found is not None
    assert (f"Reactivate {OLD_SHOWN} at AWS" in errors.words(found.hint)) is (old == "Inactive")


@pytest.mark.parametrize("step", OPEN)
@pytest.mark.parametrize("old", ["Expired", None])
def test_a_new_key_that_is_inactive_leads_on_alone_if_the_old_one_cannot_come_back(
    step: Step, old: str | None
) -> None:
    found = find_drift(record_at(step), observed(old, "Inactive"))
    expect(found, NEW_SHOWN, "is inactive at AWS", {RESUME})


@pytest.mark.parametrize("is_undoing", [False, True])
@pytest.mark.parametrize("step", OPEN)
@pytest.mark.parametrize(("old", "new"), itertools.product(("Expired", None), repeat=2))
def test_two_keys_that_cannot_come_back_end_the_rotation(
    step: Step, is_undoing: bool, old: str | None, new: str | None
) -> None:
    found = find_drift(record_at(step, is_undoing=is_undoing), observed(old, new))
    expect(found, NEW_SHOWN, "at AWS, and AKIA…4WQP is", set())
    assert "Move rotation/444455556666-ci.age out of the vault's folder to end the rotation" in str(found)


@pytest.mark.parametrize("new", ["Inactive", None])
@pytest.mark.parametrize("step", OPEN)
def test_drift_of_the_new_key_says_that_the_vault_uses_it_from_stored_on(step: Step, new: str | None) -> None:
    found = find_drift(record_at(step), observed("Active", new))
    assert found is not None
    assert ("the vault uses it" in found.why) is (step in FROM_STORED)


@pytest.mark.parametrize(("old", "new"), [("Active", None), ("Active", "Inactive"), ("Inactive", "Active")])
def test_before_and_after_stored_the_reason_differs_in_nothing_but_the_use_in_the_vault(
    old: str, new: str | None
) -> None:
    before, after = (find_drift(record_at(step), observed(old, new)) for step in (Step.VERIFIED, Step.STORED))
    assert before is not None
    assert after is not None
    short, long = sorted((before.why, after.why), key=len)
    assert long == f"{short}, and the vault uses it"


# -- the old key ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_undoing", [False, True])
@pytest.mark.parametrize("step", OPEN)
def test_a_deleted_old_key_leads_on_with_the_new_one(step: Step, is_undoing: bool) -> None:
    found = find_drift(record_at(step, is_undoing=is_undoing), observed(None, "Active"))
    expect(found, OLD_SHOWN, "is deleted at AWS", {RESUME})
    assert found is not None
    assert NEW_SHOWN in errors.words(found.hint)
    assert ("the vault uses it" in found.why) is (step in BEFORE_STORED)


@pytest.mark.parametrize("step", OPEN[:4])
@pytest.mark.parametrize("status", ["Inactive", "Expired"])
@pytest.mark.parametrize("new", ["Active", None])
def test_an_old_key_that_is_not_active_before_it_was_deactivated_leads_on_or_back(
    step: Step, status: str, new: str | None
) -> None:
    found = find_drift(record_at(step, age=YOUNG), observed(status, new))
    back = {UNDO} if status == "Inactive" else set()
    expect(found, OLD_SHOWN, f"is already {status.lower()} at AWS", {RESUME, *back})
    assert found is not None
    assert NEW_SHOWN in errors.words(found.hint)
    assert ("the vault uses it" in found.why) is (step in BEFORE_STORED)


@pytest.mark.parametrize(
    ("since", "is_drift"), [(timedelta(), False), (YOUNG, False), (SETTLED, True), (HOUR, True)]
)
def test_an_old_key_is_reactivated_if_aws_lists_it_as_active_two_minutes_after_its_deactivation(
    since: timedelta, is_drift: bool
) -> None:
    record = record_at(Step.DELIVERED, age=2 * HOUR).with_step(Step.DEACTIVATED, NOW - since)
    found = find_drift(record, observed("Active", "Active"))
    assert (found is not None) is is_drift
    if is_drift:
        expect(found, OLD_SHOWN, "was reactivated at AWS", {RESUME, UNDO})


def test_an_active_old_key_is_no_drift_if_the_time_of_its_deactivation_is_unknown() -> None:
    assert (
        find_drift(replace(record_at(Step.DEACTIVATED), step_times={}), observed("Active", "Active")) is None
    )


@pytest.mark.parametrize("step", OPEN[:4])
def test_an_old_key_that_was_deactivated_in_an_earlier_attempt_is_expected_to_be_active(step: Step) -> None:
    record = replace(record_at(step), step_times={**record_at(step).step_times, Step.DEACTIVATED: NOW - HOUR})
    assert find_drift(record, observed("Active", "Active")) is None


# -- drift and the next step agree ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "move"),
    [(observed(new=None), NextStep.NEW_DELETED), (observed(new="Inactive"), NextStep.NEW_INACTIVE)],
    ids=["deleted", "inactive"],
)
def test_a_step_that_stops_for_the_new_key_has_drift_to_show(changed: ObservedKeys, move: NextStep) -> None:
    for step in OPEN:
        record = record_at(step)
        assert next_step(record, changed) is move
        assert find_drift(record, changed) is not None


@pytest.mark.parametrize("in_vault", [HOLDS_OLD, HOLDS_NEW])
def test_a_way_back_that_is_lost_has_drift_to_show(in_vault: Mapping[str, str]) -> None:
    record: Record = record_at(Step.STORED, is_undoing=True)
    keys = observed(None, "Active", in_vault=in_vault)
    assert next_step(record, keys) is NextStep.OLD_UNUSABLE
    expect(find_drift(record, keys), OLD_SHOWN, "is deleted at AWS", {RESUME})


def test_drift_reads_as_the_reason_and_then_the_hint() -> None:
    drift = KeyDrift("AKIA…9ZLM is gone", ("Go back: ", Remedy("rotate", "ci", "--undo")))
    assert str(drift) == f"AKIA…9ZLM is gone. Go back: {UNDO}"
