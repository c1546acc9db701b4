"""The file from which a program reads the token of its endpoint."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from keyturn.endpoint.token_file import TokenFile
from keyturn.errors import UnsafeFile
from keyturn.secret import Secret
from tests.endpoint.program import left_in


def test_the_token_is_in_a_file_of_this_users_alone_until_it_is_removed(environ: dict[str, str]) -> None:
    file = TokenFile(environ, Secret("t0ken"))
    assert file.path.read_text() == "t0ken"
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.remove()
    assert left_in(file.path.parent) == []


def test_what_a_killed_one_left_goes_with_the_next_and_what_is_in_use_stays(environ: dict[str, str]) -> None:
    used = TokenFile(environ, Secret("used"))
    folder = used.path.parent
    for name, age in (("endpoint-left.token", 60), ("endpoint-young.token", 0)):
        (folder / name).write_text("x")
        os.utime(folder / name, (time.time() - age,) * 2)
    os.utime(used.path, (time.time() - 60,) * 2)
    other = TokenFile(environ, Secret("other"))
    assert left_in(folder) == sorted([used.path.name, other.path.name, "endpoint-young.token"])
    for file in (used, other):
        file.remove()


def test_a_folder_that_others_can_enter_is_refused(environ: dict[str, str]) -> None:
    folder = Path(environ["KEYTURN_HOME"]) / "state" / "run"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with pytest.raises(UnsafeFile, match="start of the endpoint: others can enter"):
        TokenFile(environ, Secret("x"))


def test_the_lock_is_that_of_the_open_file_and_not_of_a_copy(environ: dict[str, str]) -> None:
    file = TokenFile(environ, Secret("x"))
    with file.path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.remove()
