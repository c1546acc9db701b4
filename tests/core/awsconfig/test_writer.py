"""The writer: its target, the file modes, and its refusals."""

from __future__ import annotations

import errno
import grp
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsconfig import writer
from keyturn.awsconfig.document import Document, FileKind, parse, set_items
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import FileChanged, KeyturnError, UnparsableFile, UnsafeFile, UsageError
from keyturn.system import files as system_files
from tests.support.needs import skip_or_fail

OLD = b"# mine\n[profile a]\nregion = eu-west-1\n"
LINE = {"credential_process": '"/opt/keyturn" credential-process a'}
NEW = OLD + b'credential_process = "/opt/keyturn" credential-process a\n'


def add(document: Document) -> bytes:
    return set_items(document, "profile a", LINE)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def temporary(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".keyturn-")]


def edit(files: SharedFiles, path: Path, kind: FileKind = FileKind.CONFIG) -> writer.Edit:
    return files.edit(path, add, kind=kind)


def test_an_edit_gives_both_versions_and_keeps_the_old_one(
    files: SharedFiles, folder: Path, pre_images: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    done = edit(files, path)
    assert (done.before, done.after) == (OLD, NEW)
    assert path.read_bytes() == NEW
    assert pre_images == [OLD]
    assert "eu-west" not in repr(done)
    assert temporary(folder) == []


def test_an_edit_that_changes_nothing_writes_nothing(
    files: SharedFiles, folder: Path, pre_images: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(NEW)
    before = path.stat()
    assert edit(files, path).after == NEW
    assert path.stat() == before
    assert pre_images == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_we_make_is_private(
    files: SharedFiles, tmp_path: Path, umask: int, pre_images: list[bytes]
) -> None:
    old = os.umask(umask)
    try:
        path = tmp_path / "new" / "home" / ".aws" / "credentials"
        edit(files, path, FileKind.CREDENTIALS)
    finally:
        os.umask(old)
    assert mode(path) == 0o600
    assert [mode(entry) for entry in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert parse(path.read_bytes()).section("profile a")
    assert pre_images == []


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        (FileKind.CREDENTIALS, 0o644, 0o600),
        (FileKind.CREDENTIALS, 0o600, 0o600),
        (FileKind.CREDENTIALS, 0o755, 0o700),
        (FileKind.CONFIG, 0o644, 0o644),
        (FileKind.CONFIG, 0o600, 0o600),
        (FileKind.CONFIG, 0o640, 0o640),
    ],
)
def test_rights_are_kept_and_never_widened(
    files: SharedFiles, folder: Path, kind: FileKind, before: int, after: int
) -> None:
    path = folder / "file"
    path.write_bytes(OLD)
    path.chmod(before)
    edit(files, path, kind)
    assert mode(path) == after


def test_extended_attributes_are_kept(files: SharedFiles, folder: Path) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    try:
        os.setxattr(path, "user.keyturn-test", b"kept")
    except OSError as error:
        pytest.skip(f"no user attributes on this file system: {error.strerror}")
    edit(files, path)
    assert os.getxattr(path, "user.keyturn-test") == b"kept"


def test_a_chain_of_links_stays_and_its_end_is_replaced_where_it_is(files: SharedFiles, folder: Path) -> None:
    dotfiles = folder.parent / "dotfiles"
    dotfiles.mkdir(mode=0o700)
    (dotfiles / "aws-config").write_bytes(OLD)
    (folder / "middle").symlink_to("../dotfiles/aws-config")
    path = folder / "config"
    path.symlink_to(folder / "middle")
    edit(files, path)
    assert path.is_symlink()
    assert (folder / "middle").is_symlink()
    assert (dotfiles / "aws-config").read_bytes() == NEW
    assert not (dotfiles / "aws-config").is_symlink()


def test_a_link_that_leads_to_nothing_yet_gets_its_file(files: SharedFiles, folder: Path) -> None:
    path = folder / "config"
    path.symlink_to("../elsewhere/config")
    edit(files, path)
    assert path.is_symlink()
    assert mode(folder.parent / "elsewhere" / "config") == 0o600


def _loop(path: Path) -> None:
    path.symlink_to(path.with_name("other"))
    path.with_name("other").symlink_to(path)


def _readable_by_owner(path: Path) -> None:
    path.write_bytes(OLD)
    path.chmod(0o400)


def _writable_by_group(path: Path) -> None:
    path.write_bytes(OLD)
    path.chmod(0o660)
    if os.geteuid() != 0:
        skip_or_fail("only root can give a file to a group that it is not in")
    os.chown(path, -1, grp.getgrnam("tty").gr_gid)


def _writable_folder(path: Path) -> None:
    path.write_bytes(OLD)
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_loop, "loop"),
        (os.mkfifo, "a pipe"),
        (Path.mkdir, "a folder"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
        (_readable_by_owner, "read-only"),
        (_writable_by_group, "members of a group may write it"),
        (_writable_folder, "everybody may write its folder"),
    ],
)
def test_what_is_not_safe_to_write_is_refused(
    files: SharedFiles, folder: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = folder / "config"
    make(path)
    with pytest.raises(UnsafeFile, match=reason):
        edit(files, path)
    assert temporary(folder) == []


def test_a_file_or_folder_of_another_user_is_refused(files: SharedFiles, folder: Path) -> None:
    if os.geteuid() != 0:
        skip_or_fail("only root can give a file to another user")
    path = folder / "config"
    path.write_bytes(OLD)
    os.chown(path, 65534, -1)
    with pytest.raises(UnsafeFile, match="another user"):
        edit(files, path)
    os.chown(path, 0, -1)
    os.chown(folder, 65534, -1)
    with pytest.raises(UnsafeFile, match=r"its folder .* belongs to another user"):
        edit(files, path)
    assert path.read_bytes() == OLD


def test_a_file_that_aws_tools_refuse_is_not_written_to(files: SharedFiles, folder: Path) -> None:
    path = folder / "config"
    path.write_bytes(OLD + OLD)
    with pytest.raises(UnparsableFile) as excinfo:
        edit(files, path)
    assert excinfo.value.lineno == 5
    assert excinfo.value.path == str(path)
    assert path.read_bytes() == OLD + OLD


@pytest.mark.parametrize("expect", [b"[profile a]\n", None, b""])
def test_a_file_that_is_not_as_planned_is_left_alone(
    files: SharedFiles, folder: Path, expect: bytes | None
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    with pytest.raises(FileChanged):
        files.edit(path, add, kind=FileKind.CONFIG, expect=expect)
    assert path.read_bytes() == OLD
    files.edit(path, add, kind=FileKind.CONFIG, expect=OLD)
    assert path.read_bytes() == NEW


def test_without_a_kept_version_nothing_is_written(tmp_path: Path, folder: Path) -> None:
    def full(_: Path, __: bytes) -> None:
        raise KeyturnError("history", "disk full")

    path = folder / "config"
    path.write_bytes(OLD)
    with pytest.raises(KeyturnError, match="disk full"):
        SharedFiles(tmp_path / "locks", keep=full).edit(path, add, kind=FileKind.CONFIG)
    assert path.read_bytes() == OLD
    assert temporary(folder) == []


def test_a_change_that_fails_or_gives_an_unreadable_file_changes_nothing(
    files: SharedFiles, folder: Path
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    with pytest.raises(UsageError):
        files.edit(path, lambda doc: set_items(doc, "profile a", {"k": "a\nb"}), kind=FileKind.CONFIG)
    with pytest.raises(UnparsableFile):
        files.edit(path, lambda doc: doc.data + doc.data, kind=FileKind.CONFIG)
    assert path.read_bytes() == OLD


def test_a_planted_temporary_name_is_not_written_through(
    files: SharedFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, victim = folder / "config", folder / "victim"
    path.write_bytes(OLD)
    victim.write_bytes(b"untouched")
    monkeypatch.setattr("keyturn.system.shared_file.secrets.token_hex", lambda _: "known")
    (folder / f".keyturn-{os.getpid()}-known.tmp").symlink_to(victim)
    with pytest.raises(KeyturnError):
        edit(files, path)
    assert victim.read_bytes() == b"untouched"
    assert path.read_bytes() == OLD


def test_a_file_that_is_a_mount_point_is_refused_with_advice(
    files: SharedFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    path = folder / "config"
    path.write_bytes(OLD)
    monkeypatch.setattr(system_files, "exchange", busy)
    with pytest.raises(UnsafeFile, match="Mount its folder"):
        edit(files, path)
    assert path.read_bytes() == OLD
    assert temporary(folder) == []


def test_where_there_are_no_hard_links_a_new_file_is_made_all_the_same(
    files: SharedFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    edit(files, folder / "config")
    assert mode(folder / "config") == 0o600
    assert temporary(folder) == []


def test_a_file_that_somebody_makes_in_the_same_moment_is_not_overwritten(
    files: SharedFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "config"
    real = os.link

    def late(*args: Any, **kwargs: Any) -> None:
        if not path.exists():
            path.write_bytes(OLD)
        real(*args, **kwargs)

    monkeypatch.setattr(os, "link", late)
    edit(files, path)
    assert path.read_bytes() == NEW


def test_a_file_that_cannot_be_read_is_told_in_one_line(
    files: SharedFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    (folder / "config").write_bytes(OLD)
    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(KeyturnError, match="Permission denied"):
        files.read(folder / "config")
    with pytest.raises(UnsafeFile, match="The file is unchanged"):
        edit(files, folder / "config")
    monkeypatch.undo()
    assert (folder / "config").read_bytes() == OLD


def test_remove_takes_only_what_is_as_we_left_it(
    files: SharedFiles, folder: Path, pre_images: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(NEW)
    with pytest.raises(FileChanged):
        files.remove(path, expect=OLD)
    assert path.read_bytes() == NEW
    files.remove(path, expect=NEW)
    assert not path.exists()
    assert pre_images == [NEW]


THEIRS = b"[theirs]\nregion = eu-west-1\n"


def save(path: Path, data: bytes = THEIRS) -> None:
    """Save as an editor does: a new file takes the name."""
    new = path.with_name("new")
    new.write_bytes(data)
    new.replace(path)


def test_remove_leaves_what_an_editor_saved_while_the_old_version_was_kept(
    tmp_path: Path, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(NEW)
    files = SharedFiles(tmp_path / "locks", keep=lambda *_: save(path), timing=timing.timing())
    with pytest.raises(FileChanged):
        files.remove(path, expect=NEW)
    assert path.read_bytes() == THEIRS
    assert [entry.name for entry in folder.iterdir()] == ["config"]


def test_remove_keeps_what_was_saved_even_where_the_name_is_taken_again(
    files: SharedFiles, folder: Path, pre_images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One save happens right before the name is removed, another right after."""
    path, later = folder / "config", b"[later]\n"
    path.write_bytes(NEW)
    real = Path.rename

    def between(self: Path, target: Path) -> Path:
        save(path)
        moved = real(self, target)
        save(path, later)
        return moved

    monkeypatch.setattr(Path, "rename", between)
    with pytest.raises(FileChanged):
        files.remove(path, expect=NEW)
    assert path.read_bytes() == later
    assert pre_images == [NEW, THEIRS]
    assert [entry.name for entry in folder.iterdir()] == ["config"]


def test_reading_for_display(files: SharedFiles, folder: Path) -> None:
    assert files.read(folder / "none") is None
    os.mkfifo(folder / "pipe")
    assert files.read(folder / "pipe") is None
    (folder / "config").write_bytes(OLD)
    assert files.read(folder / "config") == OLD
