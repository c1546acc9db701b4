"""Print the costs of a real agent over the sandbox to its clients, and its growth with use.

    .venv/bin/python -m tests.benchmarks.agent [--rounds 41] [--trips 5000] [--signings 200] [--requests
    100000]

Programs are timed in turn with an interpreter that does nothing, because a busy machine then slows all of
them alike. Figures are medians with the quartiles around them, and the ratio is what counts. Exits 1 if a
target is missed. Programs that this machine lacks are named and left out.
"""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from keyturn.agent import rpc_client
from keyturn.system import file_fingerprint
from keyturn_sandbox import Sandbox
from tests.benchmarks.echo import echo
from tests.benchmarks.interleaved import in_turn, quarters, ratio, share
from tests.core.agent.signed_requests import (
    ROLE,
    CountingProfile,
    minutes,
    set_up_role,
    sign_in_many_processes,
    sign_in_one_process,
)
from tests.core.agent.soak import soak
from tests.end_to_end.person import BIN, Person

BARE, WARM, AWS, LOCKED, KEYRING = (
    "python -c pass", "credential-process, agent up", "aws configure export-credentials",
    "credential-process, locked, no terminal", "credential-process, no agent, keyring",
)  # fmt: skip
TRIP, ECHO = "round trip", "a server that does nothing else"
#: Debian's package; version 1 on PyPI has no such command.
SYSTEM_AWS = Path("/usr/bin/aws")


class Report:
    """Prints figures and remembers any missed target."""

    def __init__(self) -> None:
        self.missed = False

    def line(self, what: str, figure: str, *, good: bool | None = None, target: str = "") -> None:
        verdict = "" if good is None else f"   target {target}: {'met' if good else 'MISSED'}"
        self.missed |= good is False
        print(f"{what:<44} {figure}{verdict}", flush=True)

    def times(self, durations: Mapping[str, Sequence[float]]) -> None:
        for name, values in durations.items():
            low, middle, high = (1000 * value for value in quarters(values))
            self.line(name, f"{middle:7.1f} ms ({low:.1f} to {high:.1f})")


