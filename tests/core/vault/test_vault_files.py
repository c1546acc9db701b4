"""The vault's files are replaced as a whole, and a write that fails leaves nothing beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.model.errors import KeyturnError, VaultCorrupt
from keyturn.vault.files import put, read_regular


def test_a_file_that_cannot_be_put_in_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    (folder / "keys.age" / "in the way").mkdir(mode=0o700, parents=True)
    with pytest.raises((KeyturnError, OSError)):
        put(folder / "keys.age", b"content")
    assert [path.name for path in folder.iterdir()] == ["keys.age"]
    assert [path.name for path in (folder / "keys.age").iterdir()] == ["in the way"]


def test_a_file_that_is_put_in_its_place_is_alone_there(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        put(tmp_path / "keys.age", content)
        assert (tmp_path / "keys.age").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["keys.age"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_regular_file_is_damage_and_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "keys.age"
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(b"content")
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(VaultCorrupt):
        read_regular(path)
