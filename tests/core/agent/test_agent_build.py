"""The build differs whenever the installed code does, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import keyturn
from keyturn.agent.build import build, digest_of

SOURCE = Path(keyturn.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SOURCE, tmp_path / "keyturn"))


def test_another_installation_of_the_same_code_has_the_same_build(copy: Path) -> None:
    (copy / "__pycache__").mkdir(exist_ok=True)
    (copy / "__pycache__" / "more.pyc").write_bytes(b"x")
    assert digest_of(copy) == build()


@pytest.mark.parametrize("file", ["__init__.py", "agent/server.py", "vault/age.py"])
def test_every_change_of_the_code_changes_it(copy: Path, file: str) -> None:
    path = copy / file
    path.write_text(path.read_text() + "# more\n")
    assert digest_of(copy) != build()


def test_a_new_version_alone_changes_it(copy: Path) -> None:
    path = copy / "__init__.py"
    changed = path.read_text().replace(f'"{keyturn.__version__}"', '"99.0.0"')
    assert changed != path.read_text()
    path.write_text(changed)
    assert digest_of(copy) != build()


def test_a_renamed_or_missing_file_changes_it(copy: Path) -> None:
    (copy / "agent" / "server.py").rename(copy / "agent" / "servers.py")
    renamed = digest_of(copy)
    (copy / "agent" / "servers.py").unlink()
    assert len({build(), renamed, digest_of(copy)}) == 3


def test_json_readers_keep_it_exact_and_it_is_never_that_of_the_first_release() -> None:
    assert 0 < build() <= 2**53
