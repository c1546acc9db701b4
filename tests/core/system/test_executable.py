"""The program that `credential_process` lines name: permanent, and not replaceable by another user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.model.errors import ChangeRefused, UnsafeFile
from keyturn.system.executable import check_not_replaceable, check_permanent, keyturn_program


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/home/jo/.local/share/uv/tools/keyturn/bin/keyturn", None),
        ("/home/jo/.local/share/pipx/venvs/keyturn/bin/keyturn", None),
        ("/usr/bin/keyturn", None),
        ("/run/current-system/sw/bin/keyturn", None),
        ("/tmp/venv/bin/keyturn", "a temporary folder"),  # noqa: S108  # compared with, never written to
        ("/var/tmp/venv/bin/keyturn", "a temporary folder"),  # noqa: S108  # compared with, never written to
        ("/dev/shm/venv/bin/keyturn", "a temporary folder"),  # noqa: S108  # compared with, never written to
        ("/home/jo/.cache/uv/archive-v0/x1/bin/keyturn", "a cache"),
        ("/home/jo/.local/pipx/.cache/1f2e/bin/keyturn", "a cache"),
        ("/Users/jo/Library/Caches/pypoetry/virtualenvs/k/bin/keyturn", "a cache"),
        ("/srv/uvcache/builds/k/bin/keyturn", "a cache"),
        ("/data/xdg/k/bin/keyturn", "a cache"),
    ],
)
def test_a_program_that_something_deletes_is_refused(path: str, why: str | None) -> None:
    environ = {"UV_CACHE_DIR": "/srv/uvcache", "XDG_CACHE_HOME": "/data/xdg", "PIP_CACHE_DIR": "relative"}
    if why is None:
        check_permanent(Path(path), environ)
        return
    with pytest.raises(ChangeRefused, match=f"{path} is in {why}"):
        check_permanent(Path(path), environ)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "tools" / "bin" / "keyturn"
    path.parent.mkdir(parents=True)
    path.touch(0o755)
    for folder in (path.parent, path.parent.parent):
        folder.chmod(0o755)
    return path


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_program_that_everybody_may_replace_is_refused(program: Path, depth: int) -> None:
    check_not_replaceable(program)
    place = (program, *program.parents)[depth]
    place.chmod(0o777)
    with pytest.raises(UnsafeFile, match=f"chmod go-w {place}"):
        check_not_replaceable(program)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_program_of_another_user_is_refused(program: Path, depth: int) -> None:
    place = (program, *program.parents)[depth]
    os.chown(place, 65534, -1)
    with pytest.raises(UnsafeFile, match="belongs to nobody"):
        check_not_replaceable(program)


def test_a_sandbox_may_use_any_program() -> None:
    assert keyturn_program({"KEYTURN_SANDBOX": "/x"}).endswith("keyturn")
