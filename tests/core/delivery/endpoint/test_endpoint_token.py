"""The file from which a program reads the token of its endpoint."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import NoReturn

import pytest

from keyturn.delivery.endpoint.token_file import TokenFile
from keyturn.model.errors import UnsafeFile
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from tests.core.delivery.endpoint.exec_program import token_files


def test_the_token_is_in_a_file_of_this_users_alone_until_it_is_removed(environ: dict[str, str]) -> None:
    file = TokenFile(environ, Secret("t0ken"))
    assert file.path.read_text() == "t0ken"
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.remove()
    assert token_files(file.path.parent) == []


def test_it_lies_in_the_state_folder_which_outlives_a_login(tmp_path: Path) -> None:
    runtime, state = tmp_path / "runtime", tmp_path / "state"
    runtime.mkdir(mode=0o700)
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(state)}
    file = TokenFile(environ, Secret("x"))
    assert file.path.parent == state / "keyturn" / "run"
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    file.remove()
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_the_next_start_of_any_kind_takes_what_a_killed_one_left_and_nothing_that_is_in_use(
    environ: dict[str, str],
) -> None:
    used = TokenFile(environ, Secret("used"))
    folder = used.path.parent
    for name, age in (("endpoint-left.token", 0), (".endpoint-left.new", 60), (".endpoint-young.new", 0)):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - age,) * 2)
    os.utime(used.path, (time.time() - 60,) * 2)
    CredentialService.from_environ(environ, use_agent=False).withdraw_expired()
    left = sorted(path.name for path in folder.iterdir())
    used.remove()
    assert left == [".endpoint-young.new", used.path.name]


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(environ["KEYTURN_HOME"]) / "state" / "run"
    folder.mkdir(parents=True, mode=0o700)

    def refuse(*_words: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for operation in ("open", "unlink"):
        monkeypatch.setattr(os, operation, refuse)
    with pytest.raises(UnsafeFile, match=f"{folder}: Read-only file system. .*--token-env"):
        TokenFile(environ, Secret("x"))


def test_a_folder_that_others_can_enter_is_refused(environ: dict[str, str]) -> None:
    folder = Path(environ["KEYTURN_HOME"]) / "state" / "run"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with pytest.raises(UnsafeFile, match="Could not start the endpoint: other users can access"):
        TokenFile(environ, Secret("x"))


def test_the_lock_is_that_of_the_open_file_and_not_of_a_copy(environ: dict[str, str]) -> None:
    file = TokenFile(environ, Secret("x"))
    with file.path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.remove()
