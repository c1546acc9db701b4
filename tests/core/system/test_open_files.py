"""Detection of writers that have a file open: a definite answer or "unknown", never a guess."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsconfig.document import FileKind, set_items
from keyturn.awsconfig.writer import SharedFiles
from keyturn.system import open_files
from keyturn.system.open_files import is_being_written

Reading = Callable[[Path], bool | None]
OLD = b"[default]\nregion = eu-west-1\n"


@pytest.fixture
def ask() -> Reading:
    def ask_of(path: Path) -> bool | None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return is_being_written(descriptor)
        finally:
            os.close(descriptor)

    return ask_of


def test_a_writer_is_seen_before_it_writes(tmp_path: Path, ask: Reading) -> None:
    path = tmp_path / "config"
    path.write_bytes(OLD)
    assert ask(path) is False
    with path.open("ab"):
        assert ask(path) is True
    assert ask(path) is False


def test_on_a_file_system_that_is_not_known_nobody_can_tell(ask: Reading) -> None:
    """A file system without read leases does not indicate writers by refusing one."""
    assert ask(Path("/proc/self/status")) is None


#: NFS, SMB, CIFS, SMB2, FUSE, 9p, Ceph, AFS.
NETWORK = (0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x65735546, 0x01021997, 0x00C36400, 0x5346414F)


@pytest.mark.usefixtures("no_group_write")
@pytest.mark.parametrize("number", NETWORK)
def test_a_refused_lease_on_a_network_file_system_stops_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """On a network file system the kernel refuses with the same number if the server gave no delegation."""
    real = fcntl.fcntl

    def no_delegation(descriptor: int, command: int, argument: Any = 0) -> Any:
        if command == fcntl.F_SETLEASE and argument == fcntl.F_RDLCK:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", no_delegation)
    monkeypatch.setattr(open_files, "_file_system", lambda _: number)
    path = tmp_path / "config"
    path.write_bytes(OLD)
    os.utime(path, (1, 1))
    files = SharedFiles(tmp_path / "locks", keep=lambda *_: None)
    files.edit(path, lambda doc: set_items(doc, "default", {"output": "json"}), kind=FileKind.CONFIG)
    assert path.read_bytes() == OLD + b"output = json\n"


def test_the_file_system_is_told_as_the_system_tells_it(tmp_path: Path) -> None:
    """A system program makes the same call and prints its result for comparison."""
    path = tmp_path / "config"
    path.write_bytes(OLD)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = open_files._file_system(descriptor)
    finally:
        os.close(descriptor)
    done = subprocess.run(["stat", "-f", "-c", "%t", path], capture_output=True, text=True, check=True)
    assert found == int(done.stdout, 16)
