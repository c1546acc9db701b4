"""The progress of a rotation: its texts and its JSON form."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keyturn.model.json_codec import from_table, to_table
from keyturn.operations.rotation.progress import Progress, progress_of
from keyturn.operations.rotation.record import Step
from tests.core.operations.rotation.records import NEW, NOW, OLD, OPEN, OTHER, record_at

OLD_SHOWN, NEW_SHOWN = "AKIA…4WQP", "AKIA…9ZLM"
USER = "arn:aws:iam::444455556666:user/team/ci"
RESUME, UNDO, FINISH = (f"keyturn rotate ci --{verb}" for verb in ("resume", "undo", "finish"))


def at(step: Step, **changes: Any) -> Progress:
    new_id = None if step is Step.INTENT else NEW
    return replace(Progress(profile="ci", user=USER, old_id=OLD, step=step, new_id=new_id), **changes)


@pytest.mark.parametrize(
    ("step", "facts", "commands"),
    [
        (Step.INTENT, [f"{OLD_SHOWN} works and is in use"], {RESUME}),
        (Step.CREATED, [f"{OLD_SHOWN} is in use", f"{OLD_SHOWN} and {NEW_SHOWN} exist"], {RESUME, UNDO}),
        (Step.VERIFIED, [f"{OLD_SHOWN} is in use", f"{OLD_SHOWN} and {NEW_SHOWN} work"], {RESUME, UNDO}),
        (Step.STORED, [f"{NEW_SHOWN} is in use", OLD_SHOWN], {RESUME, UNDO}),
        (Step.DELIVERED, [f"{NEW_SHOWN} is in use", OLD_SHOWN], {RESUME, UNDO}),
        (Step.DEACTIVATED, [f"{NEW_SHOWN} is in use", OLD_SHOWN], {UNDO, FINISH}),
        (Step.DONE, [f"{NEW_SHOWN} is in use", f"{OLD_SHOWN} is deleted"], set()),
        (Step.UNDONE, [f"{OLD_SHOWN} is in use"], set()),
    ],
)
def test_each_step_says_which_key_is_in_use_and_which_commands_follow(
    step: Step, facts: list[str], commands: set[str]
) -> None:
    text = at(step).summary()
    assert [fact for fact in facts if fact not in text] == []
    assert {command for command in (RESUME, UNDO, FINISH) if command in text} == commands
    assert "{" not in text


@pytest.mark.parametrize("step", [Step.INTENT, *OPEN])
def test_on_the_way_back_it_names_both_keys_and_the_command_that_continues(step: Step) -> None:
    text = at(step, is_undoing=True, new_id=NEW).summary()
    assert f"{OLD_SHOWN} and {NEW_SHOWN} may both exist" in text
    assert text.endswith(UNDO)
    assert RESUME not in text


def test_an_undone_rotation_is_not_continued() -> None:
    assert at(Step.UNDONE, is_undoing=True).summary() == at(Step.UNDONE).summary()


def test_keys_without_a_secret_are_all_named_with_the_command_that_deletes_the_first() -> None:
    text = at(Step.INTENT, orphans=(OTHER, NEW)).summary()
    assert f"{OLD_SHOWN} works and is in use" in text
    assert f"AKIA…77AA, {NEW_SHOWN}" in text
    assert text.endswith("keyturn rotate ci --drop 77AA")


def test_keys_without_a_secret_come_before_the_way_back() -> None:
    assert "--drop 77AA" in at(Step.INTENT, orphans=(OTHER,), is_undoing=True).summary()


@pytest.mark.parametrize("changes", [{}, {"orphans": (OTHER,)}, {"is_undoing": True}])
def test_drift_is_said_instead_of_what_the_record_says(changes: dict[str, Any]) -> None:
    assert at(Step.STORED, drift="somebody deleted it", **changes).summary() == "somebody deleted it"


@pytest.mark.parametrize("step", list(Step))
def test_a_rotation_is_over_once_it_is_done_or_undone(step: Step) -> None:
    assert at(step).is_finished is (step in (Step.DONE, Step.UNDONE))


def test_progress_begins_with_nothing_to_wait_for_and_nothing_wrong() -> None:
    plain = Progress(profile="ci", user=USER, old_id=OLD, step=Step.INTENT)
    assert plain.wait == 0.0
    assert (plain.new_id, plain.note, plain.orphans, plain.deletable_from, plain.drift) == (
        None,
        "",
        (),
        None,
        "",
    )
    assert not plain.is_undoing
    assert not plain.is_halted


# -- of a record ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", OPEN)
@pytest.mark.parametrize("is_undoing", [False, True])
def test_the_progress_of_a_record_has_its_facts(step: Step, is_undoing: bool) -> None:
    record = record_at(step, is_undoing=is_undoing)
    deletable_from = record.deletable_from()
    expected = replace(at(step), is_undoing=is_undoing, deletable_from=deletable_from)
    assert progress_of(record) == expected
    assert (deletable_from is not None) is (step is Step.DEACTIVATED)


def test_the_progress_of_a_record_without_a_new_key_names_none() -> None:
    assert progress_of(record_at(Step.INTENT)).new_id is None


def test_the_progress_of_a_record_takes_what_else_was_seen() -> None:
    keys: dict[str, Any] = {"wait": 5.0, "is_halted": True, "note": "n", "orphans": (OTHER,), "drift": "a"}
    record = record_at(Step.STORED)
    assert progress_of(record, **keys) == replace(progress_of(record), **keys)


# -- on the wire ---------------------------------------------------------------------------------------------

FULL = at(
    Step.DEACTIVATED,
    is_undoing=True,
    wait=2.5,
    is_halted=True,
    note="a note",
    orphans=(OTHER,),
    deletable_from=NOW + timedelta(hours=24),
    drift="somebody did",
)


def test_progress_is_written_under_the_names_that_the_readme_gives() -> None:
    assert to_table(FULL) == {
        "profile": "ci",
        "user": USER,
        "old_id": OLD,
        "new_id": NEW,
        "step": "deactivated",
        "undoing": True,
        "wait": 2.5,
        "halted": True,
        "note": "a note",
        "orphans": [OTHER],
        "deletable_from": "2026-03-15T14:05:10Z",
        "amiss": "somebody did",
    }


@pytest.mark.parametrize("progress", [FULL, *map(at, Step)], ids=lambda one: one.step.value)
def test_progress_is_read_as_it_was_written(progress: Progress) -> None:
    assert from_table(Progress, json.loads(json.dumps(to_table(progress)))) == progress


@pytest.mark.parametrize("flags", [(True, False), (False, True)])
def test_undoing_and_halted_are_read_apart(flags: tuple[bool, bool]) -> None:
    undoing, halted = flags
    read = from_table(Progress, to_table(at(Step.STORED, is_undoing=undoing, is_halted=halted)))
    assert (read.is_undoing, read.is_halted) == flags
