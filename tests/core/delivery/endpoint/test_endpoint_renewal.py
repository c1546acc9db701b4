"""A long-running program continues to sign with sessions of 15 minutes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.core.delivery.endpoint.exec_program import Record, start_program
from tests.end_to_end.person import BIN, Person

#: botocore's `now`, used for expiries, is the sandbox's clock; signatures keep the real time.
_SITECUSTOMIZE = """
import datetime, os, pathlib, types
import botocore.credentials

class Moved(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        try:
            offset = float((pathlib.Path(os.environ["KEYTURN_SANDBOX"]) / "clock-offset").read_text())
        except OSError:
            offset = 0.0
        return datetime.datetime.now(tz) + datetime.timedelta(seconds=offset)

moved = types.ModuleType("datetime")
moved.__dict__.update(vars(datetime), datetime=Moved)
botocore.credentials.datetime = moved
"""

#: One client for its whole life: signs once for each line that it reads.
_CLIENT = """
import boto3, sys
client = boto3.client("sts")
for _ in sys.stdin:
    print(client.get_caller_identity()["Arn"], flush=True)
"""
ARN = "arn:aws:sts::444455556666:assumed-role/ReleaseManager/ci-release"
MINUTE = 60


class Client:
    """A program that signs with boto3."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def sign(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def client(person: Person, folder: Path) -> Iterator[Client]:
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    process = subprocess.Popen(
        [str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", "--", sys.executable, "-c", _CLIENT],
        env={**person.environ, "PYTHONPATH": str(folder)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    with process:
        yield Client(process)


@pytest.fixture
def short_sessions(person: Person) -> None:
    """Profiles with sessions of 15 minutes."""
    person.does("set", "ci-release", "duration=15m")


@pytest.mark.usefixtures("short_sessions")
def test_boto3_signs_across_two_renewals_and_aws_is_asked_for_no_more(
    person: Person, tmp_path: Path, record_property: Record
) -> None:
    sandbox = person.sandbox
    before = len(sandbox.calls)
    signed = 0
    with client(person, tmp_path) as boto:
        for part in range(3):
            if part:
                sandbox.move_clock(11 * MINUTE)
            for _ in range(5):
                assert boto.sign() == ARN
                signed += 1
    calls = sandbox.calls[before:]
    assert [call.error for call in calls] == [None] * len(calls)
    assert sum(call.action == "AssumeRole" for call in calls) == 3, "the first session, and two renewals"
    keys = [call.key_id for call in calls if call.action == "GetCallerIdentity"]
    assert len(keys) == signed == 15
    assert [len(set(keys[at : at + 5])) for at in (0, 5, 10)] == [1, 1, 1]
    assert len(set(keys)) == 3
    record_property(
        "endpoint: signings of one boto3 client across renewals", f"{signed} by {len(set(keys))} sessions"
    )


@pytest.mark.usefixtures("short_sessions")
def test_nothing_expired_is_given_and_the_reason_is_told(person: Person) -> None:
    """While AWS is unreachable, the session is served until it expires; then the error is one line."""
    with start_program(person) as program:
        first = program.key_id()
        person.sandbox.faults.order("*", "reset", times=None)
        person.sandbox.move_clock(12 * MINUTE)
        assert program.key_id() == first, "it is due, and still valid"
        person.sandbox.move_clock(4 * MINUTE)
        answer = program.send(program.request())
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"ASIA" not in answer
        assert b"keyturn: " in answer
        person.sandbox.faults.clear()


@pytest.mark.usefixtures("short_sessions")
def test_while_aws_does_not_answer_a_valid_session_is_given_before_an_sdk_gives_up(
    person: Person, tmp_path: Path
) -> None:
    person.does("refresh", "ci-release")
    with client(person, tmp_path) as boto:
        assert boto.sign() == ARN
        person.sandbox.move_clock(12 * MINUTE)
        person.sandbox.faults.order("AssumeRole", "time-out", times=None)
        began = time.monotonic()
        assert [boto.sign() for _ in range(3)] == [ARN] * 3
        assert time.monotonic() - began < 6
    person.sandbox.faults.clear()


def test_where_a_person_is_needed_the_program_goes_on_once_somebody_was_there(person: Person) -> None:
    person.does("adopt", "acme-alice", "--yes")
    person.does("refresh", "prod-admin", "--mfa-code", person.sandbox.totp("alice"))
    with start_program(person, profile="prod-admin") as program:
        first = program.key_id()
        person.sandbox.move_clock(61 * MINUTE)
        answer = program.send(program.request())
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"MFA code" in answer
        person.does("refresh", "prod-admin", "--mfa-code", person.sandbox.totp("alice"))
        assert program.key_id() != first
