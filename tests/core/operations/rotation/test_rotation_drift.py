"""Another user changes the keys at AWS during a rotation: every message is true, and each leads to the next
step."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keyturn.model.errors import KeyturnError, RotationHalted
from keyturn.model.json_codec import from_table
from keyturn.operations.rotation.delete_key import Obstacle
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn.operations.rotation.record_store import journal_of, pending_record
from keyturn.operations.rotation.vault_keys import previous_keys
from tests.core.operations.rotation.rotation_home import PROFILE, Home
from tests.core.operations.rotation.rotation_states import run_rotation, run_until, statuses, undo_rotation

#: After this long, every change at AWS has propagated.
PROPAGATED = timedelta(minutes=5)


def change_in_console(home: Home, *, switches: str = "", to: str = "Inactive", deletes: str = "") -> None:
    """Change keys as another user does in the console."""
    for key in list(home.user.keys):
        if key.key_id == switches:
            home.state.set_status(key, to)
        if key.key_id == deletes:
            home.state.delete_key(home.user, key)


def status_text(home: Home) -> str:
    """Return what `--status` prints about the rotation."""
    return from_table(Progress, home.service.rotation.status(PROFILE)["rotation"]).summary()


def resume(home: Home) -> Step:
    rotation = home.service.rotation
    *_, last = rotation.run_to_end(
        rotation.advance(PROFILE), lambda: rotation.advance(PROFILE), home.time.sleep
    )
    return last.step


@pytest.mark.parametrize("step", [Step.CREATED, Step.VERIFIED, Step.STORED, Step.DELIVERED])
def test_a_new_key_that_somebody_switched_off_is_said_at_once_and_gone_back_from(
    home: Home, step: Step
) -> None:
    progress = run_until(home, step)
    home.time.sleep(PROPAGATED.total_seconds())
    change_in_console(home, switches=progress.new_id or "")
    used = ", and the vault uses it" if step.is_at_least(Step.STORED) else ""
    assert f"is inactive at AWS, changed outside keyturn{used}. To return to" in status_text(home)
    before = len(home.line.calls)
    with pytest.raises(RotationHalted, match="inactive at AWS, changed outside keyturn"):
        home.service.rotation.advance(PROFILE)
    assert {action for action, _ in home.line.calls[before:]} == {"ListAccessKeys"}, "nothing else is tried"
    assert undo_rotation(home).step is Step.UNDONE
    assert statuses(home) == {progress.old_id: "Active"}


def test_a_new_key_that_is_switched_on_again_is_gone_on_with(home: Home) -> None:
    progress = run_until(home, Step.STORED)
    home.time.sleep(PROPAGATED.total_seconds())
    change_in_console(home, switches=progress.new_id or "")
    with pytest.raises(RotationHalted):
        home.service.rotation.advance(PROFILE)
    change_in_console(home, switches=progress.new_id or "", to="Active")
    assert resume(home) is Step.DEACTIVATED


@pytest.mark.parametrize("how", ["switched off", "deleted"])
def test_an_old_key_that_somebody_took_before_the_new_one_was_stored_is_gone_on_from(
    home: Home, how: str
) -> None:
    progress = run_until(home, Step.CREATED)
    home.time.sleep(PROPAGATED.total_seconds())
    if how == "deleted":
        change_in_console(home, deletes=progress.old_id)
        assert "is deleted at AWS, and the vault uses it. To continue with" in status_text(home)
    else:
        change_in_console(home, switches=progress.old_id)
        assert "is already inactive at AWS, and the vault uses it. To continue with" in status_text(home)
    assert resume(home) is (Step.DONE if how == "deleted" else Step.DEACTIVATED)
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id


def test_an_old_key_that_somebody_switched_on_again_is_named(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    assert "was reactivated" not in status_text(home)
    home.time.sleep(PROPAGATED.total_seconds())
    change_in_console(home, switches=progress.old_id, to="Active")
    assert "was reactivated at AWS, outside keyturn. To deactivate it" in status_text(home)
    assert resume(home) is Step.DEACTIVATED
    assert statuses(home)[progress.old_id] == "Inactive"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Active", "Active", "was reactivated at AWS, outside keyturn"),
        ("Inactive", "deleted", "AWS accepts neither"),
        ("Active", "Inactive", "is inactive at AWS, changed outside keyturn"),
        ("Active", "deleted", "was deleted at AWS, outside keyturn"),
    ],
)
def test_a_deletion_is_refused_for_the_change_at_aws_before_a_confirmation_is_asked_for(
    home: Home, old: str, new: str, words: str
) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    home.time.sleep(25 * 3600)
    change_in_console(home, switches=progress.old_id, to=old)
    if new == "deleted":
        change_in_console(home, deletes=progress.new_id or "")
    else:
        change_in_console(home, switches=progress.new_id or "", to=new)
    before = statuses(home)
    for last_four in (None, progress.old_id[-4:]):
        with pytest.raises(RotationHalted, match=words):
            home.service.rotation.finish(PROFILE, last_four, force=tuple(Obstacle))
    with pytest.raises(RotationHalted, match=words):
        home.service.rotation.deletion_facts(PROFILE)
    assert statuses(home) == before


def test_an_old_key_that_somebody_deleted_needs_no_word_to_end_with(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    change_in_console(home, deletes=progress.old_id)
    assert "is deleted at AWS. To continue with" in status_text(home)
    assert home.service.rotation.finish(PROFILE, None).step is Step.DONE
    assert list(statuses(home)) == [progress.new_id]


def test_where_aws_knows_neither_key_every_way_says_so_and_how_it_ends(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    home.time.sleep(PROPAGATED.total_seconds())
    change_in_console(home, deletes=progress.old_id)
    change_in_console(home, deletes=progress.new_id or "")
    rotation = home.service.rotation
    for way in (
        rotation.status, rotation.advance, rotation.undo, rotation.deletion_facts,
        lambda name: rotation.finish(name, progress.old_id[-4:]),
    ):  # fmt: skip
        with pytest.raises(RotationHalted, match="AWS accepts neither") as error:
            way(PROFILE)
        assert "If both are deleted" in error.value.hint
    (record,) = journal_of(home.service.context).names()
    file = journal_of(home.service.context).path_of(record)
    assert f"move {file} away" in error.value.hint
    file.rename(file.with_name("away"))
    with pytest.raises(KeyturnError, match="does not accept AKIA…") as gone:
        rotation.status(PROFILE)
    assert not home.service.context.index.load().rotations, "the list does not say any more that one waits"
    assert "--undo" in gone.value.hint
    with pytest.raises(RotationHalted, match="AWS accepts neither") as error:
        rotation.undo(PROFILE)
    assert f"from the vault: keyturn rotate {PROFILE} --drop {progress.old_id[-4:]}" in error.value.hint
    assert "removed it from the vault" in rotation.delete_other_key(PROFILE, progress.old_id[-4:])
    with pytest.raises(KeyturnError, match="does not accept AKIA…") as gone:
        rotation.status(PROFILE)
    assert "keyturn release" in gone.value.hint
    assert pending_record(home.service.context, PROFILE) is None
    assert PROFILE not in previous_keys(home.service.context)


def test_nothing_is_wrong_in_a_rotation_that_nobody_disturbs(home: Home) -> None:
    home.state.propagation, home.state.flapping = timedelta(seconds=20), timedelta(seconds=20)
    for progress in run_rotation(home):
        if progress.new_id is not None:
            home.time.sleep(1)
            try:
                rotation = home.service.rotation.status(PROFILE)["rotation"]
            except KeyturnError:
                continue  # the new key has not propagated everywhere yet
            assert not rotation["amiss"], progress.step
