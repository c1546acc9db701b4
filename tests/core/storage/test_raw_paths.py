"""The fast path and the rest of keyturn look for the socket in the same place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
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


@pytest.fixture
def home() -> Iterator[str]:
    """A home with a short path, in which the state folder can be created."""
    with tempfile.TemporaryDirectory(prefix="kt-") as path:
        yield path


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


def test_a_private_runtime_folder_comes_first(folder: Path, home: str) -> None:
    environ = {"HOME": home, "XDG_RUNTIME_DIR": str(folder)}
    assert raw_paths.socket_path(environ) == f"{folder}/keyturn/agent.sock"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_runtime_folder_that_others_write_to_is_none(folder: Path, home: str, mode: int) -> None:
    folder.chmod(mode)
    environ = {"HOME": home, "XDG_RUNTIME_DIR": str(folder)}
    assert raw_paths.socket_path(environ) == f"{home}/.local/state/keyturn/run/agent.sock"


def test_a_runtime_folder_of_somebody_else_is_none(
    folder: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    environ = {"HOME": home, "XDG_RUNTIME_DIR": str(folder)}
    assert raw_paths.socket_path(environ) == f"{home}/.local/state/keyturn/run/agent.sock"


def test_a_missing_runtime_folder_is_none(home: str) -> None:
    environ = {"HOME": home, "XDG_RUNTIME_DIR": "/nowhere/at/all"}
    assert raw_paths.socket_path(environ) == f"{home}/.local/state/keyturn/run/agent.sock"


def test_two_long_homes_do_not_share_a_socket(folder: Path) -> None:
    long = [raw_paths.socket_path({"KEYTURN_HOME": f"/{'x' * 120}{n}", "TMPDIR": str(folder)}) for n in "12"]
    assert len(set(long)) == 2
    assert all(path.startswith(f"{folder}/keyturn-{os.getuid()}/") for path in long)


@pytest.mark.parametrize("own", ["~/k", "{home}/k", "{home}/k/"])
def test_a_home_of_keyturns_own_holds_everything(home: str, own: str) -> None:
    environ = {
        "HOME": home,
        "KEYTURN_HOME": own.format(home=home),
        "XDG_RUNTIME_DIR": "/run",
        "XDG_STATE_HOME": "/s",
    }
    assert raw_paths.socket_path(environ) == f"{home}/k/run/agent.sock"


def test_all_places_of_an_agent_are_candidates_in_order(folder: Path, home: str) -> None:
    (folder / "tmp").mkdir()
    environ = {"HOME": home, "XDG_RUNTIME_DIR": str(folder), "TMPDIR": str(folder / "tmp")}
    paths = list(raw_paths.socket_paths(environ))
    assert paths[0] == raw_paths.socket_path(environ) == f"{folder}/keyturn/agent.sock"
    assert f"{home}/.local/state/keyturn/run/agent.sock" in paths
    own = f"keyturn-{os.getuid()}"
    assert sum(path.startswith(f"/tmp/{own}/") for path in paths) == 2  # noqa: S108
    assert sum(path.startswith(f"{folder}/tmp/{own}/") for path in paths) == 2  # noqa: S108
    assert len(set(paths)) == len(paths) == 6


def test_a_home_of_keyturns_own_is_never_mixed_with_another(folder: Path, home: str) -> None:
    environ = {"HOME": home, "KEYTURN_HOME": f"{home}/k", "XDG_RUNTIME_DIR": str(folder)}
    paths = list(raw_paths.socket_paths(environ))
    assert paths[0] == f"{home}/k/run/agent.sock"
    assert all(path.startswith((f"{home}/k/", "/tmp/keyturn-")) for path in paths)  # noqa: S108


@pytest.mark.parametrize("is_writable", [True, False])
def test_the_candidates_do_not_depend_on_a_read_only_home(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_writable: bool
) -> None:
    """The home may be mounted again in the other way while an agent runs."""
    environ = {"HOME": str(folder), "KEYTURN_HOME": str(folder)}
    before = set(raw_paths.socket_paths(environ))
    monkeypatch.setattr(raw_paths, "_can_hold_socket", lambda _folder: is_writable)
    assert set(raw_paths.socket_paths(environ)) == before


@pytest.mark.parametrize("length", range(70, 100))
def test_both_sockets_are_in_one_folder_whatever_its_length(folder: Path, length: int) -> None:
    """The longer name must not move to another folder alone."""
    environ = {"KEYTURN_HOME": f"/{'x' * length}"}
    for temporary in (None, str(folder), str(folder / ("y" * (80 - len(str(folder)))))):
        if temporary is not None:
            Path(temporary).mkdir(exist_ok=True)
            environ["TMPDIR"] = temporary
        main, forward = Path(raw_paths.socket_path(environ)), Path(raw_paths.forward_path(environ))
        assert main.parent == forward.parent
        assert main != forward
        assert max(len(os.fsencode(path)) for path in (main, forward)) <= raw_paths.SOCKET_PATH_LIMIT


def test_without_any_home_the_runtime_folder_is_the_only_candidate_outside_tmp(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", refuse)
    paths = list(raw_paths.socket_paths({"XDG_RUNTIME_DIR": str(folder)}))
    assert paths[0] == f"{folder}/keyturn/agent.sock"
    assert all(path.startswith("/tmp/keyturn-") for path in paths[1:])  # noqa: S108
