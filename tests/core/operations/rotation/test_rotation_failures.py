"""Failed steps of a rotation: the failure table of access-key rotation, row by row."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.model.errors import (
    FileBusy,
    KeyturnError,
    NeedsConfirmation,
    NeedsUnlock,
    NotFound,
    RotationHalted,
    VaultCorrupt,
)
from keyturn.model.profile import RotationState
from keyturn.operations.rotation import create_key, record_store
from keyturn.operations.rotation.delete_key import Obstacle
from keyturn.operations.rotation.journal import Journal, RecordTable
from keyturn.operations.rotation.key_signer import KeySigner
from keyturn.operations.rotation.record import Record, Step
from keyturn.operations.rotation.record_store import records
from keyturn.operations.rotation.state_machine import ObservedKeys
from keyturn_sandbox.policy.principals import LastUse
from tests.core.operations.rotation.direct_iam import Crash, Fault
from tests.core.operations.rotation.rotation_home import PROFILE, START, Home
from tests.core.operations.rotation.rotation_states import fault_at, run_rotation, run_until, statuses


@pytest.mark.parametrize("trouble", [Fault.LOST_REPLY, Fault.AWS_ERROR])
def test_a_key_whose_answer_was_lost_is_found_and_dropped_on_ones_word(home: Home, trouble: Fault) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", trouble)
    *_, last = run_rotation(home)
    (orphan,) = set(statuses(home)) - set(home.keys_on_disk())
    assert last.orphans == (orphan,)
    assert f"--drop {orphan[-4:]}" in last.summary()
    assert home.service.context.key(PROFILE).access_key_id == last.old_id
    home.service.rotation.delete_other_key(PROFILE, orphan[-4:])
    assert list(statuses(home)) == [last.old_id]
    assert run_until(home, Step.DEACTIVATED)


def test_a_call_that_did_not_go_through_is_looked_after_for_a_minute_and_no_longer(home: Home) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", Fault.UNSENT)
    *_, last = run_rotation(home)
    assert last.step is Step.UNDONE
    assert timedelta(seconds=60) <= home.time.now - START < timedelta(seconds=90)
    assert len(statuses(home)) == 1
    assert not home.service.context.index.load().rotations


def test_a_clock_that_is_set_back_makes_nobody_wait_for_days(home: Home) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", Fault.UNSENT)
    home.service.rotation.start(PROFILE)
    home.time.now -= timedelta(days=2)
    rotation = home.service.rotation
    *_, last = rotation.run_to_end(
        rotation.advance(PROFILE), lambda: rotation.advance(PROFILE), home.time.sleep
    )
    assert last.step is Step.UNDONE


def test_the_facts_of_a_deletion_are_not_told_before_it_is_the_only_step_left(home: Home) -> None:
    assert run_until(home, Step.DELIVERED)
    with pytest.raises(RotationHalted, match="the old key is deleted last"):
        home.service.rotation.deletion_facts(PROFILE)


def test_no_rotation_is_started_while_the_definitions_cannot_be_read(home: Home) -> None:
    home.service.paths.profiles_file.write_text("not TOML [")
    with pytest.raises(KeyturnError, match=r"profiles\.toml"):
        create_key.start(home.service.context, PROFILE)
    assert not home.line.calls


@pytest.mark.parametrize("refused", ["journal", "both"])
def test_a_new_key_that_the_disk_refuses_is_kept_elsewhere_or_deleted_again(home: Home, refused: str) -> None:
    def on_write(place: str) -> str:
        is_late = home.line.calls[-1][0] == "CreateAccessKey"
        return "refuse" if is_late and (refused == "both" or place == "journal") else ""

    home.on_write = on_write
    if refused == "journal":
        with home.run_service():
            progress = home.service.rotation.start(PROFILE)
        assert progress.new_id in home.keys_on_disk()
        home.on_write = lambda _: ""
        assert home.service.rotation.advance(PROFILE).step is Step.VERIFIED
        return
    with home.run_service(), pytest.raises(KeyturnError, match="so it was deleted at AWS") as error:
        home.service.rotation.start(PROFILE)
    assert "works and is in use" in error.value.line()
    assert list(statuses(home)) == [home.service.context.key(PROFILE).access_key_id]


@pytest.mark.parametrize("error", [NeedsUnlock, FileBusy, OSError])
def test_a_new_key_that_was_deleted_again_is_told_of_whatever_the_journal_refuses(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def write(journal: Journal, name: str, record: RecordTable, previous_step: str | None = None) -> None:
        if previous_step == str(Step.INTENT):
            raise error("the journal", "refused")
        real_write(journal, name, record, previous_step)

    real_write = Journal.write
    monkeypatch.setattr(Journal, "write", write)
    with pytest.raises(KeyturnError, match="so it was deleted at AWS"):
        home.service.rotation.start(PROFILE)
    assert list(statuses(home)) == [home.service.context.key(PROFILE).access_key_id]


def test_a_new_key_that_neither_disk_nor_aws_takes_back_is_named(home: Home) -> None:
    home.on_write = lambda _: "refuse" if home.line.calls[-1][0] == "CreateAccessKey" else ""
    home.line.next_fault = fault_at("DeleteAccessKey", Fault.THROTTLED, 99)
    with home.run_service(), pytest.raises(RotationHalted) as error:
        home.service.rotation.start(PROFILE)
    (lost,) = set(statuses(home)) - {home.service.context.key(PROFILE).access_key_id}
    assert lost in error.value.line()


def test_a_new_key_that_iam_does_not_know_yet_is_deleted_once_it_does(home: Home) -> None:
    home.on_write = lambda _: "refuse" if home.line.calls[-1][0] == "CreateAccessKey" else ""
    home.line.next_fault = fault_at("DeleteAccessKey", Fault.UNSENT)
    home.state.propagation, home.state.flapping = timedelta(seconds=5), timedelta(seconds=5)
    with home.run_service(), pytest.raises(KeyturnError, match="so it was deleted at AWS"):
        home.service.rotation.start(PROFILE)
    assert list(statuses(home)) == [home.service.context.key(PROFILE).access_key_id]


def test_a_new_key_that_never_answers_leaves_the_old_one_in_use(home: Home) -> None:
    first = home.service.rotation.start(PROFILE)
    home.line.next_fault = fault_at("GetCallerIdentity", Fault.DENIED, 1000)
    rotation = home.service.rotation
    with pytest.raises(RotationHalted, match="has not propagated the new key") as error:
        list(rotation.run_to_end(first, lambda: rotation.advance(PROFILE), home.time.sleep))
    assert "--undo" in error.value.hint
    assert home.service.context.key(PROFILE).access_key_id == first.old_id


def test_a_store_that_fails_leaves_both_keys_and_is_gone_on_with(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = run_until(home, Step.VERIFIED)
    with monkeypatch.context() as broken:
        broken.setattr("keyturn.vault.files.write_keys", _refuse)
        with pytest.raises(KeyturnError) as error:
            home.service.rotation.advance(PROFILE)
    assert "nothing is lost" in error.value.hint
    assert home.service.context.key(PROFILE).access_key_id == progress.old_id
    assert home.service.rotation.advance(PROFILE).step is Step.STORED


def _refuse(*_: object) -> Path:
    raise OSError(28, "No space left on device")


def test_without_leave_to_switch_off_the_new_key_is_in_use_and_the_old_one_named(home: Home) -> None:
    progress = run_until(home, Step.DELIVERED)
    home.time.now += timedelta(minutes=5)
    home.line.next_fault = fault_at("UpdateAccessKey", Fault.DENIED)
    halted = home.service.rotation.advance(PROFILE)
    assert halted.is_halted
    assert "iam:UpdateAccessKey" in halted.note
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id
    assert set(statuses(home).values()) == {"Active"}


def test_the_old_key_is_deleted_after_its_grace_period_once_it_is_confirmed(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    with pytest.raises(RotationHalted, match="grace period ends in"):
        home.service.rotation.finish(PROFILE, None)
    home.time.now += timedelta(hours=25)
    with pytest.raises(KeyturnError, match="cannot be undone") as wanted:
        home.service.rotation.finish(PROFILE, None)
    assert progress.old_id[-4:] in wanted.value.hint
    with pytest.raises(KeyturnError, match="are not its last four"):
        home.service.rotation.finish(PROFILE, "0000")
    assert home.service.rotation.finish(PROFILE, progress.old_id[-4:]).step is Step.DONE
    assert list(statuses(home)) == [progress.new_id]
    assert "previous" not in str(home.service.context.vault.keys())


GRACE, USED = Obstacle.GRACE, Obstacle.USED


@pytest.mark.parametrize(
    ("is_early", "last_use", "expected"),
    [
        (False, "none", ()),
        (True, "none", (GRACE,)),
        (False, "after the new key", (USED,)),
        (False, "unknown", (USED,)),
        (True, "after the new key", (USED, GRACE)),
        (True, "unknown", (USED, GRACE)),
    ],
)
def test_the_old_key_is_deleted_only_if_every_obstacle_is_named(
    home: Home, *, is_early: bool, last_use: str, expected: tuple[Obstacle, ...]
) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    rotation, last_four = home.service.rotation, progress.old_id[-4:]
    home.time.sleep(60)
    if last_use == "after the new key":
        home.user.keys[0].record_use(LastUse(home.time.now, "s3", "eu-west-1"))
    if last_use == "unknown":
        home.line.next_fault = fault_at("GetAccessKeyLastUsed", Fault.DENIED, 99)
    home.time.sleep(3600 if is_early else 25 * 3600)
    facts = rotation.deletion_facts(PROFILE)
    assert (facts.obstacles, len(facts.warnings)) == (expected, len(expected))
    for force in ((), (GRACE,), (USED,)):
        if not set(expected) <= set(force):
            with pytest.raises(RotationHalted) as error:
                rotation.finish(PROFILE, last_four, force=force)
            left = [
                clause for each, clause in zip(expected, facts.warnings, strict=True) if each not in force
            ]
            assert error.value.why == "; ".join(left)
            assert error.value.hint.endswith(f"--confirm {last_four} --force {','.join(expected)}")
            assert len(statuses(home)) == 2
    assert home.service.context.profile_state(PROFILE).failure is None, "a refusal is no failure"
    with pytest.raises(NeedsConfirmation):
        rotation.finish(PROFILE, None, force=expected)
    with pytest.raises(NeedsConfirmation):
        rotation.finish(PROFILE, "0000", force=expected)
    assert rotation.finish(PROFILE, last_four, force=expected).step is Step.DONE


def test_a_deactivation_without_a_time_is_within_its_grace_period(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    record = record_store.require_pending_record(home.service.context, PROFILE)
    record_store.save_step(home.service.context, replace(record, step_times={}), record.step)
    home.time.sleep(48 * 3600)
    with pytest.raises(RotationHalted, match="the time of its deactivation is unknown"):
        home.service.rotation.finish(PROFILE, progress.old_id[-4:], force=(Obstacle.USED,))


def test_no_key_is_asked_for_that_a_full_disk_could_not_keep(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create_key, "MIN_FREE_BYTES", 1 << 62)
    with pytest.raises(KeyturnError, match="less than 1 MiB is left"):
        home.service.rotation.start(PROFILE)
    assert len(statuses(home)) == 1
    monkeypatch.undo()
    assert home.service.rotation.start(PROFILE).step is Step.CREATED


def test_both_slots_used_names_both_and_drops_the_idle_one_only(home: Home) -> None:
    other = home.state.add_key(home.user, age=timedelta(days=3))
    home.user.keys[0].record_use(LastUse(home.time.now - timedelta(hours=2), "s3", "eu-west-1"))
    with pytest.raises(RotationHalted, match="both access key slots of the user are in use") as error:
        home.service.rotation.start(PROFILE)
    assert "94 days old, used 2h ago (s3, eu-west-1)" in error.value.why
    assert "3 days old, never used" in error.value.why
    assert "may not have been used yet. Find what uses it, deactivate it" in error.value.hint
    with pytest.raises(RotationHalted, match="may not have been used yet"):
        home.service.rotation.delete_other_key(PROFILE, other.key_id[-4:])
    with pytest.raises(NotFound):
        home.service.rotation.delete_other_key(PROFILE, "ZZZZ")
    home.state.set_status(other, "Inactive")
    other.record_use(LastUse(home.time.now - timedelta(hours=23), "s3", "eu-west-1"))
    with pytest.raises(RotationHalted, match="both access key slots of the user are in use") as error:
        home.service.rotation.start(PROFILE)
    assert "--drop" not in error.value.hint
    with pytest.raises(RotationHalted, match=r"it was used 23h ago .*, and deactivated after that"):
        home.service.rotation.delete_other_key(PROFILE, other.key_id[-4:])
    home.time.sleep(3600)
    with pytest.raises(RotationHalted, match="both access key slots of the user are in use") as error:
        home.service.rotation.start(PROFILE)
    assert f"--drop {other.key_id[-4:]}" in error.value.hint
    home.service.rotation.delete_other_key(PROFILE, other.key_id[-4:])
    assert len(statuses(home)) == 1
    with pytest.raises(RotationHalted, match="the vault holds it"):
        home.service.rotation.delete_other_key(PROFILE, next(iter(statuses(home)))[-4:])


def test_the_failure_of_a_refused_rotation_is_cleared_by_the_next_step_that_succeeds(home: Home) -> None:
    other = home.state.add_key(home.user, age=timedelta(days=3))
    with pytest.raises(RotationHalted):
        home.service.rotation.start(PROFILE)
    assert home.service.context.profile_state(PROFILE).failure is not None
    home.user.keys.remove(other)
    home.service.rotation.start(PROFILE)
    home.service.rotation.advance(PROFILE)
    assert home.service.context.profile_state(PROFILE).failure is None


@pytest.mark.parametrize(("event", "stays"), [("deliver", True), ("rotate", False)])
def test_a_step_that_succeeds_clears_failures_of_the_rotation_alone(
    home: Home, event: str, *, stays: bool
) -> None:
    home.service.rotation.start(PROFILE)
    error = KeyturnError(f"Could not rotate {PROFILE}", "x" * 3000)
    home.service.context.record_failure(PROFILE, event, error)
    home.service.rotation.advance(PROFILE)
    assert (home.service.context.profile_state(PROFILE).failure is not None) is stays


@pytest.mark.parametrize("seconds", [0, 7, 20, 41, 60])
def test_the_old_key_is_untouched_until_the_new_one_answered_three_times_in_a_row(
    home: Home, seconds: int
) -> None:
    home.state.propagation = timedelta(seconds=seconds / 2)
    home.state.flapping = timedelta(seconds=seconds / 2)
    *_, last = run_rotation(home)
    assert last.step is Step.DEACTIVATED
    assert not home.line.premature_ends
    assert home.time.now - home.user.keys[1].created >= timedelta(seconds=seconds / 2)


def test_a_rotation_that_waits_shows_without_unlocking_and_says_so_when_begun_again(home: Home) -> None:
    progress = run_until(home, Step.VERIFIED)
    row = next(row for row in home.service.snapshot().profiles if row.name == PROFILE)
    assert row.rotation.state is RotationState.IN_PROGRESS
    assert row.rotation.pending_step == "verified"
    with pytest.raises(RotationHalted, match="is pending: step verified") as error:
        home.service.rotation.start(PROFILE)
    assert progress.new_id is not None
    assert "--resume" in error.value.hint


def test_two_at_once_make_one_key(home: Home) -> None:
    second = home.other_process()

    def interfere(action: str) -> Fault:
        if action == "CreateAccessKey" and not attempts:
            attempts.append(True)
            with pytest.raises(KeyturnError) as error:
                second.rotation.start(PROFILE)
            errors.append(error.value)
        return Fault.NONE

    attempts: list[bool] = []
    errors: list[KeyturnError] = []
    home.line.next_fault = interfere
    assert home.service.rotation.start(PROFILE).step is Step.CREATED
    assert len(statuses(home)) == 2
    assert errors[0].exit_code == 5


def test_two_machines_at_once_make_one_key(home: Home) -> None:
    def interfere(action: str) -> Fault:
        if action == "CreateAccessKey" and len(home.user.keys) == 1:
            home.state.add_key(home.user)
        return Fault.NONE

    home.line.next_fault = interfere
    with pytest.raises(RotationHalted, match="another key was created in between"):
        home.service.rotation.start(PROFILE)
    assert not home.service.context.index.load().rotations


def test_a_vault_gone_back_to_an_older_state_gets_the_new_key_again(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    vault = home.service.context.vault
    (vault.folder / "keys.age").write_bytes(b"damage")
    vault.restore_newest_good()
    assert home.service.context.key(PROFILE).access_key_id == progress.old_id
    assert home.service.rotation.advance(PROFILE).step is Step.STORED
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id


def test_after_its_end_too_a_vault_gone_back_gets_the_new_key_again(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    home.time.now += timedelta(hours=25)
    home.service.rotation.finish(PROFILE, progress.old_id[-4:])
    vault = home.service.context.vault
    for number in ("keys.age", "keys.1.age"):
        (vault.folder / number).write_bytes(b"damage")
    notes = home.service.restore_vault(recovery_key=home.recovery_key)
    assert f"Restored from the rotation journal: the key of {PROFILE}." in notes
    home.restart()
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id


def test_a_key_is_not_given_back_amid_its_rotation(home: Home) -> None:
    for step in (Step.STORED, Step.DELIVERED, Step.DEACTIVATED):
        run_until(home, step) if step is Step.STORED else home.service.rotation.advance(PROFILE)
        with pytest.raises(RotationHalted, match=f"pending at step {step}"):
            home.service.plan_release([PROFILE])


def test_an_entry_that_a_restored_vault_has_lost_is_put_in_by_the_store(home: Home) -> None:
    progress = run_until(home, Step.VERIFIED)
    home.service.context.vault.change_keys(lambda entries: entries.pop(f"key/{PROFILE}"))
    assert home.service.rotation.advance(PROFILE).step is Step.STORED
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id


def test_an_old_key_that_an_administrator_switched_off_needs_no_leave_to_switch(home: Home) -> None:
    run_until(home, Step.DELIVERED)
    home.state.set_status(home.user.keys[0], "Inactive")
    home.line.next_fault = fault_at("UpdateAccessKey", Fault.DENIED, 9)
    assert home.service.rotation.advance(PROFILE).step is Step.DEACTIVATED


def test_a_lost_index_is_made_again_from_the_journal(home: Home) -> None:
    progress = run_until(home, Step.STORED)
    home.service.paths.index_file.unlink()
    home.restart()
    (known,) = home.service.context.index.load().rotations.values()
    assert (known.step, known.new_id) == ("stored", progress.new_id)


def test_a_record_that_cannot_be_read_is_put_aside_by_a_restore(home: Home) -> None:
    run_until(home, Step.VERIFIED)
    (record,) = (home.service.context.vault.folder / "rotation").glob("*.age")
    record.write_bytes(b"damage")
    with pytest.raises(VaultCorrupt) as error:
        home.service.rotation.start(PROFILE)
    assert "keyturn vault restore" in error.value.hint
    notes = home.service.restore_vault(recovery_key=home.recovery_key)
    assert "was set aside" in " ".join(notes)
    home.restart()
    with pytest.raises(RotationHalted, match="both access key slots"):
        home.service.rotation.start(PROFILE)


def test_an_orphan_is_dropped_though_two_lists_of_aws_differ_in_its_status(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", Fault.LOST_REPLY)
    home.service.rotation.start(PROFILE)
    orphan = home.user.keys[1]
    observe = KeySigner.observe

    def observe_later(signer: KeySigner, record: Record) -> ObservedKeys:
        orphan.status = "Inactive"
        try:
            return observe(signer, record)
        finally:
            orphan.status = "Active"

    monkeypatch.setattr(KeySigner, "observe", observe_later)
    home.service.rotation.delete_other_key(PROFILE, orphan.key_id[-4:])
    assert orphan not in home.user.keys


def test_an_orphan_that_somebody_uses_is_not_dropped(home: Home) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", Fault.LOST_REPLY)
    home.service.rotation.start(PROFILE)
    other = home.user.keys[1]
    other.record_use(LastUse(home.time.now, "s3", "eu-west-1"))
    with pytest.raises(RotationHalted, match="was used"):
        home.service.rotation.delete_other_key(PROFILE, other.key_id[-4:])


def test_the_agent_does_not_end_while_a_new_secret_is_in_its_memory_alone(home: Home) -> None:
    ended: list[Step | None] = []

    def interfere(action: str) -> Fault:
        if action == "CreateAccessKey":
            waiter.start()
            time.sleep(0.2)
        return Fault.NONE

    def end() -> None:
        home.service.wait_until_secrets_saved()
        ended.append(next((record.step for record in records(home.service.context)), None))

    waiter = threading.Thread(target=end)
    home.line.next_fault = interfere
    home.service.rotation.start(PROFILE)
    waiter.join()
    assert ended == [Step.CREATED]


def test_a_crash_is_not_caught_on_its_way(home: Home) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", Fault.CRASH_AFTER)
    with pytest.raises(Crash):
        home.service.rotation.start(PROFILE)
