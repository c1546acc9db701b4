"""Print what acts on many profiles cost: adopt and release in CPU time, refresh beside one refresh.

    .venv/bin/python -m tests.benchmarks batches [--file 10000] [--skip-adopt] [--skip-refresh]

The installed program runs against a sandbox, with an agent. CPU time is that of the command and of the agent
together. A growth order of 1 means that twice as many profiles cost twice as much. Exits 1 if a target is
missed.
"""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from keyturn.agent import shutdown
from keyturn_sandbox import Sandbox
from tests.end_to_end.person import KEYTURN, PASSPHRASE, Person, readable

#: Most seconds of CPU for adopting, and for releasing, 1,000 profiles of a file of 10,000.
CPU_SECONDS = 10.0
#: Largest growth order from 100 to 10,000 profiles.
ORDER = 1.15
#: Most times that 50 refreshes may take as long as one.
REFRESH_RATIO = 10.0
#: Seconds that AWS takes for a call.
CALL_SECONDS = 0.2
REFRESHES = 50
ACCOUNT = "444455556666"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of adopting and of releasing the same profiles."""

    adopt: float
    release: float


def main(words: Sequence[str]) -> int:
    """Measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks batches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--file", type=int, default=10_000, help="profiles in the largest file")
    parser.add_argument("--skip-adopt", action="store_true")
    parser.add_argument("--skip-refresh", action="store_true")
    given = parser.parse_args(words)
    missed = 0 if given.skip_adopt else adopt_and_release(given.file)
    missed += 0 if given.skip_refresh else refresh()
    print("all targets met" if not missed else f"{missed} targets MISSED")
    return 1 if missed else 0


