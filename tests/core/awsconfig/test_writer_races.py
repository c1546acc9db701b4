"""A writer of a shared file killed while it works. `tests/resilience/crash_injection` tries every call."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from keyturn.awsconfig.document import parse

WRITER = """
    import sys
    from pathlib import Path
    from keyturn.awsconfig.document import FileKind, set_items
    from keyturn.awsconfig.writer import SharedFiles

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


def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path: Path, folder: Path) -> None:
    """The kills are spread over the duration of an edit."""
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
