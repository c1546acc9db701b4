"""The fast path and the rest of keyturn look for the socket in the same place."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyturn.storage import raw_paths
from keyturn.storage.paths import paths_for

folders = st.lists(
    st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60),
    min_size=1,
    max_size=4,
).map(lambda parts: "/" + "/".join(parts))
named = st.none() | st.just("") | folders | folders.map(lambda path: path[1:])


@given(named, named, named, named, named)
def test_both_ways_give_the_same_socket(
    home: str | None, own: str | None, state: str | None, runtime: str | None, temporary: str | None
) -> None:
    environ = {
        name: value
        for name, value in {
            "HOME": home,
            "KEYTURN_HOME": own,
            "XDG_STATE_HOME": state,
            "XDG_RUNTIME_DIR": runtime,
            "TMPDIR": temporary,
        }.items()
        if value is not None
    }
    places = paths_for(environ)
    path = raw_paths.socket_path(environ)
    assert places.socket == Path(path)
    assert len(os.fsencode(path)) <= raw_paths.SOCKET_PATH_LIMIT
    assert path.startswith("/")
    assert places.state_dir == Path(raw_paths.state_folder(environ))


def test_the_state_folder_is_the_platforms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("KEYTURN_HOME", raising=False)
    assert Path(raw_paths.state_folder(os.environ)) == platformdirs.user_state_path("keyturn")


def test_a_private_runtime_folder_comes_first(folder: Path) -> None:
    environ = {"HOME": "/home/a", "XDG_RUNTIME_DIR": str(folder)}
    assert raw_paths.socket_path(environ) == f"{folder}/keyturn/agent.sock"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_runtime_folder_that_others_write_to_is_none(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    environ = {"HOME": "/home/a", "XDG_RUNTIME_DIR": str(folder)}
    assert raw_paths.socket_path(environ) == "/home/a/.local/state/keyturn/run/agent.sock"


def test_a_runtime_folder_of_somebody_else_is_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    environ = {"HOME": "/home/a", "XDG_RUNTIME_DIR": str(folder)}
    assert raw_paths.socket_path(environ) == "/home/a/.local/state/keyturn/run/agent.sock"


def test_a_missing_runtime_folder_is_none() -> None:
    environ = {"HOME": "/home/a", "XDG_RUNTIME_DIR": "/nowhere/at/all"}
    assert raw_paths.socket_path(environ) == "/home/a/.local/state/keyturn/run/agent.sock"


def test_two_long_homes_do_not_share_a_socket(folder: Path) -> None:
    long = [raw_paths.socket_path({"KEYTURN_HOME": f"/{'x' * 120}{n}", "TMPDIR": str(folder)}) for n in "12"]
    assert len(set(long)) == 2
    assert all(path.startswith(f"{folder}/keyturn-{os.getuid()}/") for path in long)


@pytest.mark.parametrize("own", ["~/k", "/home/a/k", "/home/a/k/"])
def test_a_home_of_keyturns_own_holds_everything(own: str) -> None:
    environ = {"HOME": "/home/a", "KEYTURN_HOME": own, "XDG_RUNTIME_DIR": "/run", "XDG_STATE_HOME": "/s"}
    assert raw_paths.socket_path(environ) == "/home/a/k/run/agent.sock"
