"""The next step of a rotation, as tables over its record, AWS's list of keys and the vault."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from keyturn.aws.api import ListedKey
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.state_machine import (
    NextStep,
    ObservedKeys,
    is_new_key_gone,
    next_step,
    orphans,
    required_entries,
    vault_has_new,
    vault_has_old,
)
from tests.core.operations.rotation.records import (
    ENTRIES,
    FINISHED,
    HOLDS_BOTH,
    HOLDS_NEITHER,
    HOLDS_NEW,
    HOLDS_OLD,
    HOUR,
    MICROSECOND,
    NEW,
    NOW,
    OLD,
    OPEN,
    OTHER,
    SECOND,
    STATUSES,
    listing,
    observed,
    record_at,
)

BOOLEANS = (False, True)
#: AWS lists a new key everywhere after two minutes, so one that is younger and not listed may exist.
YOUNG, SETTLED = 120 * SECOND, 120 * SECOND + MICROSECOND
VAULTS = (HOLDS_OLD, HOLDS_NEW, HOLDS_BOTH, HOLDS_NEITHER)


def situations(*steps: Step, undoing: tuple[bool, ...] = BOOLEANS) -> Iterator[tuple[Record, ObservedKeys]]:
    """Yield every combination of a record at one of `steps` and an observation."""
    for step, age, is_undoing, is_reactivated in itertools.product(
        steps, (YOUNG, SETTLED), undoing, BOOLEANS
    ):
        record = record_at(step, age=age, is_undoing=is_undoing, is_reactivated=is_reactivated)
        for old, new, in_vault, old_answers in itertools.product(STATUSES, STATUSES, VAULTS, BOOLEANS):
            yield record, observed(old, new, in_vault=in_vault, old_answers=old_answers)


def status(keys: ObservedKeys, key_id: str) -> str | None:
    return keys.listed[key_id].status if key_id in keys.listed else None


# -- no step is left -----------------------------------------------------------------------------------------


def test_a_finished_rotation_has_no_next_step() -> None:
    assert {next_step(record, keys) for record, keys in situations(*FINISHED)} == {NextStep.NOTHING}


def test_an_unfinished_rotation_always_has_a_next_step() -> None:
    assert NextStep.NOTHING not in {
        next_step(record, keys) for record, keys in situations(Step.INTENT, *OPEN)
    }


# -- CreateAccessKey was not answered ------------------------------------------------------------------------


@pytest.mark.parametrize("is_undoing", BOOLEANS)
@pytest.mark.parametrize(
    ("age", "move"),
    [
        (timedelta(), NextStep.WAIT),
        (60 * SECOND - MICROSECOND, NextStep.WAIT),
        (60 * SECOND, NextStep.GIVE_UP),
        (HOUR, NextStep.GIVE_UP),
        (-MICROSECOND, NextStep.RESTART_WAIT),
    ],
    ids=["at once", "just under a minute", "a minute", "an hour", "the clock was set back"],
)
def test_a_rotation_without_a_new_key_ends_after_a_minute(
    age: timedelta, move: NextStep, is_undoing: bool
) -> None:
    record = record_at(Step.INTENT, age=age, is_undoing=is_undoing)
    assert next_step(record, observed(new=None, in_vault=HOLDS_OLD)) is move


@pytest.mark.parametrize("is_undoing", BOOLEANS)
@pytest.mark.parametrize("age", [-SECOND, timedelta(), 59 * SECOND, HOUR])
def test_a_key_without_a_secret_is_reported_at_any_age_of_the_rotation(
    age: timedelta, is_undoing: bool
) -> None:
    record = record_at(Step.INTENT, age=age, is_undoing=is_undoing)
    keys = listing(observed(new=None, in_vault=HOLDS_OLD), ListedKey(OTHER, "Active", record.started))
    assert next_step(record, keys) is NextStep.ORPHAN


# -- keys whose secret nobody has ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("created", "is_orphan"),
    [
        (-HOUR, False),
        (-timedelta(minutes=15) - MICROSECOND, False),
        (-timedelta(minutes=15), True),
        (timedelta(), True),
        (SECOND, True),
    ],
    ids=["long before", "before any clock skew", "at the largest clock skew", "with it", "after it"],
)
@pytest.mark.parametrize("key_status", ["Active", "Inactive"])
def test_an_unknown_key_is_an_orphan_if_it_was_created_since_the_rotation_began(
    created: timedelta, key_status: str, is_orphan: bool
) -> None:
    record = record_at(Step.INTENT)
    unknown = ListedKey(OTHER, key_status, record.started + created)
    keys = listing(observed(new=None, in_vault=HOLDS_OLD), unknown)
    assert orphans(record, keys) == ((unknown,) if is_orphan else ())


@pytest.mark.parametrize(
    "change",
    [
        lambda record, keys: (replace(record, initial_key_ids=(OLD, OTHER)), keys),
        lambda record, keys: (record, replace(keys, in_vault={**HOLDS_OLD, "elsewhere": OTHER})),
        lambda record, keys: (replace(record, old=replace(record.old, access_key_id=OTHER)), keys),
        lambda record, keys: (
            replace(record, new=replace(record_at(Step.CREATED).old, access_key_id=OTHER)),
            keys,
        ),
    ],
    ids=["listed at the beginning", "in the vault", "the old key", "the new key"],
)
def test_a_key_that_is_accounted_for_is_no_orphan(
    change: Callable[[Record, ObservedKeys], tuple[Record, ObservedKeys]],
) -> None:
    unknown = ListedKey(OTHER, "Active", NOW)
    record, keys = record_at(Step.INTENT), listing(observed(new=None, in_vault=HOLDS_OLD), unknown)
    assert orphans(record, keys) == (unknown,)
    assert orphans(*change(record, keys)) == ()


# -- forward -------------------------------------------------------------------------------------------------

FORWARD = [
    # The new key is proved and stored before anything happens to the old one.
    (Step.CREATED, "any", "any", NextStep.VERIFY),
    (Step.VERIFIED, "any", "any", NextStep.STORE),
    (Step.STORED, "any", HOLDS_NEW, NextStep.DELIVER),
    # The vault was restored from a backup, or the step was recorded before its effect was lost.
    (Step.STORED, "any", HOLDS_OLD, NextStep.STORE),
    (Step.STORED, "any", HOLDS_BOTH, NextStep.STORE),
    (Step.STORED, "any", HOLDS_NEITHER, NextStep.STORE),
    (Step.DELIVERED, "any", HOLDS_OLD, NextStep.STORE),
    (Step.DELIVERED, "any", HOLDS_BOTH, NextStep.STORE),
    (Step.DELIVERED, "any", HOLDS_NEITHER, NextStep.STORE),
    (Step.DEACTIVATED, "any", HOLDS_OLD, NextStep.STORE),
    (Step.DEACTIVATED, "any", HOLDS_BOTH, NextStep.STORE),
    (Step.DEACTIVATED, "any", HOLDS_NEITHER, NextStep.STORE),
    # The old key is deactivated first and deleted last.
    (Step.DELIVERED, "Active", HOLDS_NEW, NextStep.DEACTIVATE),
    (Step.DELIVERED, "Inactive", HOLDS_NEW, NextStep.RECORD_DEACTIVATED),
    (Step.DELIVERED, "Expired", HOLDS_NEW, NextStep.RECORD_DEACTIVATED),
    (Step.DELIVERED, None, HOLDS_NEW, NextStep.CLOSE),
    (Step.DEACTIVATED, "Active", HOLDS_NEW, NextStep.DEACTIVATE),
    (Step.DEACTIVATED, "Inactive", HOLDS_NEW, NextStep.DELETE),
    (Step.DEACTIVATED, "Expired", HOLDS_NEW, NextStep.DELETE),
    (Step.DEACTIVATED, None, HOLDS_NEW, NextStep.CLOSE),
]  # fmt: skip


@pytest.mark.parametrize(("step", "old", "in_vault", "move"), FORWARD)
@pytest.mark.parametrize(("new", "age"), [("Active", YOUNG), ("Active", SETTLED), (None, YOUNG)])
def test_the_next_step_forward(
    *,
    step: Step,
    old: str | None,
    in_vault: Mapping[str, str] | str,
    move: NextStep,
    new: str | None,
    age: timedelta,
) -> None:
    record = record_at(step, age=age)
    for status_of_old in STATUSES if old == "any" else (old,):
        for vault in VAULTS if isinstance(in_vault, str) else (in_vault,):
            assert next_step(record, observed(status_of_old, new, in_vault=vault)) is move


@pytest.mark.parametrize(
    ("step", "move"),
    [(Step.CREATED, NextStep.VERIFY), (Step.VERIFIED, NextStep.STORE), (Step.STORED, NextStep.STORE),
     (Step.DELIVERED, NextStep.STORE), (Step.DEACTIVATED, NextStep.STORE)],
)  # fmt: skip
def test_the_old_key_is_not_touched_if_the_record_names_no_new_one(step: Step, move: NextStep) -> None:
    record = replace(record_at(step), new=None)
    assert next_step(record, observed(new=None)) is move


def test_a_new_key_that_somebody_deleted_stops_every_step_forward() -> None:
    lost = {
        next_step(record, keys)
        for record, keys in situations(*OPEN, undoing=(False,))
        if record.started == NOW - SETTLED and NEW not in keys.listed
    }
    assert lost == {NextStep.NEW_DELETED, NextStep.KEYS_LOST}


def test_a_new_key_that_somebody_switched_off_stops_every_step_forward() -> None:
    off = {
        next_step(record, keys)
        for record, keys in situations(*OPEN, undoing=(False,))
        if status(keys, NEW) in ("Inactive", "Expired")
    }
    assert off == {NextStep.NEW_INACTIVE, NextStep.KEYS_LOST}


def test_no_key_is_left_if_neither_can_come_back_in_both_directions() -> None:
    for record, keys in situations(*OPEN):
        is_new_lost = status(keys, NEW) == "Expired" or (
            NEW not in keys.listed and record.started == NOW - SETTLED
        )
        is_lost = is_new_lost and status(keys, OLD) in ("Expired", None)
        assert (next_step(record, keys) is NextStep.KEYS_LOST) is is_lost


# -- back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", OPEN)
@pytest.mark.parametrize(
    ("old", "new", "in_vault", "old_answers", "move"),
    [
        ("Inactive", "Active", HOLDS_NEW, False, NextStep.REACTIVATE),
        ("Inactive", "Active", HOLDS_OLD, True, NextStep.REACTIVATE),
        ("Inactive", None, HOLDS_OLD, False, NextStep.REACTIVATE),
        ("Active", "Active", HOLDS_NEW, False, NextStep.VERIFY_OLD),
        ("Active", "Active", HOLDS_OLD, False, NextStep.VERIFY_OLD),
        ("Active", "Inactive", HOLDS_OLD, False, NextStep.VERIFY_OLD),
        ("Active", "Active", HOLDS_NEW, True, NextStep.STORE_OLD),
        ("Active", "Active", HOLDS_BOTH, True, NextStep.STORE_OLD),
        ("Active", "Active", HOLDS_NEITHER, True, NextStep.STORE_OLD),
        ("Active", "Inactive", HOLDS_NEW, True, NextStep.STORE_OLD),
        ("Active", "Active", HOLDS_OLD, True, NextStep.DEACTIVATE_NEW),
        ("Active", "Inactive", HOLDS_OLD, True, NextStep.DELETE_NEW),
        ("Active", "Expired", HOLDS_OLD, True, NextStep.DELETE_NEW),
        (None, "Active", HOLDS_NEW, False, NextStep.OLD_UNUSABLE),
        (None, None, HOLDS_NEW, False, NextStep.KEYS_LOST),
        ("Expired", "Active", HOLDS_NEW, False, NextStep.OLD_UNUSABLE),
        ("Expired", "Active", HOLDS_OLD, True, NextStep.OLD_UNUSABLE),
    ],
)
def test_the_next_step_back(
    *,
    step: Step,
    old: str | None,
    new: str | None,
    in_vault: Mapping[str, str],
    old_answers: bool,
    move: NextStep,
) -> None:
    record = record_at(step, is_undoing=True, is_reactivated=True)
    assert next_step(record, observed(old, new, in_vault=in_vault, old_answers=old_answers)) is move


@pytest.mark.parametrize(
    ("step", "is_reactivated", "move"),
    [
        (Step.CREATED, False, NextStep.VERIFY_OLD),
        (Step.VERIFIED, False, NextStep.VERIFY_OLD),
        (Step.STORED, False, NextStep.VERIFY_OLD),
        (Step.DELIVERED, False, NextStep.REACTIVATE),
        (Step.DEACTIVATED, False, NextStep.REACTIVATE),
        (Step.DELIVERED, True, NextStep.VERIFY_OLD),
        (Step.DEACTIVATED, True, NextStep.VERIFY_OLD),
    ],
)
def test_an_old_key_that_may_have_been_deactivated_is_reactivated_although_aws_lists_it_as_active(
    step: Step, is_reactivated: bool, move: NextStep
) -> None:
    record = record_at(step, is_undoing=True, is_reactivated=is_reactivated)
    assert next_step(record, observed("Active", "Active")) is move


def test_an_observation_does_not_say_that_the_old_key_answers_unless_aws_was_asked() -> None:
    record = record_at(Step.STORED, is_undoing=True)
    keys = ObservedKeys(observed().listed, HOLDS_OLD, frozenset(ENTRIES), NOW)
    assert next_step(record, keys) is NextStep.VERIFY_OLD


@pytest.mark.parametrize(
    ("age", "in_vault", "old_answers", "move"),
    [
        (YOUNG, HOLDS_OLD, False, NextStep.VERIFY_OLD),
        (YOUNG, HOLDS_NEW, False, NextStep.VERIFY_OLD),
        (YOUNG, HOLDS_NEW, True, NextStep.STORE_OLD),
        (YOUNG, HOLDS_OLD, True, NextStep.WAIT),
        *(
            (SETTLED, in_vault, old_answers, move)
            for old_answers in BOOLEANS
            for in_vault, move in (
                (HOLDS_OLD, NextStep.GIVE_UP),
                (HOLDS_NEW, NextStep.STORE_OLD),
                (HOLDS_BOTH, NextStep.STORE_OLD),
                (HOLDS_NEITHER, NextStep.STORE_OLD),
            )
        ),
    ],
)
def test_the_way_back_ends_without_a_new_key_once_aws_would_list_it(
    age: timedelta, in_vault: Mapping[str, str], old_answers: bool, move: NextStep
) -> None:
    record = record_at(Step.CREATED, age=age, is_undoing=True)
    assert next_step(record, observed("Active", None, in_vault=in_vault, old_answers=old_answers)) is move


def test_the_way_back_ends_without_a_new_key_if_the_record_names_none() -> None:
    record = replace(record_at(Step.CREATED, age=YOUNG, is_undoing=True), new=None)
    assert next_step(record, observed("Active", None, in_vault=HOLDS_OLD)) is NextStep.GIVE_UP


# -- promises that hold in every situation -------------------------------------------------------------------


def test_the_old_key_is_touched_only_if_the_new_one_is_in_the_vault_and_may_work() -> None:
    for record, keys in situations(*OPEN):
        if next_step(record, keys) in (
            NextStep.DEACTIVATE,
            NextStep.DELETE,
            NextStep.CLOSE,
            NextStep.RECORD_DEACTIVATED,
        ):
            assert not record.is_undoing
            assert keys.in_vault == HOLDS_NEW
            assert record.step in (Step.DELIVERED, Step.DEACTIVATED)
            assert status(keys, NEW) == "Active" or record.started == NOW - YOUNG


def test_the_old_key_is_deleted_only_after_it_was_deactivated() -> None:
    for record, keys in situations(*OPEN):
        if next_step(record, keys) is NextStep.DELETE:
            assert record.step is Step.DEACTIVATED
            assert status(keys, OLD) in ("Inactive", "Expired")


def test_the_new_key_is_removed_only_after_the_old_one_answers_and_is_back_in_the_vault() -> None:
    for record, keys in situations(*OPEN):
        if next_step(record, keys) in (NextStep.DEACTIVATE_NEW, NextStep.DELETE_NEW):
            assert record.is_undoing
            assert status(keys, OLD) == "Active"
            assert keys.is_old_accepted
            assert keys.in_vault == HOLDS_OLD


def test_a_rotation_ends_as_undone_only_if_the_vault_holds_the_old_key_and_the_new_one_is_gone() -> None:
    for record, keys in situations(*OPEN):
        if next_step(record, keys) is NextStep.GIVE_UP:
            assert status(keys, OLD) == "Active"
            assert keys.in_vault == HOLDS_OLD
            assert NEW not in keys.listed
            assert record.started == NOW - SETTLED


# -- inputs of the decisions


@pytest.mark.parametrize(
    ("age", "is_listed", "expected"),
    [
        (HOUR, True, False),
        (120 * SECOND, False, False),
        (120 * SECOND + MICROSECOND, False, True),
        (-HOUR, False, False),
    ],
    ids=["listed", "two minutes old", "older than two minutes", "the clock was set back"],
)
def test_a_key_is_gone_if_aws_does_not_list_it_two_minutes_after_it_was_created(
    age: timedelta, is_listed: bool, expected: bool
) -> None:
    record = replace(record_at(Step.CREATED, age=age), started=NOW - 2 * HOUR)
    assert is_new_key_gone(record, observed(new="Inactive" if is_listed else None)) is expected


def test_the_age_of_a_key_counts_from_the_beginning_if_its_creation_is_not_recorded() -> None:
    record = record_at(Step.CREATED, age=120 * SECOND)
    assert not is_new_key_gone(replace(record, step_times={}), observed(new=None))
    assert is_new_key_gone(replace(record, step_times={}, started=NOW - SETTLED), observed(new=None))


ONE_ENTRY = frozenset({"ci"})


@pytest.mark.parametrize(
    ("in_vault", "wanted", "new", "old"),
    [
        (HOLDS_NEW, ENTRIES, True, False),
        (HOLDS_OLD, ENTRIES, False, True),
        (HOLDS_BOTH, ENTRIES, False, False),
        (HOLDS_NEITHER, ENTRIES, False, False),
        ({}, ENTRIES, False, False),
        ({"ci": NEW}, ENTRIES, False, False),
        ({"ci": OLD}, ENTRIES, False, False),
        # An entry that no profile looks for may be missing, but must not hold the other key.
        ({"ci": NEW}, ONE_ENTRY, True, False),
        ({"ci": OLD}, ONE_ENTRY, False, True),
        ({"ci": NEW, "ci-deploy": OLD}, ONE_ENTRY, False, False),
        ({"ci": OLD, "ci-deploy": NEW}, ONE_ENTRY, False, False),
        ({"ci": NEW, "ci-deploy": OTHER}, ONE_ENTRY, True, False),
        # A further entry that holds the other key was missed.
        ({**HOLDS_NEW, "copy": OLD}, ENTRIES, False, False),
        ({**HOLDS_OLD, "copy": NEW}, ENTRIES, False, False),
        # No profile looks for the key any more: all entries count, because a key that is in none is lost.
        ({"ci": NEW}, frozenset({"unrelated"}), False, False),
        (HOLDS_NEW, frozenset({"unrelated"}), True, False),
        (HOLDS_OLD, frozenset(), False, True),
    ],
)
def test_the_vault_holds_a_key_if_it_is_in_every_wanted_entry_and_the_other_key_in_none(
    in_vault: Mapping[str, str], wanted: frozenset[str], new: bool, old: bool
) -> None:
    record, keys = record_at(Step.STORED), observed(in_vault=in_vault, wanted=wanted)
    assert (vault_has_new(record, keys), vault_has_old(record, keys)) == (new, old)


def test_without_a_new_key_the_vault_holds_the_old_one_alone() -> None:
    record = record_at(Step.INTENT)
    assert vault_has_old(record, observed(in_vault=HOLDS_OLD))
    assert not vault_has_old(record, observed(in_vault=HOLDS_BOTH))
    assert not vault_has_new(record, observed(in_vault=HOLDS_OLD))
    assert not vault_has_new(record, observed(in_vault={}))


@pytest.mark.parametrize(
    ("looked_for", "expected"),
    [
        ({"ci", "ci-deploy"}, ("ci", "ci-deploy")),
        ({"ci-deploy", "unrelated"}, ("ci-deploy",)),
        ({"unrelated"}, ("ci", "ci-deploy")),
        ({None}, ("ci", "ci-deploy")),
        (set(), ("ci", "ci-deploy")),
    ],
)
def test_the_wanted_entries_are_those_of_the_record_that_a_profile_looks_for(
    looked_for: set[str | None], expected: tuple[str, ...]
) -> None:
    assert required_entries(record_at(Step.STORED), looked_for) == expected
