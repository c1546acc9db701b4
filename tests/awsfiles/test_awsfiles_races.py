"""Several processes at one shared file: every edit is there in the end, and no reader ever sees half a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from keyturn.awsfiles.document import FileKind, parse, set_items
from keyturn.awsfiles.store import SharedFiles
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

#: As `aws configure set` does it: read, truncate in place, write, with a pause where a machine under load has one.
TRUNCATING = """
    import random, sys, time
    from pathlib import Path
    from keyturn.awsfiles.document import parse, set_items

    path, count = Path(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(1)
    for number in range(count):
        while True:
            data = path.read_bytes()
            if data:
                break
        new = set_items(parse(data), "profile foreign", {f"f_{number}": "here"})
        with path.open("wb", buffering=0) as file:
            time.sleep(rng.uniform(0.005, 0.05))
            file.write(new)
        time.sleep(rng.uniform(0.1, 0.2))
"""

HOLDER = """
    import sys, time
    from pathlib import Path
    from keyturn.awsfiles.lock import hold
    from keyturn.awsfiles.pace import Pace
    from keyturn.awsfiles.target import find

    with hold(Path(sys.argv[1]), find(Path(sys.argv[2])), Pace()):
        print("held", flush=True)
        time.sleep(60)
"""

OLD = b"# mine\n" + b"".join(b"[profile p%d]\nregion = eu-west-1\n" % n for n in range(40))


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors


def missing(what: str) -> None:
    if os.environ.get("KEYTURN_REQUIRE_ALL") == "1":
        pytest.fail(what)
    pytest.skip(what)


def keys_of(path: Path) -> set[str]:
    return {item.key for section in parse(path.read_bytes()).sections for item in section.items}


def test_eight_writers_with_twenty_five_edits_each_lose_none_and_no_reader_sees_half_a_file(
    tmp_path: Path, folder: Path
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    writers = [start(WRITER, tmp_path / "locks", path, name, 25) for name in "abcdefgh"]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        data = path.read_bytes()
        assert data.startswith(OLD)
        assert data.endswith(b"\n")
        parse(data)
        reads += 1
    finish(writers)
    found = keys_of(path)
    assert len({key for key in found if key.startswith("k_")}) == 200
    assert path.read_bytes().startswith(OLD)
    assert reads > 100
    assert [one.name for one in folder.iterdir()] == ["config"]


def test_beside_a_writer_that_truncates_everything_of_ours_and_all_that_was_there_survives(
    tmp_path: Path, folder: Path
) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    writers = [start(WRITER, tmp_path / "locks", path, name, 8) for name in "abcd"]
    writers.append(start(TRUNCATING, path, 10))
    finish(writers)
    found = keys_of(path)
    assert {f"k_{name}_{number}" for name in "abcd" for number in range(8)} <= found
    document = parse(path.read_bytes())
    assert all(document.section(f"profile p{number}") for number in range(40))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_dies_frees_the_lock(tmp_path: Path, folder: Path, end: signal.Signals) -> None:
    path = folder / "config"
    path.write_bytes(OLD)
    holder = start(HOLDER, tmp_path / "locks", path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(end)
    holder.communicate(timeout=10)
    begun = time.monotonic()
    SharedFiles(tmp_path / "locks", keep=lambda *_: None).edit(
        path, lambda doc: set_items(doc, "profile p1", {"output": "json"}), kind=FileKind.CONFIG
    )
    assert time.monotonic() - begun < 5


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
