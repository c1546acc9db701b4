"""Owner and mode: who could write a file, and which folders keyturn creates files in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from keyturn.model.errors import UnsafeFile
from keyturn.system.ownership import Account, Group, check_creatable, check_own, is_private_group

JO, ROOT, EVE = Account("jo", 1000, 1000), Account("root", 0, 0), Account("eve", 1001, 1001)
ALL = (ROOT, JO, EVE)


@pytest.mark.parametrize(
    ("group", "accounts", "expected"),
    [
        (Group("jo", 1000, ()), ALL, True),
        (Group("jo", 1000, ("jo",)), ALL, True),
        (Group("jo", 1000, ("jo", "eve")), ALL, False),
        (Group("jo", 1000, ("eve",)), ALL, False),
        (Group("staff", 1000, ()), ALL, False),
        (Group("jo", 50, ()), ALL, False),
        (Group("jo", 1000, ()), (ROOT, JO, Account("eve", 1001, 1000)), False),
        (Group("jo", 1000, ()), (ROOT, EVE), False),
        (Group("jo", 1000, ()), (), False),
    ],
    ids=[
        "private", "lists its owner", "has another member", "lists another user only", "other name",
        "not the primary group", "primary group of another user", "user is not listed", "nobody is listed",
    ],
)  # fmt: skip
def test_a_group_is_private_only_if_nobody_else_can_be_in_it(
    group: Group, accounts: tuple[Account, ...], expected: bool
) -> None:
    assert is_private_group(JO, group, accounts) is expected


@pytest.mark.parametrize(
    ("mode", "may_be_read", "command"),
    [
        (0o700, False, None),
        (0o755, False, "chmod 700"),
        (0o770, False, "chmod 700"),
        (0o701, False, "chmod 700"),
        (0o755, True, None),
        (0o775, True, "chmod go-w"),
        (0o777, True, "chmod go-w"),
    ],
)
def test_an_own_folder_is_private(tmp_path: Path, mode: int, may_be_read: bool, command: str | None) -> None:
    folder = tmp_path / "own folder"
    folder.mkdir()
    folder.chmod(mode)
    if command is None:
        check_own(folder, may_be_read=may_be_read)
        return
    with pytest.raises(UnsafeFile, match=f"{command} '{folder}'"):
        check_own(folder, may_be_read=may_be_read)


def test_an_own_file_is_0600_and_a_link_is_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "index.json", tmp_path / "link"
    path.touch(0o640)
    path.chmod(0o640)
    link.symlink_to(path)
    for found in (path, link):
        with pytest.raises(UnsafeFile, match=r"read it .mode 0640.*chmod 600"):
            check_own(found)
    path.chmod(0o600)
    check_own(link)
    check_own(tmp_path / "absent", missing_ok=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(UnsafeFile, match=r"belongs to nobody \(uid 65534\).*runs as root"):
        check_own(folder)
    for missing in (folder, folder / "a", folder / "a" / "b"):
        with pytest.raises(UnsafeFile, match="without sudo"):
            check_creatable(missing)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    os.lchown(link, 65534, 65534)
    with pytest.raises(UnsafeFile, match="belongs to nobody"):
        check_own(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("mode", "accepted"), [(stat.S_ISVTX | 0o777, True), (0o777, False), (0o755, False)])
def test_a_user_creates_folders_in_roots_folder_only_if_it_is_made_for_everybody(
    tmp_path: Path, mode: int, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "srv"
    folder.mkdir()
    folder.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if accepted:
        check_creatable(folder / "keyturn")
    else:
        with pytest.raises(UnsafeFile, match="belongs to root"):
            check_creatable(folder / "keyturn")
