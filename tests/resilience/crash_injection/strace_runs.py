"""Faults by strace: a child is killed at, or refused, one of its system calls, identified by name and
count."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.resilience.crash_injection import traced_child
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.traced_child import Outcome, Run

_LINE = re.compile(r"^\d+\s+(\w+)\((.*)$")
_EXITS = ("exit", "exit_group")
#: Calls for memory and threads, whose number differs each time; the disk is the same after them.
_MEMORY = frozenset(["mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex"])
#: Text that strace writes where a fault happened.
_INJECTED = ("(INJECTED)", "+++ killed by SIGKILL")
#: Calls whose refusal concerns a file. Memory, signals and time are excluded.
FILE_CALLS = frozenset(
    [
        "openat",
        "open",
        "read",
        "pread64",
        "write",
        "pwrite64",
        "fsync",
        "fdatasync",
        "rename",
        "renameat",
        "renameat2",
        "link",
        "linkat",
        "unlink",
        "unlinkat",
        "mkdir",
        "mkdirat",
        "rmdir",
        "fchmod",
        "fchmodat",
        "chmod",
        "fchown",
        "fchownat",
        "ftruncate",
        "flock",
        "fcntl",
        "close",
        "readlink",
        "readlinkat",
        "stat",
        "lstat",
        "newfstatat",
        "fstat",
        "getdents64",
        "flistxattr",
        "llistxattr",
        "listxattr",
        "fsetxattr",
        "lgetxattr",
        "lseek",
        "statx",
        "faccessat",
        "symlink",
        "dup",
        "dup2",
        "dup3",
        "utimensat",
    ]
)


@dataclass(frozen=True)
class Call:
    """A system call of a run: the `number`th of its name."""

    name: str
    number: int
    is_of_user: bool
    """True if it names a file of the user, or goes to one that is open."""
    line: str


def _strace(pid: int, out: Path, options: Sequence[str]) -> subprocess.Popen[str]:
    """Attach strace, and let the child begin only after strace has reported that."""
    command = ["strace", "-f", "-y", "-o", str(out), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    line = tracer.stderr.readline()
    if "attached" not in line:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise AssertionError(f"strace: {line}{tracer.stderr.read()}")
    return tracer


def _traced(run: Run, home: Home, options: Sequence[str]) -> Outcome:
    pid = traced_child.fork(run, home)
    tracer = _strace(pid, home.root / "trace", options)
    os.kill(pid, traced_child.GO)
    try:
        return traced_child.wait_for(pid, home)
    finally:
        tracer.communicate()


def calls(run: Run, home: Home, *options: str) -> list[Call]:
    """Return every system call of an undisturbed run, from its first touch of the user's files on, except
    :data:`_MEMORY`."""
    outcome = _traced(run, home, options)
    if outcome.code != 0:
        raise AssertionError(f"it fails by itself: {outcome}")
    counts: Counter[str] = Counter()
    system_calls = []
    touched = False
    for line in (home.root / "trace").read_text("utf-8", "replace").splitlines():
        match = _LINE.match(line)
        if match is None or " resumed>" in line:
            continue
        name = match[1]
        counts[name] += 1
        ours = str(home.person) in match[2]
        touched = touched or ours
        if touched and name not in _EXITS and name not in _MEMORY:
            system_calls.append(Call(name, counts[name], ours, match[2]))
    return system_calls


def inject(run: Run, home: Home, call: Call, how: str, *, is_permanent: bool = False) -> Outcome:
    """Run with `how` (`signal=KILL`, `error=ENOSPC`, `retval=1`) in place of one call, or of all calls from
    there on."""
    when = f"{call.number}+" if is_permanent else f"{call.number}"
    options = ("-e", f"trace={call.name}", "-e", f"inject={call.name}:{how}:when={when}")
    outcome = _traced(run, home, options)
    trace = (home.root / "trace").read_text("utf-8", "replace")
    mute = is_permanent and call.name == "write"
    return replace(outcome, reached=any(mark in trace for mark in _INJECTED), mute=mute)
