"""Logs with several writers: thinning out and starting anew lose no line of any writer."""

from __future__ import annotations

import os
from pathlib import Path

from keyturn.storage import activity
from keyturn.storage.activity import ActivityEntry, ActivityLog
from keyturn.system import files
from tests.resilience.crash_injection.crash_home import NOW

WRITERS = 4
LINES = 25


def _write(path: Path, writer: int) -> None:
    log = ActivityLog(path)
    for number in range(LINES):
        log.add(ActivityEntry(NOW, f"{writer}-{number}", "faults", "x" * 200, ok=True))


def test_a_line_written_while_another_process_thins_out_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "activity.jsonl"
    children = []
    for writer in range(WRITERS):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                # Every line finds the file too long, so every process thins it out all the time.
                activity.MAX_SIZE = 1
                # Long enough for any machine, because a writer whose wait timed out would continue without
                # the lock.
                files.LOG_SECONDS = 60.0
                _write(path, writer)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    for pid in children:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert {operation.profile for operation in ActivityLog(path).read()} >= {
        f"{writer}-{number}" for writer in range(WRITERS) for number in range(LINES)
    }


def test_a_line_that_a_crash_tore_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "activity.jsonl"
    path.write_bytes(b'{"at": "2026-01-01T')
    ActivityLog(path).add(ActivityEntry(NOW, "dev", "faults", "done", ok=True))
    assert [operation.profile for operation in ActivityLog(path).read()] == ["dev"]
