"""The writer: where it writes, with which rights, and what it does when others write too."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsfiles import store as store_module
from keyturn.awsfiles.document import Document, FileKind, parse, set_items
from keyturn.awsfiles.lock import hold
from keyturn.awsfiles.pace import LOCK_LIMIT
from keyturn.awsfiles.store import SharedFiles
from keyturn.awsfiles.target import find
from keyturn.errors import FileBusy, FileChanged, KeyturnError, UnparsableFile, UnsafeFile, UsageError

OLD = b"# mine\n[profile a]\nregion = eu-west-1\n"
LINE = {"credential_process": '"/opt/keyturn" credential-process a'}
NEW = OLD + b'credential_process = "/opt/keyturn" credential-process a\n'


def add(document: Document) -> bytes:
    return set_items(document, "profile a", LINE)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def temporary(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".keyturn-")]


def edit(files: SharedFiles, path: Path, kind: FileKind = FileKind.CONFIG) -> store_module.Edit:
    return files.edit(path, add, kind=kind)


def test_an_edit_gives_both_versions_and_keeps_the_old_one(
    files: SharedFiles, folder: Path, kept: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    done = edit(files, path)
    assert (done.before, done.after) == (OLD, NEW)
    assert path.read_bytes() == NEW
    assert kept == [OLD]
    assert "eu-west" not in repr(done)
    assert temporary(folder) == []


def test_an_edit_that_changes_nothing_writes_nothing(
    files: SharedFiles, folder: Path, kept: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(NEW)
    before = path.stat()
    assert edit(files, path).after == NEW
    assert path.stat() == before
    assert kept == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_we_make_is_private(files: SharedFiles, tmp_path: Path, umask: int, kept: list[bytes]) -> None:
    old = os.umask(umask)
    try:
        path = tmp_path / "new" / "home" / ".aws" / "credentials"
        edit(files, path, FileKind.CREDENTIALS)
    finally:
        os.umask(old)
    assert mode(path) == 0o600
    assert [mode(one) for one in (path.parent, path.parent.parent)] == [0o700, 0o700]
    assert parse(path.read_bytes()).section("profile a")
    assert kept == []


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


def _writable_folder(path: Path) -> None:
    path.write_bytes(OLD)
    path.parent.chmod(0o777)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_loop, "circle"),
        (os.mkfifo, "a pipe"),
        (Path.mkdir, "a folder"),
        (lambda path: path.symlink_to("/dev/null"), "a device"),
        (_readable_by_owner, "read-only"),
        (_writable_by_group, "writable by others"),
        (_writable_folder, "writable by others"),
    ],
)
def test_what_is_not_safe_to_write_is_refused(
    files: SharedFiles, folder: Path, make: Callable[[Path], None], why: str
) -> None:
    path = folder / "config"
    make(path)
    with pytest.raises(UnsafeFile, match=why):
        edit(files, path)
    assert temporary(folder) == []


def test_a_file_or_folder_of_another_user_is_refused(files: SharedFiles, folder: Path) -> None:
    if os.geteuid() != 0:
        reason = "only root can give a file to another user"
        if os.environ.get("KEYTURN_REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
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
    with pytest.raises(UnparsableFile) as caught:
        edit(files, path)
    assert caught.value.lineno == 5
    assert caught.value.path == str(path)
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
    monkeypatch.setattr("keyturn.awsfiles.replace.secrets.token_hex", lambda _: "known")
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
    monkeypatch.setattr(os, "replace", busy)
    with pytest.raises(UnsafeFile, match="Mount its folder"):
        edit(files, path)
    assert path.read_bytes() == OLD
    assert temporary(folder) == []


def test_an_empty_file_is_waited_for_but_counts_in_the_end(
    files: SharedFiles, folder: Path, hours: Any, kept: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(b"")
    edit(files, path)
    assert sum(hours.slept) >= 0.5
    assert path.read_bytes().startswith(b"[profile a]")
    assert kept == []


def test_a_writer_caught_in_the_middle_is_waited_for(files: SharedFiles, folder: Path, hours: Any) -> None:
    path = folder / "config"
    path.write_bytes(b"")

    def finish(_: float) -> None:
        hours.during = lambda _: None
        path.write_bytes(OLD)

    hours.during = finish
    edit(files, path)
    assert path.read_bytes() == NEW


def test_a_file_that_ends_in_a_line_and_lacks_known_sections_is_waited_for(
    tmp_path: Path, folder: Path, hours: Any
) -> None:
    path = folder / "config"
    whole = OLD + b"[profile b]\nregion = us-east-1\n"
    path.write_bytes(whole[:45])
    past = path.stat().st_mtime - 1.0
    os.utime(path, (past, past))
    files = SharedFiles(
        tmp_path / "locks", keep=lambda *_: None, known_sections=lambda _: ("profile b",), pace=hours.pace()
    )

    def finish(_: float) -> None:
        hours.during = lambda _: None
        path.write_bytes(whole)

    hours.during = finish
    edit(files, path)
    assert set(LINE.items()) <= {(i.key, i.value) for i in parse(path.read_bytes()).sections[0].items}
    assert parse(path.read_bytes()).section("profile b")


def test_a_file_with_a_time_in_the_future_does_not_block(files: SharedFiles, folder: Path) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    future = path.stat().st_mtime + 1e6
    os.utime(path, (future, future))
    edit(files, path)
    assert path.read_bytes() == NEW


def test_what_somebody_writes_into_the_replaced_file_is_joined(
    files: SharedFiles, folder: Path, hours: Any, kept: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD.replace(b"eu-west-1", b"eu-north-1") + b"[profile theirs]\nregion = us-east-1\n"
    with path.open("r+b") as held_open:

        def write_late(_: float) -> None:
            if path.read_bytes() == NEW:
                hours.during = lambda _: None
                held_open.truncate(0)
                held_open.write(theirs)
                held_open.flush()

        hours.during = write_late
        edit(files, path)
    document = parse(path.read_bytes())
    assert document.section("profile theirs")
    found = {item.key: item.value for item in document.sections[0].items}
    assert found == {"region": "eu-north-1", **LINE}
    assert kept == [OLD, NEW]


def test_a_late_write_is_joined_with_a_third_version(files: SharedFiles, folder: Path, hours: Any) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    with path.open("r+b") as held_open:

        def write_late(_: float) -> None:
            if path.read_bytes() == NEW:
                hours.during = lambda _: None
                held_open.write(OLD + b"[profile late]\nregion = us-east-1\n")
                held_open.flush()
                path.write_bytes(NEW + b"[profile third]\nregion = us-east-2\n")

        hours.during = write_late
        edit(files, path)
    assert [section.name for section in parse(path.read_bytes()).sections] == [
        "profile a",
        "profile third",
        "profile late",
    ]
    assert path.read_bytes().startswith(NEW)


def write_into_old(hours: Any, path: Path, theirs: bytes, *, when: bytes = NEW) -> Callable[[], None]:
    """Lets somebody who had the file open write `theirs` into it once ours has taken its place."""
    held_open = path.open("r+b")

    def act(_: float) -> None:
        if not path.exists() or path.read_bytes() == when:
            hours.during = lambda _: None
            held_open.truncate(0)
            held_open.write(theirs)
            held_open.flush()

    hours.during = act
    return held_open.close


def test_a_late_write_that_is_cut_off_is_kept_aside_and_told(
    files: SharedFiles, folder: Path, hours: Any, kept: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    close = write_into_old(hours, path, OLD + b"[profile b]\nreg")
    with pytest.raises(FileChanged, match="cannot be joined"):
        edit(files, path)
    close()
    assert path.read_bytes() == NEW
    assert kept[-1] == OLD + b"[profile b]\nreg"


def test_a_late_writer_that_emptied_the_file_and_went_away_changes_nothing(
    files: SharedFiles, folder: Path, hours: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    close = write_into_old(hours, path, b"")
    edit(files, path)
    close()
    assert path.read_bytes() == NEW


def test_a_late_write_survives_even_if_our_change_no_longer_fits_it(
    files: SharedFiles, folder: Path, hours: Any
) -> None:
    def picky(document: Document) -> bytes:
        if document.section("profile theirs") is not None:
            raise FileChanged("adopt", "no longer as planned")
        return add(document)

    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD + b"[profile theirs]\nregion = us-east-1\n"
    close = write_into_old(hours, path, theirs)
    with pytest.raises(FileChanged, match="no longer as planned"):
        files.edit(path, picky, kind=FileKind.CONFIG)
    close()
    assert path.read_bytes() == theirs


def test_what_is_written_late_into_a_removed_file_comes_back(
    files: SharedFiles, folder: Path, hours: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    close = write_into_old(hours, path, OLD + b"[profile theirs]\n", when=b"")
    with pytest.raises(FileChanged):
        files.remove(path, expect=OLD)
    close()
    assert path.read_bytes() == OLD + b"[profile theirs]\n"
    assert mode(path) == 0o600


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
    with pytest.raises(UnsafeFile, match="The file is as it was"):
        edit(files, folder / "config")
    monkeypatch.undo()
    assert (folder / "config").read_bytes() == OLD


def test_a_writer_that_overwrites_our_edit_gets_it_again(
    files: SharedFiles, folder: Path, hours: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD + b"[profile theirs]\nregion = us-east-1\n"

    def clobber(_: float) -> None:
        if path.read_bytes() == NEW:
            hours.during = lambda _: None
            path.write_bytes(theirs)

    hours.during = clobber
    edit(files, path)
    assert set(LINE) <= {item.key for item in parse(path.read_bytes()).sections[0].items}
    assert parse(path.read_bytes()).section("profile theirs")


def test_with_a_plan_an_overwritten_edit_is_reported_not_repeated(
    files: SharedFiles, folder: Path, hours: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD + b"[profile theirs]\nregion = us-east-1\n"

    def clobber(_: float) -> None:
        if path.read_bytes() == NEW:
            hours.during = lambda _: None
            path.write_bytes(theirs)

    hours.during = clobber
    with pytest.raises(FileChanged):
        files.edit(path, add, kind=FileKind.CONFIG, expect=OLD)
    assert path.read_bytes() == theirs


def test_a_writer_without_end_is_an_error_not_a_loop(files: SharedFiles, folder: Path, hours: Any) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    hours.during = lambda _: path.write_bytes(OLD) and None
    with pytest.raises(FileBusy):
        edit(files, path)


def test_a_lock_that_is_held_names_its_holder_after_ten_seconds(
    files: SharedFiles, folder: Path, hours: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    with (
        hold(files.locks_dir, find(path), hours.pace()),
        pytest.raises(FileBusy, match=f"process {os.getpid()} "),
    ):
        edit(files, path)
    assert LOCK_LIMIT - 0.1 < sum(hours.slept) < LOCK_LIMIT + 1
    edit(files, path)
    assert path.read_bytes() == NEW


def test_two_paths_to_one_file_share_its_lock(files: SharedFiles, folder: Path, hours: Any) -> None:
    (folder / "config").write_bytes(OLD)
    (folder / "link").symlink_to("config")
    with hold(files.locks_dir, find(folder / "config"), hours.pace()), pytest.raises(FileBusy):
        edit(files, folder / "link")


def test_a_file_system_without_locks_is_no_obstacle(
    files: SharedFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    path = folder / "config"
    path.write_bytes(OLD)
    edit(files, path)
    assert path.read_bytes() == NEW


def test_remove_takes_only_what_is_as_we_left_it(files: SharedFiles, folder: Path, kept: list[bytes]) -> None:
    path = folder / "config"
    path.write_bytes(NEW)
    with pytest.raises(FileChanged):
        files.remove(path, expect=OLD)
    assert path.read_bytes() == NEW
    files.remove(path, expect=NEW)
    assert not path.exists()
    assert kept == [NEW]


def test_reading_for_display(files: SharedFiles, folder: Path) -> None:
    assert files.read(folder / "none") is None
    os.mkfifo(folder / "pipe")
    assert files.read(folder / "pipe") is None
    (folder / "config").write_bytes(OLD)
    assert files.read(folder / "config") == OLD


FAULTS = (
    "open",
    "write",
    "fsync",
    "replace",
    "link",
    "unlink",
    "fchmod",
    "pwrite",
    "pread",
    "fstat",
    "listxattr",
    "mkdir",
)


class Faults:
    """Makes the nth call of any of some `os` functions fail, once or from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int, first: int, *, lasting: bool) -> None:
        self.calls = 0
        self.failed: set[str] = set()
        self.code = code
        self.first = first
        self.lasting = lasting
        for name in FAULTS:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self.first or (self.lasting and self.calls > self.first):
                self.failed.add(name)
                raise OSError(self.code, os.strerror(self.code))
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_call_leaves_the_old_or_the_new_bytes(
    tmp_path: Path, hours: Any, code: int, present: bool, lasting: bool
) -> None:
    made = b"[profile a]\ncredential_process = " + LINE["credential_process"].encode() + b"\n"
    failures = 0
    for first in range(1, 200):
        folder = tmp_path / str(first)
        folder.mkdir(mode=0o700)
        path = folder / "config"
        if present:
            path.write_bytes(OLD)
        files = SharedFiles(tmp_path / "locks", keep=lambda *_: None, pace=hours.pace())
        failed: KeyturnError | None = None
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, code, first, lasting=lasting)
            try:
                edit(files, path)
            except KeyturnError as error:
                failed = error
        after = path.read_bytes() if path.exists() else None
        old, new = (OLD, NEW) if present else (None, made)
        assert after in (old, new), first
        if failed is None:
            assert after == new, first
        else:
            failures += 1
            assert len(failed.line().splitlines()) == 1
            assert "did not confirm" in failed.why or after == old, first
        if "unlink" not in faults.failed:
            assert temporary(folder) == [], first
        edit(files, path)
        assert path.read_bytes() == new
        if faults.calls < first:
            break
    else:
        pytest.fail("the edit made more calls than expected")
    assert failures > 10
