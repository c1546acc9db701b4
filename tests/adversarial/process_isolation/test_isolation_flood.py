"""The agent stays up, stays small and leaks no connection, whatever its own user's programs send."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.adversarial.process_isolation.conftest import Owner, Record
from tests.adversarial.process_isolation.test_isolation_files import keyturn_files
from tests.support.campaign import campaign

FLOOD = Path(__file__).with_name("flood.py")
#: In MiB. An idle agent with boto3 loaded has about 50.
MOST = 80


def peak_memory(pid: int) -> int:
    """Return the peak resident size of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # names only


def send_flood(owner: Owner, way: str, count: int) -> int:
    socket = next(path for path in keyturn_files(owner.user) if path.is_socket())
    result = owner.user.python(FLOOD, str(socket), way, str(count))
    assert result.returncode == 0, result.stderr
    return int(json.loads(result.stdout))


def wait_until_idle(owner: Owner, before: int) -> int:
    """Return the number of open descriptors once the last connection is closed."""
    end = time.monotonic() + 60
    while descriptors(owner.agent) > before and time.monotonic() < end:
        time.sleep(0.05)
    return descriptors(owner.agent)


def check(owner: Owner, way: str, count: int, answers: int, record: Record) -> None:
    assert send_flood(owner, "one after another", 3) == 3
    before = descriptors(owner.agent)
    assert send_flood(owner, way, count) == answers
    assert wait_until_idle(owner, before) <= before
    assert owner.still_answers()
    record(f"isolation: agent's peak in MiB, {count} {way}", peak_memory(owner.agent))
    assert peak_memory(owner.agent) < MOST


@pytest.mark.parametrize(
    ("way", "count", "answers"),
    [
        *campaign(("one after another", 300, 300), ("sent", 1 << 26, 1)),
        ("at once", 50, 50),
        ("announced", 1 << 30, 1),
    ],
)
def test_a_flood_leaves_the_agent_as_it_was(
    owner: Owner, way: str, count: int, answers: int, record_property: Record
) -> None:
    check(owner, way, count, answers, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("way", "count", "answers"),
    [
        ("one after another", 10_000, 10_000),
        ("at once", 200, 200),
        ("half said", 200, 1),
        ("sent", 1 << 30, 1),
        ("announced", 1 << 30, 1),
    ],
)
def test_a_great_flood_leaves_the_agent_as_it_was(
    owner: Owner, way: str, count: int, answers: int, record_property: Record
) -> None:
    check(owner, way, count, answers, record_property)
