"""Several processes at one shared file: every edit is there in the end, and no reader ever sees half a file."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from keyturn.awsfiles.document import parse, set_items
from tests.needs import needs

WRITER = """
    import sys
    from pathlib import Path
    from keyturn.awsfiles.document import FileKind, set_items
    from keyturn.awsfiles.store import SharedFiles

    locks, path, name, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    files = SharedFiles(locks, keep=lambda *_: None)
    for number in range(count):
        section = f"profile {name}" if number % 2 else "profile common"
        change = lambda doc: set_items(doc, section, {f"k_{name}_{number}": "here"})
        files.edit(path, change, kind=FileKind.CONFIG)
"""

OLD = b"# mine\n" + b"".join(b"[profile p%d]\nregion = eu-west-1\n" % n for n in range(40))


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def missing(what: str) -> None:
    if os.environ.get("KEYTURN_REQUIRE_ALL") == "1":
        pytest.fail(what)
    pytest.skip(what)


def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path: Path, folder: Path) -> None:
    """Killed at moments spread over an edit."""
    path = folder / "config"
    path.write_bytes(OLD)
    for number in range(12):
        process = start(WRITER, tmp_path / "locks", path, f"n{number}", 1000)
        before = path.read_bytes()
        while path.read_bytes() == before and process.poll() is None:
            os.sched_yield()
        time.sleep(number * 0.003)
        process.kill()
        process.communicate(timeout=10)
        data = path.read_bytes()
        assert data.startswith(OLD)
        assert data.endswith(b"\n")
        parse(data)


#: The calls by which an edit changes anything on disk, as strace names them.
CALLS = ["write", "pwrite64", "fsync", "rename", "linkat", "unlink", "fchmod", "flock", "mkdir"]


@pytest.mark.parametrize("present", [True, pytest.param(False, marks=pytest.mark.campaign)])
def test_killed_at_any_system_call_the_file_is_old_or_new_and_the_next_edit_works(
    tmp_path: Path, folder: Path, present: bool
) -> None:
    def run(path: Path, *wrapped: str) -> int:
        command = [
            *wrapped,
            sys.executable,
            "-c",
            textwrap.dedent(WRITER),
            str(tmp_path / "locks"),
            str(path),
            "x",
            "1",
        ]
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode

    if subprocess.run([needs("strace"), "true"], capture_output=True, check=False).returncode:
        missing("strace may not trace here (ptrace is forbidden)")
    old = OLD if present else None
    new = set_items(parse(old or b""), "profile common", {"k_x_0": "here"})
    killed = 0
    for call in CALLS:
        for number in range(1, 9):
            path = folder / f"{call}{number}" / "config"
            if old is not None:
                path.parent.mkdir(mode=0o700)
                path.write_bytes(old)
            inject = f"inject={call}:signal=KILL:when={number}"
            if run(path, "strace", "-f", "-e", f"trace={call}", "-e", inject) == 0:
                break
            killed += 1
            after = path.read_bytes() if path.exists() else None
            assert after in (old, new), (call, number)
            assert run(path) == 0
            assert path.read_bytes() == new, (call, number)
    assert killed >= 8
