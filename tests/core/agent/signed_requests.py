"""A day of AWS clients that use `credential_process`: how often they ask, and the sessions that they get."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.end_to_end.person import BIN, Person

PROGRAM = Path(__file__).with_name("shifted_client.py")
#: A one-hour session, and a profile that passes it on through a program that counts its runs.
ROLE, COUNTED = "ci-release", "counted"
#: Below this remaining time, botocore asks again at every signing; keyturn keeps a margin of some minutes.
BOTOCORE_ASKS_AT = 15 * 60
HANDED_AT_LEAST = 16 * 60


@dataclass
class Signings:
    """Measurements; times in seconds."""

    signed: int = 0
    asked: int = 0
    """Number of starts of the `credential_process` program."""
    handed: list[float] = field(default_factory=list)
    """Time left of each session when the program printed it."""
    left: list[float] = field(default_factory=list)
    """Time left of the session that each signing used, as the client knows it."""


class Counting:
    """Native profile whose program records its output."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.log = person.sandbox.folder / "printed"
        self.log.write_text("")
        program = person.sandbox.folder / "counting"
        program.write_text(f'#!/bin/sh\n"{BIN / "keyturn"}" credential-process "$1" | tee -a "{self.log}"\n')
        program.chmod(0o700)
        with person.config.open("a") as file:
            file.write(f"\n[profile {COUNTED}]\nregion = eu-west-1\ncredential_process = {program} {ROLE}\n")
        self.read = 0

    def note(self, seen: Signings) -> None:
        """Read the records written since the last call."""
        lines = self.log.read_text().splitlines()
        for line in lines[self.read :]:
            ends = datetime.fromisoformat(json.loads(line)["Expiration"])
            seen.handed.append((ends - self.person.sandbox.now()).total_seconds())
        seen.asked += len(lines) - self.read
        self.read = len(lines)


def in_one_process(counting: Counting, signings: int, hours: float) -> Signings:
    """Let boto3 sign `count` times in one process while `hours` hours pass."""
    person, seen = counting.person, Signings()
    client = subprocess.Popen(
        [sys.executable, str(PROGRAM), "boto", COUNTED],
        env=person.environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with client:
        assert client.stdin is not None
        assert client.stdout is not None
        for _ in range(signings):
            client.stdin.write("\n")
            client.stdin.flush()
            line = client.stdout.readline()
            assert line, "the client ended"
            seen.left.append(json.loads(line)["left"])
            seen.signed += 1
            counting.note(seen)
            if hours:
                person.sandbox.move_clock(hours * 3600 / signings)
        client.stdin.close()
    assert client.returncode == 0
    return seen


def in_many_processes(counting: Counting, signings: int, hours: float) -> Signings:
    """Run the AWS CLI `count` times, one after the other, while `hours` hours pass."""
    person, seen = counting.person, Signings()
    for _ in range(signings):
        done = person.run(
            sys.executable, str(PROGRAM), "cli", "sts", "get-caller-identity", "--profile", COUNTED
        )
        assert done.returncode == 0, done.stderr
        assert "assumed-role/ReleaseManager" in done.stdout
        seen.signed += 1
        counting.note(seen)
        person.sandbox.move_clock(hours * 3600 / signings)
    return seen


def of_role(person: Person) -> None:
    """Give the user a vault and the role, and an agent that has served it once."""
    person.makes_vault()
    person.does("adopt", "ci-deploy", "--yes")
    person.does("credential-process", ROLE)


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
