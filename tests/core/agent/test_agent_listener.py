"""An agent listens only in a folder of its own user, and only one agent does."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from keyturn.agent import listener
from keyturn.model.errors import AgentUnavailable, UnsafeFile


def nobody_answers(_path: Path) -> bool:
    return False


def acquire(path: Path) -> listener.Listener:
    found = listener.acquire(path, nobody_answers, 0)
    assert found is not None
    assert found.publish()
    return found


def test_folder_and_socket_are_private_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        found = acquire(folder / "deep" / "run" / "agent.sock")
    finally:
        os.umask(before)
    assert stat.S_IMODE(found.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(found.path.stat().st_mode) == 0o600
    found.close()


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    path = folder / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    found = acquire(path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
    found.close()


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o770, 0o777, 0o1777])
def test_a_folder_that_others_can_enter_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(UnsafeFile, match="other users can access"):
        listener.acquire(folder / "agent.sock", nobody_answers, 0)
    assert list(folder.iterdir()) == []


def test_a_folder_of_somebody_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(UnsafeFile, match="not a folder that you own"):
        listener.acquire(folder / "agent.sock", nobody_answers, 0)


def test_a_link_to_a_folder_is_refused(folder: Path) -> None:
    real = folder / "real"
    real.mkdir(mode=0o700)
    (folder / "run").symlink_to(real)
    with pytest.raises(UnsafeFile):
        listener.acquire(folder / "run" / "agent.sock", nobody_answers, 0)


def test_a_file_in_the_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "run").write_text("")
    with pytest.raises(UnsafeFile):
        listener.acquire(folder / "run" / "agent.sock", nobody_answers, 0)


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_words: object, **_more: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for operation, path in (("open", folder / "agent.sock"), ("mkdir", folder / "run" / "agent.sock")):
        with monkeypatch.context() as system:
            system.setattr(os, operation, refuse)
            with pytest.raises(UnsafeFile, match=f"{path.parent}.*: Read-only file system. .*KEYTURN_HOME"):
                listener.acquire(path, nobody_answers, 0)


def test_what_is_no_socket_is_not_removed(folder: Path) -> None:
    (folder / "agent.sock").write_text("mine")
    with pytest.raises(UnsafeFile):
        listener.acquire(folder / "agent.sock", nobody_answers, 0)
    assert (folder / "agent.sock").read_text() == "mine"


def test_of_two_at_once_one_serves_and_the_other_learns_so(folder: Path) -> None:
    path = folder / "agent.sock"
    acquired: list[listener.Listener | None] = []
    both = threading.Barrier(2)

    def start() -> None:
        both.wait()
        found = listener.acquire(path, lambda path: path.is_socket(), 10)
        acquired.append(found)
        if found is not None:
            assert found.publish()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [each for each in acquired if each is not None]
    assert len(acquired) == 2
    winner.close()


def test_a_place_whose_holder_does_not_answer_is_an_error(folder: Path) -> None:
    found = acquire(folder / "agent.sock")
    with pytest.raises(AgentUnavailable):
        listener.acquire(folder / "agent.sock", nobody_answers, 0)
    found.close()


def test_a_place_that_was_given_up_can_be_taken_again(folder: Path) -> None:
    acquire(folder / "agent.sock").close()
    acquire(folder / "agent.sock").close()


def test_a_withdrawn_place_is_still_taken(folder: Path) -> None:
    found = acquire(folder / "agent.sock")
    found.withdraw()
    assert not found.path.exists()
    with pytest.raises(AgentUnavailable):
        listener.acquire(folder / "agent.sock", nobody_answers, 0)
    found.close()
