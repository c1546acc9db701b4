"""Any system call may fail, once or permanently: the file is the old one or the new one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsconfig import writer
from keyturn.awsconfig.document import Document, FileKind, set_items
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import KeyturnError

OLD = b"# mine\n[profile a]\nregion = eu-west-1\n"
LINE = {"credential_process": '"/opt/keyturn" credential-process a'}
NEW = OLD + b'credential_process = "/opt/keyturn" credential-process a\n'


def add(document: Document) -> bytes:
    return set_items(document, "profile a", LINE)


def temporary(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".keyturn-")]


def edit(files: SharedFiles, path: Path, kind: FileKind = FileKind.CONFIG) -> writer.Edit:
    return files.edit(path, add, kind=kind)


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
    tmp_path: Path, timing: Any, code: int, present: bool, lasting: bool
) -> None:
    created = b"[profile a]\ncredential_process = " + LINE["credential_process"].encode() + b"\n"
    failures = 0
    for first in range(1, 200):
        folder = tmp_path / str(first)
        folder.mkdir(mode=0o700)
        path = folder / "config"
        if present:
            path.write_bytes(OLD)
        files = SharedFiles(tmp_path / "locks", keep=lambda *_: None, timing=timing.timing())
        failed: KeyturnError | None = None
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(patch, code, first, lasting=lasting)
            try:
                edit(files, path)
            except KeyturnError as error:
                failed = error
        after = path.read_bytes() if path.exists() else None
        old, new = (OLD, NEW) if present else (None, created)
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
