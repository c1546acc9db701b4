"""Programs that are not keyturn's: limits, and nothing of them left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from keyturn.system import running_call
from keyturn.system.foreign_program import (
    MAX_STDERR_BYTES,
    STDERR_BYTES,
    CannotStart,
    Children,
    End,
    Limits,
    run,
)
from keyturn.system.running_call import RunningCall
from keyturn.system.secret_channel import WaitCancelled

LIMITS = Limits(60.0, 1000)
#: Leaves two children that ignore SIGTERM, and writes all process ids to `$1`.
STUBBORN = 'trap "" TERM; sleep 600 & echo $! >>"$1"; sleep 600 >/dev/null 2>&1 & echo $! $$ >>"$1"; '


def _sh(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _all_end(file: Path, count: int = 3) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pids = [int(word) for word in file.read_text().split()] if file.exists() else []
        if len(pids) == count and not any(map(_is_alive, pids)):
            return True
        time.sleep(0.02)
    return False


def test_what_it_prints_and_its_status_are_returned() -> None:
    result = run(_sh("echo out; echo err >&2; exit 3"), LIMITS)
    assert (result.end, result.status, result.stdout, result.stderr) == (End.EXITED, 3, b"out\n", b"err\n")
    assert run(_sh("kill -KILL $$"), LIMITS).status == -signal.SIGKILL
    assert b"out" not in repr(result).encode()


@pytest.mark.parametrize(
    ("count", "end"), [(1000, End.EXITED), (1001, End.TOO_LONG), (9_000_000, End.TOO_LONG)]
)
def test_stdout_has_a_limit(count: int, end: End) -> None:
    assert run(_sh(f"head -c {count} /dev/zero"), LIMITS).end is end


def test_only_the_last_lines_of_stderr_are_kept() -> None:
    result = run(_sh("i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done"), LIMITS)
    assert result.end is End.EXITED
    lines = result.stderr.splitlines()
    assert len(result.stderr) <= STDERR_BYTES
    assert lines[-1] == b"line 2999"
    assert lines[0].startswith(b"line "), "the first line is whole"
    assert run(_sh(f"head -c {MAX_STDERR_BYTES + 1} /dev/zero >&2"), LIMITS).end is End.TOO_LONG


@pytest.mark.parametrize("close", ["", "exec >&-; ", "exec >&- 2>&-; "])
def test_one_that_takes_too_long_is_ended_with_its_children(tmp_path: Path, close: str) -> None:
    pids = tmp_path / "pids"
    result = run(_sh(f"{STUBBORN}echo why >&2; {close}wait", str(pids)), Limits(1.0, 1000))
    assert (result.end, result.status, result.stderr) == (End.TOO_LATE, None, b"why\n")
    assert _all_end(pids)


def test_one_that_nobody_waits_for_any_more_is_ended_with_its_children(tmp_path: Path) -> None:
    pids, gone = tmp_path / "pids", threading.Event()
    threading.Timer(0.5, gone.set).start()
    with running_call.serving(RunningCall(gone.is_set)), pytest.raises(WaitCancelled):
        run(_sh(f"{STUBBORN}wait", str(pids)), LIMITS)
    assert _all_end(pids)
    with running_call.serving(RunningCall(gone.is_set)), pytest.raises(WaitCancelled):
        run(_sh("touch $1", str(tmp_path / "begun")), LIMITS)
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_whose_starter_dies_is_ended_with_its_children(tmp_path: Path, number: signal.Signals) -> None:
    pids = tmp_path / "pids"
    code = (
        "import sys; from keyturn.system.foreign_program import Limits, run; "
        "run(sys.argv[1:], Limits(60.0, 1000))"
    )
    with subprocess.Popen([sys.executable, "-c", code, *_sh(f"{STUBBORN}wait", str(pids))]) as starter:
        while not pids.exists() or len(pids.read_text().split()) < 3:
            time.sleep(0.02)
        starter.send_signal(number)
    assert _all_end(pids)


@pytest.mark.parametrize(("children", "stays"), [(Children.KEEP, True), (Children.END, False)])
def test_a_child_of_one_that_has_exited_stays_only_if_it_may(
    tmp_path: Path, children: Children, *, stays: bool
) -> None:
    pids = tmp_path / "pids"
    script = 'sleep 600 & echo $! >"$1"; echo answer'
    result = run(_sh(script, str(pids)), LIMITS, children=children)
    assert (result.end, result.stdout) == (End.EXITED, b"answer\n"), "although the child has its pipe"
    pid = int(pids.read_text())
    try:
        assert _is_alive(pid) if stays else _all_end(pids, 1)
    finally:
        if _is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_what_a_child_prints_after_its_parent_exited_is_awaited() -> None:
    result = run(
        _sh("(sleep 0.5; echo late) & exit 0"), LIMITS, is_complete=lambda stdout: stdout == b"late\n"
    )
    assert result.stdout == b"late\n"


@pytest.mark.parametrize("argv", [["/no/such/program"], ["/"], ["sh", "a\0b"]])
def test_one_that_does_not_start_is_an_error(argv: list[str]) -> None:
    with pytest.raises(CannotStart):
        run(argv, LIMITS)


def test_it_gets_no_terminal_and_a_group_of_its_own() -> None:
    result = run(
        _sh('(: </dev/tty) 2>/dev/null && echo terminal; ps -o pgid= -p $$ | tr -d " "; echo $$'), LIMITS
    )
    group, pid = result.stdout.split()
    assert group == pid


def test_a_status_is_known_although_the_system_reaps_children() -> None:
    code = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "from keyturn.system.foreign_program import Limits, run; "
        "print(run(['echo', 'x'], Limits(60.0, 1000)).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("b'x\\n'\n", "")


def test_the_time_that_a_call_may_take_is_the_longest_granted() -> None:
    now = [100.0]
    call = RunningCall(clock=lambda: now[0])
    assert call.seconds_left() == 0
    call.allow(60)
    call.allow(10)
    assert call.seconds_left() == 60
    now[0] += 61
    assert call.seconds_left() == 0
