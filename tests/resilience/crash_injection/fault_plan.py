"""The choice of faults: all of them in a campaign, a few evenly spread ones in a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import TypeVar

from tests.resilience.crash_injection import in_process_faults, strace_runs
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.file_writers import Operation
from tests.resilience.crash_injection.state_checks import Verdicts, reference

Item = TypeVar("Item")

#: Each refusal once and, except EINTR, which Python retries forever, also permanently.
REFUSALS = (
    *tuple(
        (f"error={name}", is_permanent)
        for name in ("ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "EDQUOT")
        for is_permanent in (False, True)
    ),
    ("error=EINTR", False),
)
KILL = "signal=KILL"
#: Calls that only read: they all fail in the same way, so each needs only some of the refusals.
READ_CALLS = frozenset(
    [
        "newfstatat",
        "stat",
        "lstat",
        "fstat",
        "lseek",
        "close",
        "read",
        "pread64",
        "readlink",
        "ioctl",
        "fcntl",
        "getdents64",
        "statx",
    ]
)


def take_spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` of `items`, evenly spread from the first to the last."""
    if len(items) <= count:
        return list(items)
    step = (len(items) - 1) / max(1, count - 1)
    return [items[round(at * step)] for at in range(count)]


def kill_everywhere(home: Home, operations: Sequence[Operation], verdicts: Verdicts) -> None:
    """Kill a run at each system call of each operation."""
    for operation in operations:
        expected = reference(operation, home)
        home.restore_stage(operation.stage)
        for call in strace_runs.calls(operation.run, home):
            home.restore_stage(operation.stage)
            outcome = strace_runs.inject(operation.run, home, call, KILL)
            verdicts.judge(
                operation, expected, home, outcome, f"killed at {call.name} {call.number} ({call.line:.160})"
            )


def refuse_everywhere(
    home: Home, operations: Sequence[Operation], verdicts: Verdicts, each: Callable[[strace_runs.Call], int]
) -> None:
    """Refuse one call to a file per run, in `each(call)` of the ways, which take turns; and cut each write
    short."""
    ways = cycle(REFUSALS)
    for operation in operations:
        expected = reference(operation, home)
        home.restore_stage(operation.stage)
        for call in strace_runs.calls(operation.run, home):
            if not call.is_of_user or call.name not in strace_runs.FILE_CALLS:
                continue
            for how, is_permanent in _ways(call, ways, each(call)):
                home.restore_stage(operation.stage)
                outcome = strace_runs.inject(operation.run, home, call, how, is_permanent=is_permanent)
                lasting = " for good" if is_permanent else ""
                what = f"{how}{lasting} at {call.name} {call.number} ({call.line:.160})"
                verdicts.judge(operation, expected, home, outcome, what)


def _ways(call: strace_runs.Call, ways: Iterator[tuple[str, bool]], count: int) -> Iterator[tuple[str, bool]]:
    yield from islice(ways, count)
    if call.name in ("fsync", "fdatasync"):
        yield "error=EIO", True


def in_process(
    home: Home, operations: Sequence[Operation], verdicts: Verdicts, *, kills: int, refusals: int, shorts: int
) -> None:
    """Apply at most these numbers of kills, refusals and short writes to each operation, without ptrace."""
    ways = cycle(
        [(name, is_permanent) for name in in_process_faults.ERRORS for is_permanent in (False, True)]
    )
    for operation in operations:
        expected = reference(operation, home)
        home.restore_stage(operation.stage)
        found = in_process_faults.calls(operation.run, home)
        writes = [call for call in found if call.name in ("write", "pwrite")]
        runs: list[tuple[in_process_faults.Call, str, bool]] = [
            (call, in_process_faults.KILL, False) for call in take_spread(found, kills)
        ]
        runs += [(call, *next(ways)) for call in take_spread(found, refusals)]
        runs += [(call, in_process_faults.SHORT, False) for call in take_spread(writes, shorts)]
        for call, fault, is_permanent in runs:
            home.restore_stage(operation.stage)
            outcome = in_process_faults.inject(operation.run, home, call, fault, is_permanent=is_permanent)
            what = (
                f"{fault}{' for good' if is_permanent else ''} at call {call.number}, {call.name}{call.what}"
            )
            verdicts.judge(operation, expected, home, outcome, what)
