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
BOTOCORE_REFRESHES_AT = 15 * 60
MIN_SECONDS_AT_OUTPUT = 16 * 60


@dataclass
class SigningStats:
    """Measurements; times in seconds."""

    signed: int = 0
    runs: int = 0
    """Number of starts of the `credential_process` program."""
    seconds_at_output: list[float] = field(default_factory=list)
    """Time left of each session when the program printed it."""
    seconds_at_signing: list[float] = field(default_factory=list)
    """Time left of the session that each signing used, as the client knows it."""


class CountingProfile:
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

    def read_log(self, keys: SigningStats) -> None:
        """Read the records written since the last call."""
        lines = self.log.read_text().splitlines()
        for line in lines[self.read :]:
            ends = datetime.fromisoformat(json.loads(line)["Expiration"])
            keys.seconds_at_output.append((ends - self.person.sandbox.now()).total_seconds())
        keys.runs += len(lines) - self.read
        self.read = len(lines)


def sign_in_one_process(counting: CountingProfile, signings: int, hours: float) -> SigningStats:
    """Let boto3 sign `count` times in one process while `hours` hours pass."""
    person, stats = counting.person, SigningStats()
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
            stats.seconds_at_signing.append(json.loads(line)["left"])
            stats.signed += 1
            counting.read_log(stats)
            if hours:
                person.sandbox.move_clock(hours * 3600 / signings)
        client.stdin.close()
    assert client.returncode == 0
    return stats


def sign_in_many_processes(counting: CountingProfile, signings: int, hours: float) -> SigningStats:
    """Run the AWS CLI `count` times, one after the other, while `hours` hours pass."""
    person, stats = counting.person, SigningStats()
    for _ in range(signings):
        done = person.run(
            sys.executable, str(PROGRAM), "cli", "sts", "get-caller-identity", "--profile", COUNTED
        )
        assert done.returncode == 0, done.stderr
        assert "assumed-role/ReleaseManager" in done.stdout
        stats.signed += 1
        counting.read_log(stats)
        person.sandbox.move_clock(hours * 3600 / signings)
    return stats


def set_up_role(person: Person) -> None:
    """Give the user a vault and the role, and an agent that has served it once."""
    person.makes_vault()
    person.does("adopt", "ci-deploy", "--yes")
    person.does("credential-process", ROLE)


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"