def program(person: Person, *command: str | Path) -> Callable[[], object]:
    """Run a program to its end and discard its output."""
    return lambda: subprocess.run(
        command,
        env=person.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def time_warm_agent(person: Person, rounds: int, report: Report) -> None:
    functions = {
        BARE: program(person, sys.executable, "-c", "pass"),
        WARM: program(person, BIN / "keyturn", "credential-process", ROLE),
    }
    export = (SYSTEM_AWS, "configure", "export-credentials", "--profile", "personal")
    has_aws = SYSTEM_AWS.exists() and person.run(*map(str, export)).returncode == 0
    if has_aws:
        functions[AWS] = program(person, *export)
    wait_for_cache(person)
    durations = in_turn(functions, rounds)
    report.times(durations)
    warm_ratio = ratio(durations[WARM], durations[BARE])
    report.line("ratio to the interpreter", f"{warm_ratio:.2f}", good=warm_ratio <= 2.5, target="2.5")
    if has_aws:
        report.line("ratio to the AWS CLI, a key in clear", f"{ratio(durations[WARM], durations[AWS]):.3f}")
    else:
        report.line("ratio to the AWS CLI", f"{SYSTEM_AWS} is not there, or too old")


def wait_for_cache(person: Person) -> None:
    """Wait until an answer comes from the cache, which takes a moment after the last change."""
    for _ in range(2):
        rpc_client.document(person.socket, ROLE)
        time.sleep(file_fingerprint.TIMESTAMP_STEP.total_seconds() + 0.1)


def round_trips(person: Person, count: int, report: Report) -> None:
    def ask() -> object:
        return rpc_client.document(person.socket, ROLE)

    size = len(rpc_client.document(person.socket, ROLE))
    with tempfile.TemporaryDirectory(prefix="kt-") as folder, echo(Path(folder), size) as bare:
        wait_for_cache(person)
        durations = in_turn({TRIP: ask, ECHO: bare}, count)
    for name, good in ((ECHO, None), (TRIP, 1000 * share(durations[TRIP], 0.99) <= 1)):
        p50, p99 = (1000 * share(durations[name], part) for part in (0.5, 0.99))
        target = "p99 1 ms" if name == TRIP else ""
        report.line(f"{name}, p50 and p99", f"{p50:.3f} ms, {p99:.3f} ms", good=good, target=target)
    report.line("ratio to it", f"{ratio(durations[TRIP], durations[ECHO]):.2f}")


def time_locked(person: Person, rounds: int, report: Report) -> None:
    """Time a client that is told that the vault is locked."""
    person.does("vault", "lock")
    words = (BIN / "keyturn", "credential-process", ROLE)
    result = person.run(*map(str, words))
    assert result.returncode == 4, result.stderr
    durations = in_turn(
        {BARE: program(person, sys.executable, "-c", "pass"), LOCKED: program(person, *words)}, rounds
    )
    report.times(durations)
    extra = 1000 * (quarters(durations[LOCKED])[1] - quarters(durations[BARE])[1])
    report.line("more than the interpreter", f"{extra:.1f} ms", good=extra < 50, target="50 ms")


def time_keyring(rounds: int, report: Report) -> None:
    """Time a client without an agent, with a keyring that opens the vault without a user."""
    bus, daemon = shutil.which("dbus-run-session"), shutil.which("gnome-keyring-daemon")
    if bus is None or daemon is None:
        report.line(KEYRING, "dbus-run-session or gnome-keyring-daemon is not installed")
        return
    with Sandbox() as sandbox, tempfile.TemporaryDirectory(prefix="kt-") as runtime:
        person = Person(sandbox)
        person.environ["XDG_RUNTIME_DIR"] = runtime
        person.environ.pop("DISPLAY", None)
        script = f'printf %s login | {daemon} --unlock --components=secrets >/dev/null; exec "$@"'
        words = (sys.executable, "-m", "tests.benchmarks.by_keyring", str(rounds))
        top = {"PYTHONPATH": str(Path(__file__).parents[2])}
        result = person.run(bus, "--", "sh", "-c", script, "sh", *words, extra=top)
        assert result.returncode == 0, result.stderr
        report.times(json.loads(result.stdout))


def count_signings(person: Person, count: int, report: Report) -> None:
    counting = CountingProfile(person)
    one_moment = sign_in_one_process(counting, count, 0)
    report.line(
        f"{count} signings, one process",
        f"asked {one_moment.runs} time(s)",
        good=one_moment.runs == 1,
        target="1",
    )
    for name, use in (
        (f"{count} signings in 5 h, one process", sign_in_one_process(counting, count, 5)),
        (f"{count // 10} commands of the AWS CLI in 4 h", sign_in_many_processes(counting, count // 10, 4)),
    ):
        figure = (
            f"asked {use.runs} times; at least {minutes(min(use.seconds_at_output))} left when handed over"
        )
        report.line(name, figure, good=min(use.seconds_at_output) >= 960, target="16 min")
        if use.seconds_at_signing:
            report.line(
                "",
                f"at least {minutes(min(use.seconds_at_signing))} left when used (botocore asks again at 15)",
            )


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.benchmarks.agent")
    for name, default in (("rounds", 41), ("trips", 5000), ("signings", 200), ("requests", 100_000)):
        asked.add_argument(f"--{name}", type=int, default=default)
    wanted = asked.parse_args()
    report = Report()
    with Sandbox() as sandbox:
        person = Person(sandbox)
        try:
            set_up_role(person)
            time_warm_agent(person, wanted.rounds, report)
            round_trips(person, wanted.trips, report)
            use = soak(person.socket, (ROLE, "ci-deploy"), wanted.requests)
            growth = f"{use.growth:+.2f} % from {use.before / 1024:.1f} MiB"
            report.line(f"{use.requests} requests: memory", growth, good=use.growth < 5, target="5 %")
            report.line(
                "descriptors, errors",
                f"{use.descriptors:+d}, {use.errors}"
                if use.descriptors is not None
                else f"not seen, {use.errors}",
                good=not use.descriptors and not use.errors,
                target="0, 0",
            )
            count_signings(person, wanted.signings, report)
            time_locked(person, wanted.rounds, report)
        finally:
            person.leaves()
    time_keyring(max(5, wanted.rounds // 4), report)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
