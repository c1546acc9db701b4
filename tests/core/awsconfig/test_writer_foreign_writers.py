"""The writer beside other writers: it waits for unfinished files, loses no edit, and shares the lock."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from keyturn.awsconfig import writer
from keyturn.awsconfig.document import Document, FileKind, parse, set_items
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import FileBusy, FileChanged
from keyturn.system.shared_file import LOCK_LIMIT, READ_LIMIT, find_target, lock_file

OLD = b"# mine\n[profile a]\nregion = eu-west-1\n"
LINE = {"credential_process": '"/opt/keyturn" credential-process a'}
NEW = OLD + b'credential_process = "/opt/keyturn" credential-process a\n'


def add(document: Document) -> bytes:
    return set_items(document, "profile a", LINE)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def edit(files: SharedFiles, path: Path, kind: FileKind = FileKind.CONFIG) -> writer.Edit:
    return files.edit(path, add, kind=kind)


def test_an_empty_file_is_waited_for_but_counts_in_the_end(
    files: SharedFiles, folder: Path, timing: Any, pre_images: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(b"")
    edit(files, path)
    assert sum(timing.sleeps) >= 0.5
    assert path.read_bytes().startswith(b"[profile a]")
    assert pre_images == []


def test_a_writer_caught_in_the_middle_is_waited_for(files: SharedFiles, folder: Path, timing: Any) -> None:
    path = folder / "config"
    path.write_bytes(b"")

    def finish(_: float) -> None:
        timing.on_sleep = lambda _: None
        path.write_bytes(OLD)

    timing.on_sleep = finish
    edit(files, path)
    assert path.read_bytes() == NEW


def test_a_file_that_ends_in_a_line_and_lacks_known_sections_is_waited_for(
    tmp_path: Path, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    whole = OLD + b"[profile b]\nregion = us-east-1\n"
    path.write_bytes(whole[:45])
    past = path.stat().st_mtime - 1.0
    os.utime(path, (past, past))
    files = SharedFiles(
        tmp_path / "locks",
        keep=lambda *_: None,
        known_sections=lambda _: ("profile b",),
        timing=timing.timing(),
    )

    def finish(_: float) -> None:
        timing.on_sleep = lambda _: None
        path.write_bytes(whole)

    timing.on_sleep = finish
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


def write_into_old(
    files: SharedFiles,
    hours: Any,
    path: Path,
    theirs: bytes,
    *,
    when: bytes = NEW,
    then: Callable[[], object] = lambda: None,
) -> None:
    """Let another program open the file just before the writer replaces it, and write `theirs` into it just
    after."""
    keep, connections = files.keep, ExitStack()
    opened: list[BinaryIO] = []

    def open_first(place: Path, data: bytes) -> None:
        keep(place, data)
        if not opened:
            opened.append(connections.enter_context(path.open("r+b")))

    def write(_: float) -> None:
        if opened and (not path.exists() or path.read_bytes() == when):
            hours.on_sleep = lambda _: None
            opened[0].truncate(0)
            opened[0].write(theirs)
            connections.close()
            then()

    files.keep = open_first
    hours.on_sleep = write


def test_what_somebody_writes_into_the_replaced_file_is_joined(
    files: SharedFiles, folder: Path, timing: Any, pre_images: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD.replace(b"eu-west-1", b"eu-north-1") + b"[profile theirs]\nregion = us-east-1\n"
    write_into_old(files, timing, path, theirs)
    edit(files, path)
    document = parse(path.read_bytes())
    assert document.section("profile theirs")
    found = {item.key: item.value for item in document.sections[0].items}
    assert found == {"region": "eu-north-1", **LINE}
    assert pre_images == [OLD, NEW]


def test_a_late_write_is_joined_with_a_third_version(files: SharedFiles, folder: Path, timing: Any) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    third = NEW + b"[profile third]\nregion = us-east-2\n"
    late = OLD + b"[profile late]\nregion = us-east-1\n"
    write_into_old(files, timing, path, late, then=lambda: path.write_bytes(third))
    edit(files, path)
    assert [section.name for section in parse(path.read_bytes()).sections] == [
        "profile a",
        "profile third",
        "profile late",
    ]
    assert path.read_bytes().startswith(NEW)


def test_a_file_that_somebody_keeps_open_for_writing_is_left_alone(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    with path.open("ab"), pytest.raises(FileBusy, match="open for writing"):
        edit(files, path)
    assert sum(timing.sleeps) < READ_LIMIT + 1
    assert path.read_bytes() == OLD
    edit(files, path)
    assert path.read_bytes() == NEW


def test_a_former_version_that_somebody_never_closes_is_told(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    opened: list[BinaryIO] = []
    files.keep = lambda *_: opened.append(path.open("ab"))
    with pytest.raises(FileBusy, match="the previous version open"):
        edit(files, path)
    assert sum(timing.sleeps) < READ_LIMIT + 1
    opened[0].close()


def test_a_late_write_that_is_cut_off_is_kept_aside_and_told(
    files: SharedFiles, folder: Path, timing: Any, pre_images: list[bytes]
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    write_into_old(files, timing, path, OLD + b"[profile b]\nreg")
    with pytest.raises(FileChanged, match="cannot be merged"):
        edit(files, path)
    assert path.read_bytes() == NEW
    assert pre_images[-1] == OLD + b"[profile b]\nreg"


def test_a_late_writer_that_emptied_the_file_and_went_away_changes_nothing(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    write_into_old(files, timing, path, b"")
    edit(files, path)
    assert path.read_bytes() == NEW


def test_a_late_write_survives_even_if_our_change_no_longer_fits_it(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    def picky(document: Document) -> bytes:
        if document.section("profile theirs") is not None:
            raise FileChanged("adopt", "no longer as planned")
        return add(document)

    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD + b"[profile theirs]\nregion = us-east-1\n"
    write_into_old(files, timing, path, theirs)
    with pytest.raises(FileChanged, match="no longer as planned"):
        files.edit(path, picky, kind=FileKind.CONFIG)
    assert path.read_bytes() == theirs


def test_what_is_written_late_into_a_removed_file_comes_back(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    write_into_old(files, timing, path, OLD + b"[profile theirs]\n", when=b"")
    with pytest.raises(FileChanged):
        files.remove(path, expect=OLD)
    assert path.read_bytes() == OLD + b"[profile theirs]\n"
    assert mode(path) == 0o600


def test_a_writer_that_overwrites_our_edit_gets_it_again(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD + b"[profile theirs]\nregion = us-east-1\n"

    def clobber(_: float) -> None:
        if path.read_bytes() == NEW:
            timing.on_sleep = lambda _: None
            path.write_bytes(theirs)

    timing.on_sleep = clobber
    edit(files, path)
    assert set(LINE) <= {item.key for item in parse(path.read_bytes()).sections[0].items}
    assert parse(path.read_bytes()).section("profile theirs")


def test_with_a_plan_an_overwritten_edit_is_reported_not_repeated(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    theirs = OLD + b"[profile theirs]\nregion = us-east-1\n"

    def clobber(_: float) -> None:
        if path.read_bytes() == NEW:
            timing.on_sleep = lambda _: None
            path.write_bytes(theirs)

    timing.on_sleep = clobber
    with pytest.raises(FileChanged):
        files.edit(path, add, kind=FileKind.CONFIG, expect=OLD)
    assert path.read_bytes() == theirs


def test_a_writer_without_end_is_an_error_not_a_loop(files: SharedFiles, folder: Path, timing: Any) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    timing.on_sleep = lambda _: path.write_bytes(OLD) and None
    with pytest.raises(FileBusy):
        edit(files, path)


def test_a_busy_writer_that_ends_is_outlasted(files: SharedFiles, folder: Path, timing: Any) -> None:
    """Another program restores its older version more than ten times."""
    path = folder / "config"
    path.write_bytes(OLD)
    left = iter(range(60))
    timing.on_sleep = lambda _: None if next(left, None) is None else path.write_bytes(OLD) and None
    edit(files, path)
    assert next(left, None) is None
    assert path.read_bytes() != OLD


def test_a_lock_that_is_held_names_its_holder_after_ten_seconds(
    files: SharedFiles, folder: Path, timing: Any
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    with (
        lock_file(files.locks_dir, find_target(path), timing.timing()),
        pytest.raises(FileBusy, match=f"process {os.getpid()} "),
    ):
        edit(files, path)
    assert LOCK_LIMIT - 0.1 < sum(timing.sleeps) < LOCK_LIMIT + 1
    edit(files, path)
    assert path.read_bytes() == NEW


def test_two_paths_to_one_file_share_its_lock(files: SharedFiles, folder: Path, timing: Any) -> None:
    (folder / "config").write_bytes(OLD)
    (folder / "link").symlink_to("config")
    with lock_file(files.locks_dir, find_target(folder / "config"), timing.timing()), pytest.raises(FileBusy):
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
