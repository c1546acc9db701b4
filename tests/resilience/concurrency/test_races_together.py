"""Many processes of one user at once: vault, index, managed profiles and both shared files keep every
change."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.agent import rpc_client, shutdown
from keyturn.awsconfig.document import FileKind, parse
from keyturn.model.profile import Delivery
from keyturn.storage.managed_profiles import load
from tests.resilience.concurrency.conftest import Machine

KEYTURN = str(Path(sys.executable).with_name("keyturn"))
Number = Callable[[str, object], None]


def adopt_all_at_once(machine: Machine, size: int) -> None:
    names = machine.add_users(size)
    others = {path: path.read_bytes() for path in (machine.aws / "config", machine.aws / "credentials")}
    keys = {
        name: dict(parse(others[machine.aws / "credentials"], kind=FileKind.CREDENTIALS).section(name).values)  # type: ignore[union-attr]  # team() has just written it
        for name in names
    }
    machine.run_parallel([[("adopt", name), ("deliver", name)] for name in names])
    definitions = load(machine.service.paths.profiles_file)
    index = machine.service.context.index.load()
    delivered = parse((machine.aws / "credentials").read_bytes(), kind=FileKind.CREDENTIALS)
    for name in names:
        entry = machine.service.context.vault.key(f"key/{name}")
        assert entry is not None, name
        assert entry["secret"] == keys[name]["aws_secret_access_key"]
        assert definitions[name].delivery is Delivery.CREDENTIALS_FILE
        assert index.of(name).delivered is not None
        section = delivered.section(name)
        assert section is not None
        assert section.values["aws_access_key_id"].startswith("ASIA")
        assert keys[name]["aws_secret_access_key"] not in (machine.aws / "credentials").read_text()
    assert machine.service.context.vault.generation() == index.vault_generation
    # Earlier contents that belong to none of the team are unchanged to the byte.
    assert (machine.aws / "config").read_bytes().startswith(others[machine.aws / "config"].rstrip(b"\n"))
    assert (
        (machine.aws / "credentials")
        .read_bytes()
        .startswith(others[machine.aws / "credentials"].split(b"[team-0]")[0])
    )


@pytest.mark.timeout(300)
def test_three_processes_that_adopt_and_deliver_at_once_lose_nothing(machine: Machine) -> None:
    adopt_all_at_once(machine, 3)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_eight_processes_that_adopt_and_deliver_at_once_lose_nothing(
    machine: Machine, record_property: Number
) -> None:
    adopt_all_at_once(machine, 8)
    record_property("races: processes that adopted and delivered at once, nothing lost", 8)


def ask_all_at_once(machine: Machine, count: int) -> tuple[set[str], int]:
    """Run `keyturn credential-process ci-release` a number of times at once. Return the documents and the
    number of AWS calls."""
    machine.sandbox.calls.clear()
    started_processes = [
        subprocess.Popen(
            [KEYTURN, "credential-process", "ci-release"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=machine.environ,
        )
        for _ in range(count)
    ]
    documents = set()
    for process in started_processes:
        out, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        documents.add(json.loads(out)["AccessKeyId"])
    return documents, machine.calls("AssumeRole")


def cold_with_an_agent(machine: Machine, count: int, record_property: Number) -> None:
    machine.service.adopt(machine.service.plan_adopt(["ci-deploy"]))
    places = machine.service.paths
    rpc_client.start(places, machine.environ, recovery_key=machine.recovery_key)
    try:
        start = time.monotonic()
        documents, calls = ask_all_at_once(machine, count)
        record_property(
            f"races: AssumeRole calls for {count} credential-process at once, cold, agent up", calls
        )
        record_property(f"races: seconds for all {count} of them", f"{time.monotonic() - start:.1f}")
    finally:
        shutdown.lock(places.socket)
    assert len(documents) == 1
    assert calls == 1


@pytest.mark.timeout(300)
def test_ten_callers_of_a_cold_profile_cause_one_call(machine: Machine, record_property: Number) -> None:
    cold_with_an_agent(machine, 10, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_fifty_callers_of_a_cold_profile_cause_one_call(machine: Machine, record_property: Number) -> None:
    cold_with_an_agent(machine, 50, record_property)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_fifty_processes_without_an_agent_cause_one_call(machine: Machine, record_property: Number) -> None:
    """Each process holds the vault open itself, as where no agent can be started."""
    machine.service.adopt(machine.service.plan_adopt(["ci-deploy"]))
    machine.sandbox.calls.clear()
    documents = set(machine.run_parallel([[("document", "ci-release")]] * 50))
    record_property(
        "races: AssumeRole calls for 50 processes at once, cold, no agent", machine.calls("AssumeRole")
    )
    assert len(documents) == 1
    assert machine.calls("AssumeRole") == 1


@pytest.mark.timeout(300)
def test_four_processes_without_an_agent_cause_one_call(machine: Machine) -> None:
    machine.service.adopt(machine.service.plan_adopt(["ci-deploy"]))
    machine.sandbox.calls.clear()
    documents = set(machine.run_parallel([[("document", "ci-release")]] * 4))
    assert len(documents) == 1
    assert machine.calls("AssumeRole") == 1
