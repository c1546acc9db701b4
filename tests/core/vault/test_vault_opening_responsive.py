"""Opening a passphrase takes seconds by design; the rest of the process continues."""

from __future__ import annotations

import asyncio
import functools
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from textual.app import App

from keyturn.agent import rpc_client
from keyturn.agent.listener import acquire
from keyturn.agent.server import AgentServer
from keyturn.model.secret import Secret
from keyturn.model.steps import UNWATCHED, Steps
from keyturn.system.caller_environment import CallerEnvironment
from keyturn.vault import passphrase
from keyturn.vault.vault import Vault
from tests.core.vault import weak_age
from tests.core.vault.conftest import PASSPHRASE, Sample

TICK = 0.01
DOCUMENT = "{}"
VECTOR = Path(__file__).with_name("vectors") / "format-1"


async def _longest_gap(operation: Callable[[], object]) -> tuple[float, float]:
    """Return the longest pause of this loop during `operation` in a thread, and its duration, in seconds."""
    working = asyncio.create_task(asyncio.to_thread(operation))
    start = last = time.monotonic()
    longest = 0.0
    while not working.done():
        await asyncio.sleep(TICK)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    await working
    return longest, time.monotonic() - start


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Return a vault with a passphrase that takes a third of a second to open."""
    monkeypatch.setattr(passphrase, "seal", functools.partial(weak_age.seal, factor=17))
    vault = Vault(tmp_path / "vault")
    return Sample(vault.folder, vault.create("passphrase", Secret(PASSPHRASE)))


def _unlock(sealed: Sample) -> Callable[[], object]:
    return lambda: Vault(sealed.folder).unlock(passphrase=Secret(PASSPHRASE))


async def test_an_event_loop_ticks_on_while_a_passphrase_is_opened(sealed: Sample) -> None:
    longest, whole = await _longest_gap(_unlock(sealed))
    assert longest < whole / 2


async def test_the_app_s_loop_ticks_on_too(sealed: Sample) -> None:
    async with App[None]().run_test():
        longest, whole = await _longest_gap(_unlock(sealed))
    assert longest < whole / 2


class _UnlockService:
    """A service whose only operation opens the vault with its passphrase, as a release does in the agent."""

    def __init__(self, opens: Callable[[], object]) -> None:
        self._unlock = opens

    def run_operation(
        self, op: str, args: Mapping[str, object], caller: CallerEnvironment | None, steps: Steps = UNWATCHED
    ) -> object:
        del op, args, caller, steps
        self._unlock()
        return True

    def credential_process(self, name: str, caller: CallerEnvironment | None) -> str:
        del name, caller
        return DOCUMENT

    def wait_until_secrets_saved(self) -> None:
        """Return at once: nothing is unsaved."""

    def withdraw_delivered(self) -> object:
        return ()

    def renew_due(self, may_go_on: object) -> object:  # noqa: ARG002  # a part of the port
        return ()

    def get_forwarded_credentials(self, name: str, least_seconds: int | None) -> str:
        raise AssertionError((name, least_seconds))

    def withdraw_expired(self) -> object:
        return ()


def test_an_agent_answers_others_while_it_opens_a_passphrase(sealed: Sample) -> None:
    folder = Path(tempfile.mkdtemp(prefix="kt-"))
    listener = acquire(folder / "run" / "agent.sock", lambda _path: False, 1)
    assert listener is not None
    assert listener.publish()
    server = AgentServer(_UnlockService(_unlock(sealed)), listener)
    serving = threading.Thread(target=server.serve)
    serving.start()
    path, waits = folder / "run" / "agent.sock", []
    release = threading.Thread(target=rpc_client.run, args=(path, "release", {}, 60))
    start = time.monotonic()
    release.start()
    try:
        while release.is_alive():
            began = time.monotonic()
            assert rpc_client.document(path, "prod") == DOCUMENT
            waits.append(time.monotonic() - began)
            time.sleep(TICK)
        assert max(waits) < (time.monotonic() - start) / 2
        assert len(waits) > 10
    finally:
        release.join()
        server.stop()
        serving.join()
        server.close()
        shutil.rmtree(folder)


_MAX_WORK_FACTOR = """
import resource, sys, time
from pathlib import Path
from keyturn.model.errors import VaultError
from keyturn.model.secret import Secret
from keyturn.vault import passphrase as unseal
start = time.monotonic()
try:
    unseal.unseal(Path(sys.argv[1]).read_bytes(), Secret("wrong"), "identity.age")
except VaultError as error:
    print(type(error).__name__)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, round(time.monotonic() - start, 1))
"""


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_the_dearest_file_that_is_let_through_costs_bounded_time_and_memory(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """The header's check accepts a work factor of 20 at most."""
    sealed = (VECTOR / "vault" / "identity.age").read_bytes()
    dear = tmp_path / "identity.age"
    dear.write_bytes(sealed.replace(b" 19\n", b" 20\n", 1))
    assert dear.read_bytes() != sealed
    done = subprocess.run(
        [sys.executable, "-c", _MAX_WORK_FACTOR, dear], capture_output=True, text=True, check=True
    )
    error, peak, seconds = done.stdout.split()
    assert error == "WrongPassphrase"
    assert int(peak) * 1024 < passphrase.MEMORY
    assert float(seconds) < passphrase.SECONDS
    record_property("vault: peak of the dearest passphrase file, MiB", int(peak) // 1024)
    record_property("vault: time of the dearest passphrase file, s", seconds)
