"""An export is written only to an unused name, and never over a file that appeared since the check."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keyturn.cli import vault
from keyturn.model.errors import ChangeRefused, UsageError
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.system import files
from keyturn.vault import passphrase
from tests.core.vault import weak_age
from tests.core.vault.conftest import PASSPHRASE

Export = Callable[[Path], Exception | None]


@pytest.fixture
def during_prompt() -> list[Callable[[], None]]:
    """Run `operation` while the passphrase of the export is typed."""
    return []


@pytest.fixture
def export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during_prompt: list[Callable[[], None]]
) -> Export:
    monkeypatch.setattr(passphrase, "seal", weak_age.seal)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KEYTURN_HOME", str(tmp_path / "kt"))
    service = CredentialService.from_environ(os.environ, use_agent=False)
    service.create_vault("passphrase", Secret(PASSPHRASE))

    def typed(_: int | None) -> Secret:
        for operation in during_prompt:
            operation()
        return Secret("for the journey")

    monkeypatch.setattr(vault, "_new_passphrase", typed)

    def run(file: Path) -> Exception | None:
        read, write = os.pipe()
        os.write(write, PASSPHRASE.encode() + b"\n")
        os.close(write)
        done = CliRunner().invoke(vault.vault, ["export", str(file), "--yes", "--passphrase-fd", str(read)])
        failed = done.exception
        assert failed is None or isinstance(failed, Exception)
        return failed

    return run


def test_an_export_is_private_and_leaves_nothing_beside_it(export: Export, tmp_path: Path) -> None:
    file = tmp_path / "out" / "export.age"
    assert isinstance(export(file), UsageError)
    assert not file.parent.exists(), "a mistyped folder is not made"
    file.parent.mkdir()
    assert export(file) is None
    assert file.read_bytes().startswith(b"age-encryption.org/")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_nlink == 1
    assert [path.name for path in file.parent.iterdir()] == ["export.age"]


def test_a_file_that_came_there_meanwhile_stays(
    export: Export, tmp_path: Path, during_prompt: list[Callable[[], None]]
) -> None:
    file = tmp_path / "export.age"

    def save() -> None:
        file.write_text("another's only backup")

    during_prompt.append(save)
    assert isinstance(export(file), ChangeRefused)
    assert file.read_text() == "another's only backup"
    assert [path.name for path in tmp_path.glob(".export*")] == []


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_link_that_leads_nowhere_is_not_written_over(
    export: Export, tmp_path: Path, during_prompt: list[Callable[[], None]], when: str
) -> None:
    file = tmp_path / "export.age"

    def link() -> None:
        file.symlink_to(tmp_path / "nowhere")

    if when == "before":
        link()
    else:
        during_prompt.append(link)
    assert isinstance(export(file), ChangeRefused)
    assert file.is_symlink()
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def _no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("_no_links")
def test_a_file_system_without_hard_links_takes_an_export_too(tmp_path: Path) -> None:
    """A memory stick, on which an export is carried, has such a file system."""
    file = tmp_path / "export.age"
    files.create_file(file, b"sealed")
    assert file.read_bytes() == b"sealed"
    with pytest.raises(FileExistsError):
        files.create_file(file, b"another")
    assert file.read_bytes() == b"sealed"
    assert [path.name for path in tmp_path.iterdir()] == ["export.age"]


@pytest.mark.usefixtures("_no_links")
def test_where_it_cannot_be_written_whole_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, synced = os.fsync, []

    def full(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.create_file(tmp_path / "export.age", b"sealed")
    assert list(tmp_path.iterdir()) == []
