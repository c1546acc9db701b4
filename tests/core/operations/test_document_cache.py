"""The agent returns a cached document, but never one that differs from a newly made one."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from keyturn.model.errors import KeyturnError
from keyturn.operations.context import Context
from keyturn.profiles import inventory
from keyturn.service import CredentialService
from keyturn.system import file_fingerprint
from keyturn.system.clock import OFFSET_FILE
from tests.core.operations.conftest import Bench

ROLE, USER = "ci-release", "ci-deploy"
POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}
)


@pytest.fixture
def agent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> CredentialService:
    """The service of an agent that treats any file as settled; two profiles have been requested."""
    monkeypatch.setattr(file_fingerprint, "TIMESTAMP_STEP", timedelta(0))
    # Key metadata is written by then, not in a background thread some time later.
    monkeypatch.setattr(Context, "run_in_background", staticmethod(lambda operation, wait: operation()))  # noqa: ARG005
    bench.adopt(USER)
    service = CredentialService.from_environ(bench.sandbox.environ, use_agent=False, serves_others=True)
    service.unlock_here(recovery_key=bench.recovery_key)
    for name in (ROLE, USER) * 2:
        service.credential_process(name)
    return service


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One element for each time that all files were read."""
    found: list[None] = []
    read = inventory.read

    def counted(*words: object) -> inventory.Inventory:
        found.append(None)
        return read(*words)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(inventory, "read", counted)
    return found


def outcome(service: CredentialService, name: str) -> str:
    try:
        return service.credential_process(name)
    except KeyturnError as error:
        return f"{type(error).__name__}: {error.line()}"


def test_asked_again_it_reads_nothing_again_but_other_processes_do(
    bench: Bench, agent: CredentialService, readings: list[None]
) -> None:
    first = agent.credential_process(ROLE)
    readings.clear()
    assert [agent.credential_process(ROLE) for _ in range(5)] == [first] * 5
    assert not readings
    for _ in range(2):
        bench.service.credential_process(ROLE)
        assert readings
        readings.clear()
    assert not bench.service.context.documents


def test_a_file_that_changed_just_now_is_read_again_each_time(
    agent: CredentialService, readings: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_fingerprint, "TIMESTAMP_STEP", timedelta(hours=1))
    agent.context.documents.clear()
    for _ in range(2):
        agent.credential_process(ROLE)
        assert readings
        readings.clear()


def overwrite(path: Path, old: str, new: str) -> None:
    """Overwrite in place, with the same length and mtime, as a careless script would."""
    assert len(old) == len(new)
    assert old in path.read_text()
    before = path.stat()
    with path.open("r+") as file:
        text = file.read().replace(old, new)
        file.seek(0)
        file.write(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Bench], object]] = {
    "refreshed by another": lambda bench: bench.another().refresh(ROLE),
    "stopped by another": lambda bench: bench.another().stop(ROLE),
    "its source stopped": lambda bench: bench.another().stop(USER),
    "another duration": lambda bench: bench.another().set(ROLE, {"duration_seconds": "900"}),
    "the key itself": lambda bench: bench.another().set(USER, {"session": "none"}),
    "the vault gone": lambda bench: (bench.service.paths.vault_dir / "keys.age").unlink(),
    "the cache gone": lambda bench: (bench.service.paths.vault_dir / "sessions.age").unlink(),
    "definitions broken": lambda bench: bench.service.paths.profiles_file.write_text("{"),
    "definitions closed": lambda bench: bench.service.paths.profiles_file.unlink(),
    "index gone": lambda bench: bench.service.paths.index_file.unlink(),
    "role edited in place": lambda bench: overwrite(
        bench.service.paths.profiles_file, "role/ReleaseManager", "role/ReleaseManagex"
    ),
    "due": lambda bench: bench.sandbox.move_clock(41 * 60),
    "over": lambda bench: bench.sandbox.move_clock(13 * 3600),
    "the clock set back": lambda bench: bench.sandbox.move_clock(-3600),
    "released": lambda bench: bench.release(USER, ROLE, "ci-audit"),
}
#: Changes to these files do not affect a document.
UNRELATED_CHANGES = {
    ("its source stopped", ROLE),
    ("another duration", ROLE),
    ("another duration", USER),
    ("index gone", ROLE),
    ("role edited in place", USER),
    ("due", USER),
    ("the clock set back", ROLE),
    ("the clock set back", USER),
    ("refreshed by another", USER),
    ("stopped by another", USER),
}


def test_after_each_change_it_gives_what_a_new_process_gives(
    bench: Bench, agent: CredentialService, readings: list[None], tmp_path: Path
) -> None:
    offset = bench.sandbox.folder / OFFSET_FILE
    folders = (bench.sandbox.home / ".aws", bench.sandbox.folder / "keyturn")
    for folder in folders:
        shutil.copytree(folder, tmp_path / folder.name)
    same: set[tuple[str, str]] = set()
    for change, operation in CHANGES.items():
        for folder in folders:
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / folder.name, folder)
        offset.unlink(missing_ok=True)
        agent.context.vault._newest_generation = 0  # the copy is older than what the agent has seen
        before = {name: [agent.credential_process(name) for _ in range(3)][-1] for name in (ROLE, USER)}
        readings.clear()
        assert {name: agent.credential_process(name) for name in before} == before
        assert not readings, "they were not kept"
        new = bench.another()
        operation(bench)
        for name, document in before.items():
            found = outcome(agent, name)
            assert found == outcome(new, name), (change, name)
            same |= {(change, name)} if found == document else set()
    assert same == UNRELATED_CHANGES


def test_a_policy_file_counts_among_what_it_rests_on(
    bench: Bench, agent: CredentialService, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(POLICY)
    bench.another().set(ROLE, {"policy": str(policy)})
    first = [outcome(agent, ROLE) for _ in range(3)]
    assert agent.context.documents[ROLE]
    assert len(set(first)) == 1
    overwrite(policy, "s3:Get*", "s3:Put*")
    assert outcome(agent, ROLE) != first[0]


def test_what_is_kept_shows_no_secret_and_is_not_given_without_the_identity(agent: CredentialService) -> None:
    secret = json.loads(agent.credential_process(ROLE))["SecretAccessKey"]
    assert agent.context.documents[ROLE]
    assert secret not in repr(agent.context.documents)
    agent.context.vault.forget()
    assert outcome(agent, ROLE).startswith("NeedsUnlock")


def test_that_a_profile_is_in_use_is_noted_all_the_same(bench: Bench, agent: CredentialService) -> None:
    for _ in range(12):
        bench.sandbox.move_clock(60)
        agent.credential_process(ROLE)
    last_use = agent.context.profile_state(ROLE).last_use
    assert last_use is not None
    assert agent.now() - last_use <= timedelta(minutes=6)


@pytest.mark.campaign
def test_requests_that_go_well_or_fail_leave_no_object_behind(agent: CredentialService) -> None:
    def action() -> int:
        for _ in range(100):
            agent.context.documents.clear()
            outcome(agent, ROLE)
            outcome(agent, "nobody")
        gc.collect()
        return sys.getallocatedblocks()

    action()
    before = action()
    # One block per request would be two hundred; Python and pytest allocate some fifty by themselves.
    assert action() - before < 150
