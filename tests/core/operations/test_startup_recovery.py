"""A start removes the remains of killed keyturn writers, and never a file of the user."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from keyturn.awsconfig.document import FileKind, set_items
from keyturn.service import CredentialService
from keyturn.system import temp_files
from keyturn.system.files import exchange
from tests.core.operations.conftest import Bench

#: Above the highest process ID of Linux.
UNUSED_PID = 4194305
TEMP_NAME = f".keyturn-{UNUSED_PID}-0123456789abcdef.tmp"
SAVED_FILE = b"[dev]\naws_access_key_id = AKIAOTHERSNEWKEY0000\naws_secret_access_key = of-another-program\n"


@pytest.fixture(autouse=True)
def _clock_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temp_files, "MIN_AGE_SECONDS", -1.0)


#: Files of other programs: none matches a name of keyturn's writers exactly.
THEIRS = (
    f".budget.{UNUSED_PID}.12.tmp",
    f".notes.{UNUSED_PID}.0123abcd.tmp",
    f".keyturn-{UNUSED_PID}-12.tmp",
    f".keyturn-{UNUSED_PID}-0123456789abcdef.tmp.kept",
    f".index.json.{UNUSED_PID}.12.tmp",
)


def test_a_persons_files_stay_in_the_folder_of_a_shared_file_and_in_our_own(tmp_path: Path) -> None:
    """If the shared file is in the home folder, all the user's files are beside it."""
    environ = {
        "HOME": str(tmp_path),
        "KEYTURN_HOME": str(tmp_path / "kt"),
        "AWS_CONFIG_FILE": str(tmp_path / "aws-config"),
    }
    service = CredentialService.from_environ(environ, use_agent=False)
    inside = (folder for folder in service.paths.own_folders() if folder.is_relative_to(tmp_path))
    folders = (tmp_path, *inside)
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for name in THEIRS:
            (folder / name).write_text("mine")
        (folder / f".thesis.{UNUSED_PID}.1.new").mkdir()
        (folder / f".thesis.{UNUSED_PID}.0123abcd.new").mkdir()
        (folder / f".thesis.{UNUSED_PID}.0123abcd.new" / "chapter").write_text("mine")
    # Names of keyturn's files have that meaning in its own folders only.
    (tmp_path / f".index.json.{UNUSED_PID}.0123abcd.tmp").write_text("mine")
    (tmp_path / f".vault.{UNUSED_PID}.0123abcd.new").mkdir()
    before = sorted(tmp_path.rglob("*"))
    service.withdraw_expired()
    created = set(tmp_path.rglob("*")) - set(before)
    assert {path.name for path in created} <= {"locks", "acts"}
    assert [path for path in before if not path.exists()] == []


def test_a_link_in_the_name_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    service = CredentialService.from_environ(
        {"HOME": str(tmp_path), "KEYTURN_HOME": str(tmp_path / "kt")}, use_agent=False
    )
    documents = tmp_path / "mine"
    documents.mkdir()
    (documents / "chapter").write_text("mine")
    service.paths.data_dir.mkdir(parents=True)
    (service.paths.data_dir / f".vault.{UNUSED_PID}.0123abcd.new").symlink_to(documents)
    (tmp_path / ".aws").mkdir(mode=0o700)
    (tmp_path / ".aws" / TEMP_NAME).symlink_to(documents / "chapter")
    service.withdraw_expired()
    assert (documents / "chapter").read_text() == "mine"
    assert (tmp_path / ".aws" / TEMP_NAME).is_symlink()


