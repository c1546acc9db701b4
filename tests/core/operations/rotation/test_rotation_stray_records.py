"""Records that are lost, unreadable or out of date: none is taken for a finished rotation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.errors import (
    ChangeRefused,
    KeyturnError,
    NotFound,
    RotationHalted,
    UnparsableFile,
    VaultCorrupt,
    VaultError,
)
from keyturn.operations.rotation.journal import Journal
from keyturn.operations.rotation.record import Step
from keyturn.operations.rotation.record_store import journal_of, records
from keyturn.operations.rotation.vault_keys import first_seen_inactive, previous_keys
from keyturn.storage.paths import Paths
from tests.core.operations.rotation.rotation_home import PROFILE, Home
from tests.core.operations.rotation.rotation_states import run_until, statuses


def record_file(home: Home) -> Path:
    (found,) = (home.service.context.vault.folder / "rotation").glob("*.age")
    return found


@contextmanager
def unreadable(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """A folder that the system lets nobody list, although root could."""
    real = Path.iterdir

    def refusing(path: Path) -> Iterator[Path]:
        if path == folder:
            raise PermissionError(13, "Permission denied")
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", refusing)
        yield


def test_a_key_that_only_a_lost_record_knew_is_not_given_up_by_a_release(home: Home) -> None:
    progress = run_until(home, Step.STORED)
    record_file(home).unlink()
    with pytest.raises(
        ChangeRefused, match=f"also holds AKIA…{progress.old_id[-4:]} of the same user"
    ) as error:
        home.service.plan_release([PROFILE])
    assert f"--drop {progress.old_id[-4:]}" in error.value.hint
    with pytest.raises(RotationHalted, match="works and is in use") as halted:
        home.service.rotation.undo(PROFILE)
    assert f"--drop {progress.old_id[-4:]}" in halted.value.hint

    home.state.set_status(next(key for key in home.user.keys if key.key_id == progress.old_id), "Inactive")
    home.time.sleep(5 * 24 * 3600)
    with pytest.raises(RotationHalted, match=r"first seen inactive at .*ends in 24h"):
        home.service.rotation.delete_other_key(PROFILE, progress.old_id[-4:])
    home.time.sleep(23 * 3600)
    with pytest.raises(RotationHalted, match=r"first seen inactive at .*ends in 1h"):
        home.service.rotation.delete_other_key(PROFILE, progress.old_id[-4:])
    home.time.sleep(2 * 3600)
    home.service.rotation.delete_other_key(PROFILE, progress.old_id[-4:])
    assert list(statuses(home)) == [progress.new_id]
    assert PROFILE not in previous_keys(home.service.context)


@pytest.mark.parametrize("stored", ["2999-01-01T00:00:00+00:00", "2020-01-01T00:00:00", "never", 7])
def test_a_grace_period_does_not_depend_on_an_invalid_time(home: Home, stored: object) -> None:
    progress = run_until(home, Step.STORED)
    context = home.service.context

    def edit(entries: dict[str, dict[str, Any]]) -> None:
        entries[f"key/{PROFILE}"]["previous"]["seen_inactive"] = stored

    context.vault.change_keys(edit)
    now = context.clock()
    assert first_seen_inactive(context, progress.old_id) >= now
    home.time.sleep(3600)
    assert first_seen_inactive(context, progress.old_id) < context.clock()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_key_kept_beside_one_that_aws_knows_no_more_is_gone_back_to(home: Home, is_listed: bool) -> None:
    """The record is on a second machine that never heard that the first one undid the rotation."""
    progress = run_until(home, Step.STORED)
    record_file(home).unlink()
    new = next(key for key in home.user.keys if key.key_id == progress.new_id)
    if is_listed:
        home.state.set_status(new, "Inactive")
    else:
        home.state.delete_key(home.user, new)
    with pytest.raises(KeyturnError, match="does not accept AKIA…") as error:
        home.service.rotation.status(PROFILE)
    assert "--undo" in error.value.hint
    done = home.service.rotation.undo(PROFILE)
    assert (done.step, done.is_finished) == (Step.UNDONE, True)
    assert home.service.context.key(PROFILE).access_key_id == progress.old_id
    previous = previous_keys(home.service.context).get(PROFILE)
    assert (previous is not None) is is_listed, "what AWS may switch on again is kept"
    with pytest.raises(NotFound if not is_listed else RotationHalted):
        home.service.rotation.undo(PROFILE)


def test_a_key_that_aws_does_not_list_any_more_is_forgotten_on_ones_word(home: Home) -> None:
    progress = run_until(home, Step.STORED)
    record_file(home).unlink()
    home.state.delete_key(home.user, next(key for key in home.user.keys if key.key_id == progress.old_id))
    note = home.service.rotation.delete_other_key(PROFILE, progress.old_id[-4:])
    assert "is deleted at AWS; removed it from the vault" in note
    assert PROFILE not in previous_keys(home.service.context)


def test_a_journal_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_until(home, Step.STORED)
    with unreadable(monkeypatch, home.service.context.vault.folder / "rotation"):
        for operation in (
            home.service.rotation.advance,
            home.service.rotation.undo,
            home.service.rotation.status,
        ):
            with pytest.raises(VaultError, match="pending rotations are unknown"):
                operation(PROFILE)
        with pytest.raises(VaultError):
            home.service.plan_release([PROFILE])
        home.service.renew_due()
        home.restart()
    (known,) = home.service.context.index.load().rotations.values()
    assert known.step == "stored", "the list still says that one waits"


def test_a_record_that_cannot_be_read_stands_in_the_way_of_its_own_key_alone(home: Home) -> None:
    run_until(home, Step.STORED)
    record_file(home).write_bytes(record_file(home).read_bytes()[:100])
    for operation in (
        home.service.rotation.advance,
        home.service.rotation.undo,
        home.service.rotation.status,
    ):
        with pytest.raises(VaultCorrupt, match="rotation"):
            operation(PROFILE)
    with pytest.raises(VaultCorrupt):
        home.service.plan_release([PROFILE])


@pytest.mark.parametrize(
    "damage", [{"created": "2026-03-02T09:00:00"}, {"began": "2026-03-02T09:00:00"}, {"undoing": "false"}]
)
def test_a_record_with_a_value_that_could_be_misread_is_refused_and_keeps_its_secrets(
    home: Home, damage: dict[str, object]
) -> None:
    progress = run_until(home, Step.CREATED)
    journal, file = journal_of(home.service.context), record_file(home)
    (name,) = journal.names()
    table = journal.read(name)
    assert table is not None
    journal.write(name, {**table, **damage})
    sealed, rotation = file.read_bytes(), home.service.rotation
    for operation in (rotation.advance, rotation.undo, rotation.status, rotation.start):
        with pytest.raises(VaultCorrupt, match=f"Unreadable record rotation/{name}.age") as error:
            operation(PROFILE)
        assert "keyturn vault restore" in error.value.hint
    assert (file.read_bytes(), len(statuses(home))) == (sealed, 2)
    assert not list(records(home.service.context)), "the rotations of other users are not affected"
    notes = home.service.restore_vault(recovery_key=home.recovery_key)
    assert f"The rotation journal of {name} is unreadable and was set aside" in " ".join(notes)
    (aside,) = file.parent.glob("*.damaged-*")
    home.restart()
    assert f'"key_id":"{progress.new_id}","secret":' in home.service.context.vault.open(
        aside.read_bytes()
    ).decode("ascii")


def test_no_rotation_is_begun_or_continued_while_the_definitions_are_unreadable(home: Home) -> None:
    run_until(home, Step.STORED)
    home.service.paths.profiles_file.write_text("version = = 1")
    rotation, before = home.service.rotation, len(home.line.calls)
    for operation in (
        rotation.start, rotation.advance, rotation.undo, rotation.status, rotation.deletion_facts,
        lambda name: rotation.finish(name, "AAAA"), lambda name: rotation.delete_other_key(name, "AAAA"),
    ):  # fmt: skip
        with pytest.raises(UnparsableFile, match=r"Could not read .*profiles\.toml"):
            operation(PROFILE)
    assert len(home.line.calls) == before


@pytest.mark.parametrize("step", [Step.STORED, Step.DELIVERED, Step.DEACTIVATED])
def test_a_record_that_fell_back_to_the_intent_is_caught_up_by_what_the_vault_holds(
    home: Home, step: Step
) -> None:
    intent: list[bytes] = []
    real = Journal.write

    def written(self: Journal, name: str, record: dict[str, Any], previous_step: str | None = None) -> None:
        real(self, name, record, previous_step)
        intent.append(self.path_of(name).read_bytes())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "write", written)
        progress = run_until(home, step)
    record_file(home).write_bytes(intent[0])
    home.restart()
    rotating = home.service.rotation
    rotation = rotating.status(PROFILE)["rotation"]
    assert (rotation["step"], rotation["new_id"]) == ("stored", progress.new_id)
    *_, last = rotating.run_to_end(
        rotating.advance(PROFILE), lambda: rotating.advance(PROFILE), home.time.sleep
    )
    assert last.step is Step.DEACTIVATED
    assert statuses(home) == {progress.old_id: "Inactive", progress.new_id: "Active"}
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id


@pytest.mark.parametrize(
    "folder_of",
    [lambda paths: paths.sockets[0].parent, lambda paths: paths.sockets[-1].parent],
    ids=["this environment's", "another environment's"],
)
def test_a_record_in_a_fallback_folder_comes_home_once_it_can(
    home: Home, folder_of: Callable[[Paths], Path]
) -> None:
    run_until(home, Step.STORED)
    journal = journal_of(home.service.context)
    (name,) = journal.names()
    away = folder_of(home.service.context.paths) / f"rotation-{name}.age"
    away.parent.mkdir(mode=0o700, exist_ok=True)
    record_file(home).rename(away)
    assert journal.is_in_fallback(name)
    home.service.rotation.status(PROFILE)
    assert not away.exists()
    assert home.service.rotation.advance(PROFILE).step is Step.DELIVERED


def test_a_deletion_whose_end_the_disk_refuses_says_that_the_key_is_gone(home: Home) -> None:
    progress = run_until(home, Step.DEACTIVATED)
    home.time.now += timedelta(hours=25)
    home.on_write = lambda _: "refuse" if home.line.calls[-1][0] == "DeleteAccessKey" else ""
    with home.run_service(), pytest.raises(KeyturnError) as error:
        home.service.rotation.finish(PROFILE, progress.old_id[-4:])
    assert f"AKIA…{progress.old_id[-4:]} is deleted at AWS" in error.value.hint
    home.on_write = lambda _: ""
    assert home.service.rotation.advance(PROFILE).step is Step.DONE


def test_after_a_restore_of_a_whole_old_vault_the_list_tells_of_the_key_that_it_holds(
    home: Home, tmp_path: Path
) -> None:
    folder = home.service.context.vault.folder
    shutil.copytree(folder, tmp_path / "backup")
    progress = run_until(home, Step.DEACTIVATED)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    home.service.restore_vault(recovery_key=home.recovery_key)
    home.restart()
    known = home.service.context.index.load()
    assert known.keys[PROFILE].key_id == progress.old_id
    assert known.keys[PROFILE].created is None, "nothing is said of it that is true of the other"
    assert not known.rotations
