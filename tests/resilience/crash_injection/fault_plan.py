"""The choice of faults: all of them in a campaign, a few evenly spread ones in a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import TypeVar

from tests.resilience.crash_injection import in_process_faults, strace_runs
from tests.resilience.crash_injection.crash_home import Home
from tests.resilience.crash_injection.file_writers import Act
from tests.resilience.crash_injection.state_checks import Verdicts, reference

Item = TypeVar("Item")

#: Each refusal once and, except EINTR, which Python retries forever, also permanently.
REFUSALS = (
    *tuple(
        (f"error={name}", lasting)
        for name in ("ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "EDQUOT")
        for lasting in (False, True)
    ),
    ("error=EINTR", False),
)
KILL = "signal=KILL"
#: Calls that only read: they all fail in the same way, so each needs only some of the refusals.
LOOKS = frozenset(
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


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` of `items`, evenly spread from the first to the last."""
    if len(items) <= count:
        return list(items)
    step = (len(items) - 1) / max(1, count - 1)
    return [items[round(at * step)] for at in range(count)]


def kill_everywhere(home: Home, acts: Sequence[Act], verdicts: Verdicts) -> None:
    """Kill a run at each system call of each operation."""
    for act in acts:
        known = reference(act, home)
        home.back_to(act.stage)
        for call in strace_runs.calls(act.run, home):
            home.back_to(act.stage)
            outcome = strace_runs.inject(act.run, home, call, KILL)
            verdicts.judge(
                act, known, home, outcome, f"killed at {call.name} {call.number} ({call.line:.160})"
            )


def refuse_everywhere(
    home: Home, acts: Sequence[Act], verdicts: Verdicts, each: Callable[[strace_runs.Call], int]
) -> None:
    """Refuse one call to a file per run, in `each(call)` of the ways, which take turns; and cut each write
    short."""
    ways = cycle(REFUSALS)
    for act in acts:
        known = reference(act, home)
        home.back_to(act.stage)
        for call in strace_runs.calls(act.run, home):
            if not call.ours or call.name not in strace_runs.FILE_CALLS:
                continue
            for how, lasting in _ways(call, ways, each(call)):
                home.back_to(act.stage)
                outcome = strace_runs.inject(act.run, home, call, how, lasting=lasting)
                what = (
                    f"{how}{' for good' if lasting else ''} at {call.name} {call.number} ({call.line:.160})"
                )
                verdicts.judge(act, known, home, outcome, what)


def _ways(call: strace_runs.Call, ways: Iterator[tuple[str, bool]], count: int) -> Iterator[tuple[str, bool]]:
    yield from islice(ways, count)
    if call.name in ("fsync", "fdatasync"):
        yield "error=EIO", True


def in_process(
    home: Home, acts: Sequence[Act], verdicts: Verdicts, *, kills: int, refusals: int, shorts: int
) -> None:
    """Apply at most these numbers of kills, refusals and short writes to each operation, without ptrace."""
    ways = cycle([(name, lasting) for name in in_process_faults.ERRORS for lasting in (False, True)])
    for act in acts:
        known = reference(act, home)
        home.back_to(act.stage)
        found = in_process_faults.calls(act.run, home)
        writes = [call for call in found if call.name in ("write", "pwrite")]
        runs: list[tuple[in_process_faults.Call, str, bool]] = [
            (call, in_process_faults.KILL, False) for call in spread(found, kills)
        ]
        runs += [(call, *next(ways)) for call in spread(found, refusals)]
        runs += [(call, in_process_faults.SHORT, False) for call in spread(writes, shorts)]
        for call, fault, lasting in runs:
            home.back_to(act.stage)
            outcome = in_process_faults.inject(act.run, home, call, fault, lasting=lasting)
            what = f"{fault}{' for good' if lasting else ''} at call {call.number}, {call.name}{call.what}"
            verdicts.judge(act, known, home, outcome, what)