def test_what_our_own_writers_left_goes(tmp_path: Path) -> None:
    service = CredentialService.from_environ(
        {"HOME": str(tmp_path), "KEYTURN_HOME": str(tmp_path / "kt")}, use_agent=False
    )
    places = service.paths
    left = [
        places.vault_dir / f".keys.age.{UNUSED_PID}.0123abcd.tmp",
        places.vault_dir / f".keys.1.age.{UNUSED_PID}.0123abcd.tmp",
        places.history_dir / f".{'0' * 64}.age.{UNUSED_PID}.0123abcd.tmp",
        places.vault_dir / "rotation" / f".123456789012-ci.deploy.age.{UNUSED_PID}.0123abcd.tmp",
        places.vault_dir / "rotation" / f".{'0' * 32}.age.{UNUSED_PID}.0123abcd.tmp",
        places.socket.parent / f".rotation-123456789012-ci.deploy.age.{UNUSED_PID}.0123abcd.tmp",
        places.config_dir / f".profiles.toml.{UNUSED_PID}.0123abcd.tmp",
        places.state_dir / f".index.json.{UNUSED_PID}.0123abcd.tmp",
        places.data_dir / f".vault.{UNUSED_PID}.0123abcd.new" / "keys.age",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    service.withdraw_expired()
    assert [path for path in left if path.exists()] == []
    assert not left[-1].parent.exists()


def test_a_save_of_another_program_that_a_killed_write_had_in_hand_is_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process was killed between the two exchanges of names that restore a third writer's file."""
    pid = os.fork()
    if not pid:

        def saved_and_killed(first: Path, second: Path) -> bool:
            new = bench.credentials.with_name("new")
            new.write_bytes(SAVED_FILE)
            new.chmod(0o600)
            new.replace(bench.credentials)
            exchange(first, second)
            os._exit(9)

        monkeypatch.setattr("keyturn.system.files.exchange", saved_and_killed)
        bench.service.context.files.edit(
            bench.credentials, lambda doc: set_items(doc, "x", {"region": "eu"}), kind=FileKind.CREDENTIALS
        )
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    (left,) = bench.credentials.parent.glob(".keyturn-*.tmp")
    assert left.read_bytes() == SAVED_FILE
    bench.service.withdraw_expired()
    assert not left.exists()
    assert SAVED_FILE in _remaining_files(bench)
    (operation,) = (
        operation for operation in bench.service.context.activity.read() if operation.event == "recover"
    )
    assert operation.profile.endswith("credentials")
    assert "saved to the history" in operation.result


def test_what_the_history_or_the_file_has_already_goes_without_a_word(bench: Bench) -> None:
    history = bench.service.context.files
    history.keep(bench.config, b"[default]\nregion = of-old\n")
    for number, data in enumerate((b"[default]\nregion = of-old\n", bench.credentials.read_bytes(), b"")):
        bench.config.with_name(f".keyturn-{UNUSED_PID}-{number:016x}.tmp").write_bytes(data)
    before = _remaining_files(bench)
    bench.service.withdraw_expired()
    assert list(bench.config.parent.glob(".keyturn-*")) == []
    assert _remaining_files(bench) == before
    assert "recover" not in {operation.event for operation in bench.service.context.activity.read()}


def test_without_a_vault_to_seal_it_for_it_stays_and_is_named_once(bench: Bench) -> None:
    shutil.rmtree(bench.service.paths.vault_dir)
    left = bench.credentials.with_name(TEMP_NAME)
    left.write_bytes(SAVED_FILE)
    for _ in range(2):
        CredentialService.from_environ(bench.sandbox.environ, use_agent=False).withdraw_expired()
    assert left.read_bytes() == SAVED_FILE
    (operation,) = (
        operation for operation in bench.service.context.activity.read() if operation.event == "recover"
    )
    assert TEMP_NAME in operation.result


def test_what_is_young_stays_however_old_its_bytes_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A displaced version keeps its own mtime, and the writer in a shared folder may be on another host."""
    monkeypatch.setattr(temp_files, "MIN_AGE_SECONDS", 60.0)
    left = bench.credentials.with_name(TEMP_NAME)
    left.write_bytes(SAVED_FILE)
    os.utime(left, (0, 0))
    bench.service.withdraw_expired()
    assert left.exists()


def test_a_number_that_another_program_has_now_keeps_nothing() -> None:
    """A process that started after a file was written did not write it."""
    assert temp_files.is_in_use(os.getpid(), time.time())
    assert not temp_files.is_in_use(os.getpid(), time.time() - 10 * 365 * 86400)
    assert not temp_files.is_in_use(UNUSED_PID, time.time())


def _remaining_files(bench: Bench) -> set[bytes]:
    folder = bench.service.paths.history_dir
    return {bench.service.context.vault.open(path.read_bytes()) for path in folder.glob("*.age")}
