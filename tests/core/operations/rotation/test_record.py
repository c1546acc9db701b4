"""The record of a rotation: its steps, its grace period, and its JSON form."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn.model.json_codec import to_secret_table, to_table
from keyturn.model.secret import Secret
from keyturn.operations.rotation.record import Record, Step, record_from_table
from tests.core.operations.rotation.records import ENTRIES, HOUR, NEW, NOW, OLD, OPEN, SECOND, record_at

ORDER = (Step.INTENT, *OPEN, Step.DONE, Step.UNDONE)
#: The form on disk. Journals of older versions hold these names, so they stay.
ON_DISK = {
    "nonce": "nonce",
    "profile": "ci",
    "entries": ["ci", "ci-deploy"],
    "user": "arn:aws:iam::444455556666:user/team/ci",
    "old": {"key_id": OLD, "secret": f"secret of {OLD}"},
    "new": {"key_id": NEW, "secret": f"secret of {NEW}"},
    "step": "verified",
    "began": "2026-03-14T13:05:10Z",
    "created": "2026-03-14T13:05:12Z",
    "listed": [OLD],
    "undoing": True,
    "reactivated": False,
    "at": {"intent": "2026-03-14T13:05:10+00:00", "verified": "2026-03-14T14:05:10+00:00"},
}
IN_MEMORY = replace(
    record_at(Step.VERIFIED),
    created=NOW - HOUR + 2 * SECOND,
    is_undoing=True,
    step_times={Step.INTENT: NOW - HOUR, Step.VERIFIED: NOW},
)


def test_a_record_is_no_plain_table() -> None:
    with pytest.raises(TypeError):
        to_table(IN_MEMORY)


def contents(record: Record) -> tuple[object, ...]:
    """Return a record with its secrets revealed, because a `Secret` does not compare as its text."""
    keys = [(key.access_key_id, key.secret_access_key.reveal()) for key in (record.old, record.new) if key]
    return *keys, replace(record, old=record_at(Step.INTENT).old, new=None)


# -- steps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ORDER)
def test_only_done_and_undone_end_a_rotation(step: Step) -> None:
    assert step.is_last is (step in (Step.DONE, Step.UNDONE))


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_a_step_is_past_itself_and_all_before_it(place: int) -> None:
    assert [ORDER[place].is_at_least(other) for other in ORDER] == [True] * (place + 1) + [False] * (
        7 - place
    )


@pytest.mark.parametrize("step", ORDER)
def test_a_reached_step_is_recorded_with_its_time_and_the_earlier_ones_stay(step: Step) -> None:
    before = replace(record_at(Step.CREATED), step_times={Step.CREATED: NOW - HOUR})
    after = before.with_step(step, NOW)
    assert after == replace(before, step=step, step_times={Step.CREATED: NOW - HOUR, step: NOW})
    assert before.step_times == {Step.CREATED: NOW - HOUR}, "a record is never changed"


# -- the old key ---------------------------------------------------------------------------------------------


def test_the_old_key_may_be_deleted_24_hours_after_it_was_deactivated() -> None:
    record = record_at(Step.DELIVERED).with_step(Step.DEACTIVATED, NOW)
    assert record.deletable_from() == NOW + timedelta(hours=24)


@pytest.mark.parametrize("step", [step for step in ORDER if step is not Step.DEACTIVATED])
def test_the_old_key_has_no_time_of_deletion_unless_it_is_deactivated_now(step: Step) -> None:
    record = replace(record_at(step), step_times={Step.DEACTIVATED: NOW})
    assert record.deletable_from() is None


def test_the_old_key_has_no_time_of_deletion_if_that_of_its_deactivation_is_unknown() -> None:
    assert replace(record_at(Step.DEACTIVATED), step_times={}).deletable_from() is None


def test_a_record_without_the_old_key_keeps_its_id_and_not_its_secret() -> None:
    record = record_at(Step.DEACTIVATED)
    without = record.without_old_secret()
    assert (without.old.access_key_id, without.old.secret_access_key.reveal()) == (OLD, "")
    assert replace(without, old=record.old) == record


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::444455556666:user/ci", "ci"),
        ("arn:aws:iam::444455556666:user/team/build/ci", "ci"),
        ("arn:aws-cn:iam::444455556666:user/jo@example.com", "jo@example.com"),
    ],
)
def test_the_user_name_is_the_last_part_of_the_arn(arn: str, name: str) -> None:
    assert replace(record_at(Step.INTENT), user=arn).user_name == name


# -- on disk -------------------------------------------------------------------------------------------------


def test_a_record_is_written_in_the_form_of_every_version() -> None:
    assert list(to_secret_table(IN_MEMORY).items()) == list(ON_DISK.items())


def test_a_record_is_read_as_it_was_written() -> None:
    assert contents(record_from_table(json.loads(json.dumps(ON_DISK)))) == contents(IN_MEMORY)


@pytest.mark.parametrize("step", ORDER)
@pytest.mark.parametrize("is_undoing", [False, True])
@pytest.mark.parametrize("is_reactivated", [False, True])
def test_a_record_of_every_step_is_read_as_it_was_written(
    step: Step, is_undoing: bool, is_reactivated: bool
) -> None:
    record = record_at(step, is_undoing=is_undoing, is_reactivated=is_reactivated)
    assert contents(record_from_table(json.loads(json.dumps(to_secret_table(record))))) == contents(record)


def test_a_new_record_goes_forward_and_has_reached_nothing() -> None:
    old = record_at(Step.INTENT).old
    record = Record(
        nonce="nonce", profile="ci", entries=ENTRIES, user="arn", old=old, step=Step.INTENT, started=NOW
    )
    assert (record.new, record.created, record.initial_key_ids, dict(record.step_times)) == (
        None,
        None,
        (),
        {},
    )
    assert not record.is_undoing
    assert not record.is_reactivated


@pytest.mark.parametrize("missing", ON_DISK)
def test_a_record_that_lacks_a_field_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match="not a rotation record"):
        record_from_table({name: value for name, value in ON_DISK.items() if name != missing})


@pytest.mark.parametrize(
    "broken",
    [
        {"step": "made-up"},
        {"step": None},
        {"began": None},
        {"began": "yesterday"},
        {"began": "2026-03-14T13:05:10"},
        {"created": "2026-03-14T13:05:12"},
        {"created": "yesterday"},
        {"created": 0},
        {"undoing": "false"},
        {"undoing": None},
        {"reactivated": 0},
        {"entries": "ci"},
        {"listed": "AKIA"},
        {"entries": None},
        {"listed": 7},
        {"old": None},
        {"old": {"key_id": OLD}},
        {"old": {"secret": "s"}},
        {"old": {"key_id": OLD, "secret": None}},
        {"new": {"key_id": 7, "secret": "s"}},
        {"new": {"key_id": NEW}},
        {"new": "text"},
        {"at": []},
        {"at": {"made-up": "2026-03-14T13:05:10+00:00"}},
        {"at": {"created": "yesterday"}},
        {"at": {"created": "2026-03-14T13:05:10"}},
        {"at": {"created": None}},
    ],
    ids=str,
)
def test_a_record_that_is_broken_is_refused_without_its_contents(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a rotation record") as excinfo:
        record_from_table({**ON_DISK, **broken})
    assert excinfo.value.__cause__ is None
    assert excinfo.value.__suppress_context__


def test_the_secrets_of_a_record_do_not_show() -> None:
    assert "secret of" not in repr(IN_MEMORY)
    assert isinstance(record_from_table(ON_DISK).old.secret_access_key, Secret)