def adopt_and_release(largest: int) -> int:
    """Print the cost of adopting and releasing; return how many targets were missed."""
    print(f"{'named':>7} {'in file':>8} {'adopt, s CPU':>13} {'release, s CPU':>15}")
    middle = cost_of(largest // 10, largest, write_keys)
    by_names = {
        count: cost_of(count, largest, write_roles) for count in (largest // 100, largest // 10, largest)
    }
    by_file = {
        size: cost_of(largest // 100, size, write_keys) for size in (largest // 100, largest // 10, largest)
    }
    missed = told(f"adopting {largest // 10} of {largest}, s", middle.adopt, CPU_SECONDS)
    missed += told(f"releasing {largest // 10} of {largest}, s", middle.release, CPU_SECONDS)
    for what, costs in (("what is named", by_names), ("what the file holds", by_file)):
        small, large = min(costs), max(costs)
        for verb in ("adopt", "release"):
            ratio = getattr(costs[large], verb) / getattr(costs[small], verb)
            order = math.log(ratio) / math.log(large / small)
            missed += told(f"growth order of {verb} in {what}, {small} to {large}", order, ORDER)
    return missed


def told(what: str, value: float, limit: float) -> int:
    """Print a figure beside its limit; return 1 if it is over it."""
    print(f"{what:<70} {value:6.2f}   (at most {limit:g})")
    return int(value > limit)


WriteFiles = Callable[[Person, Sequence[str], int], None]


def cost_of(named: int, in_file: int, write_files: WriteFiles) -> Cost:
    """Return what it costs to adopt and release `named` profiles of a file of `in_file`."""
    with (
        tempfile.TemporaryDirectory(prefix="kt-", dir=Path.home()) as folder,
        Sandbox(Path(folder) / "s", seed=False) as sandbox,
    ):
        person = Person(sandbox)
        person.config.parent.mkdir(mode=0o700, exist_ok=True)
        names = [f"p{number}" for number in range(0, in_file, in_file // named)][:named]
        write_files(person, names, in_file)
        before = person.files()
        person.makes_vault()
        try:
            adopted = cpu_of(person, "adopt", "--yes", *names)
            released = cpu_of(person, "release", "--yes", *names, fds={"--passphrase-fd": PASSPHRASE})
        finally:
            shutdown.lock(person.socket)
        if person.files() != before:
            raise SystemExit("the files are not as they were")
    print(f"{named:>7} {in_file:>8} {adopted:>13.2f} {released:>15.2f}")
    return Cost(adopted, released)


def write_keys(person: Person, names: Sequence[str], in_file: int) -> None:
    """Write a config file with `in_file` profiles, and a credentials file with the keys of `names`."""
    config = "".join(f"[profile p{number}]\nregion = eu-west-1\n\n" for number in range(in_file))
    _write(person, config, "".join(_key_section(name, number) for number, name in enumerate(names)))


def write_roles(person: Person, names: Sequence[str], in_file: int) -> None:
    """Write a config file with `in_file` profiles. Of `names` one in ten has a key, which the others assume
    their roles with, because the vault does not hold ten thousand keys.
    """
    users = {name: names[number - number % 10] for number, name in enumerate(names)}
    sections = []
    for number in range(in_file):
        name = f"p{number}"
        text = "region = eu-west-1"
        if users.get(name, name) != name:
            text = f"role_arn = arn:aws:iam::{ACCOUNT}:role/r{number}\nsource_profile = {users[name]}"
        sections.append(f"[profile {name}]\n{text}\n\n")
    keys = [_key_section(name, number) for number, name in enumerate(names) if users[name] == name]
    _write(person, "".join(sections), "".join(keys))


def _key_section(name: str, number: int) -> str:
    return (
        f"[{name}]\naws_access_key_id = AKIA{number:016d}\n"
        f"aws_secret_access_key = {number:08d}wJalrXUtnFEMIK7MDENGbPxRfiCYEXAM\n"
    )


def cpu_of(person: Person, *words: str, fds: dict[str, str] | None = None) -> float:
    """Run a command, which must succeed, and return the CPU seconds of it and of the agent."""
    agent = agent_pid(person)
    before = resource.getrusage(resource.RUSAGE_CHILDREN), process_seconds(agent)
    with readable(fds or {}) as (options, opened):
        done = subprocess.run(
            [KEYTURN, *words, *options],
            env=person.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            pass_fds=opened,
            check=False,
        )
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr[-300:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN), process_seconds(agent)
    command = after[0].ru_utime + after[0].ru_stime - before[0].ru_utime - before[0].ru_stime
    return command + after[1] - before[1]


def agent_pid(person: Person) -> int:
    """Return the process id of the person's agent."""
    return int(json.loads(person.does("agent", "status", "--json"))["pid"])


def process_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def refresh() -> int:
    """Print how long 50 refreshes take beside one; return how many targets were missed."""
    missed = 0
    for what, plant in (
        ("roles over one user", plant_roles),
        ("roles over one hop of a chain", plant_chain),
        ("users", plant_users),
    ):
        missed += told(
            f"{REFRESHES} {what}, against one of them, at {1000 * CALL_SECONDS:.0f} ms a call",
            refresh_ratio(plant),
            REFRESH_RATIO,
        )
    return missed


Plant = Callable[[Sandbox, Person], tuple[list[str], list[str]]]


def refresh_ratio(plant: Plant) -> float:
    """Return the time of refreshing all profiles of `plant` together, as a multiple of one of them."""
    with (
        tempfile.TemporaryDirectory(prefix="kt-", dir=Path.home()) as folder,
        Sandbox(Path(folder) / "s", seed=False) as sandbox,
    ):
        person = Person(sandbox)
        person.config.parent.mkdir(mode=0o700, exist_ok=True)
        adopted, names = plant(sandbox, person)
        person.makes_vault()
        try:
            person.does("adopt", "--yes", *adopted)
            person.does("refresh", *names)  # every file, hop and connection is warm
            for action in ("AssumeRole", "GetSessionToken"):
                sandbox.faults.order(action, "slow", times=None, seconds=CALL_SECONDS)
            one = min(seconds_of(person, "refresh", names[number]) for number in range(3))
            many = min(seconds_of(person, "refresh", *names) for _ in range(2))
        finally:
            shutdown.lock(person.socket)
    print(f"  one {one:.2f} s, {len(names)} {many:.2f} s")
    return many / one


def seconds_of(person: Person, *words: str) -> float:
    """Run a command, which must succeed, and return how long it took."""
    started = time.perf_counter()
    person.does(*words)
    return time.perf_counter() - started


def _trust(principal: str) -> list[dict[str, object]]:
    return [{"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}]


def _plaintext(sandbox: Sandbox, name: str, user_name: str, may_assume: Sequence[str] = ()) -> str:
    """Add a user with a key, and return its section of the credentials file."""
    user = sandbox.state.add_user(ACCOUNT, user_name, may_assume=may_assume, age=timedelta(days=1))
    key = sandbox.state.add_key(user, age=timedelta(days=1))
    return f"[{name}]\naws_access_key_id = {key.key_id}\naws_secret_access_key = {key.secret.reveal()}\n"


def _write(person: Person, config: str, credentials: str) -> None:
    person.config.write_text(config)
    person.credentials.write_text(credentials)
    for file in (person.config, person.credentials):
        file.chmod(0o600)


def plant_roles(sandbox: Sandbox, person: Person) -> tuple[list[str], list[str]]:
    """Plant one user and the roles that it assumes. Return what to adopt and what to refresh."""
    key = _plaintext(sandbox, "user", "user", (f"arn:aws:iam::{ACCOUNT}:role/r*",))
    for number in range(REFRESHES):
        sandbox.state.add_role(ACCOUNT, f"r{number}", _trust(f"arn:aws:iam::{ACCOUNT}:root"))
    names = [f"r{number}" for number in range(REFRESHES)]
    _write(
        person,
        "".join(
            f"[profile {name}]\nrole_arn = arn:aws:iam::{ACCOUNT}:role/{name}\nsource_profile = user\n"
            for name in names
        ),
        key,
    )
    return ["user"], names


def plant_chain(sandbox: Sandbox, person: Person) -> tuple[list[str], list[str]]:
    """Plant roles behind one hop. Return what to adopt and what to refresh."""
    hop = f"arn:aws:iam::{ACCOUNT}:role/hop"
    key = _plaintext(sandbox, "user", "user", (hop,))
    sandbox.state.add_role(
        ACCOUNT,
        "hop",
        _trust(f"arn:aws:iam::{ACCOUNT}:root"),
        may_assume=(f"arn:aws:iam::{ACCOUNT}:role/r*",),
    )
    for number in range(REFRESHES):
        sandbox.state.add_role(ACCOUNT, f"r{number}", _trust(hop))
    names = [f"r{number}" for number in range(REFRESHES)]
    _write(
        person,
        f"[profile hop]\nrole_arn = {hop}\nsource_profile = user\n"
        + "".join(
            f"[profile {name}]\nrole_arn = arn:aws:iam::{ACCOUNT}:role/{name}\nsource_profile = hop\n"
            for name in names
        ),
        key,
    )
    return ["user"], names


def plant_users(sandbox: Sandbox, person: Person) -> tuple[list[str], list[str]]:
    """Plant users. Return what to adopt and what to refresh."""
    names = [f"u{number}" for number in range(REFRESHES)]
    _write(person, "", "".join(_plaintext(sandbox, name, name) for name in names))
    return names, names
