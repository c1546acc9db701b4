"""Unreadable files are not taken for empty, and an unconfirmed write is not taken for no write."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.awsconfig import loader
from keyturn.model.errors import KeyturnError, UnsafeFile, WriteNotConfirmed
from keyturn.model.profile import Delivery
from keyturn.storage import managed_profiles
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.system import files
from tests.core.operations.conftest import Bench

OPERATIONS: dict[str, Callable[[Bench], object]] = {
    "adopt": lambda bench: bench.adopt("personal"),
    "deliver": lambda bench: bench.service.deliver("ci-deploy", Delivery.CREDENTIAL_PROCESS),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_config_file_that_cannot_be_read_is_not_taken_for_one_without_our_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-deploy", Delivery.NOWHERE)
    before = bench.files()
    real = loader.read_regular

    def refused(path: Path, limit: int) -> bytes | None:
        if path == bench.config:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, limit)

    monkeypatch.setattr(loader, "read_regular", refused)
    with pytest.raises(UnsafeFile, match="cannot be read: Input/output error"):
        OPERATIONS[operation](bench)
    monkeypatch.undo()
    assert bench.files() == before
    assert bench.service.settings("ci-deploy")["session"] == "temporary"


def test_definitions_that_cannot_be_read_once_are_not_taken_for_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("ci-deploy")
    real, reads, refused_at = managed_profiles.load, [0], 0

    def refused(path: Path) -> dict[str, ManagedProfile]:
        reads[0] += 1
        if reads[0] == refused_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    monkeypatch.setattr(managed_profiles, "load", refused)
    count = 0
    while reads[0] >= refused_at:
        refused_at, reads[0] = refused_at + 1, 0
        try:
            bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
        except KeyturnError:
            count += 1
        else:
            assert "aws_session_token" in bench.section("ci-deploy")
        reader = reads[0]
        with monkeypatch.context() as quiet:
            quiet.setattr(managed_profiles, "load", real)
            bench.service.deliver("ci-deploy", Delivery.NOWHERE)
        reads[0] = reader
    assert count > 2


@pytest.mark.parametrize("nth", [1, 2])
def test_an_adopt_whose_file_the_disk_does_not_confirm_is_put_back_and_can_be_done_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    before, calls, real = bench.files(), [0], files.sync_dir

    def refused(folder: Path) -> None:
        calls[0] += 1
        if calls[0] == nth:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(folder)

    monkeypatch.setattr("keyturn.awsconfig.writer.sync_dir", refused)
    with pytest.raises(WriteNotConfirmed, match="the disk did not confirm it"):
        bench.adopt("ci-deploy")
    assert bench.files() == before
    assert not [row.name for row in bench.service.snapshot().profiles if row.managed]
    bench.adopt("ci-deploy")
    assert bench.service.credential_process("ci-release")
    bench.release("ci-deploy")
    bench.release("ci-release", "ci-audit")
    assert bench.files() == before


def test_a_release_whose_file_the_disk_does_not_confirm_takes_the_secret_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("personal")
    before, real = bench.files(), files.sync_dir
    calls = [0]

    def refused(folder: Path) -> None:
        calls[0] += 1
        if calls[0] == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(folder)

    monkeypatch.setattr("keyturn.awsconfig.writer.sync_dir", refused)
    with pytest.raises(WriteNotConfirmed) as excinfo:
        bench.release("personal")
    assert "in clear" not in excinfo.value.line()
    assert bench.files() == before
    assert bench.service.credential_process("personal")
