"""Events that an open front end must notice: an agent that was started, stopped or killed."""

from __future__ import annotations

import os
import signal
import time

from keyturn.agent import rpc_client, shutdown
from keyturn.model.profile import VaultState
from keyturn.service import CredentialService
from tests.core.operations.conftest import Bench


def test_an_agent_that_comes_goes_or_is_killed_changes_what_is_shown(bench: Bench) -> None:
    service = CredentialService.from_environ(bench.sandbox.environ)
    assert service.snapshot().vault is VaultState.LOCKED
    assert not service.has_changed()
    for end in ("lock", "kill"):
        rpc_client.start(service.paths, bench.sandbox.environ, recovery_key=bench.recovery_key)
        assert service.has_changed()
        assert service.snapshot().vault is VaultState.OPEN
        assert not service.has_changed()
        if end == "lock":
            shutdown.lock(service.paths.socket)
        else:
            os.kill(rpc_client.call(service.paths.socket, {"op": "status"})["pid"], signal.SIGKILL)
            deadline = time.monotonic() + 10
            while not service.has_changed():
                assert time.monotonic() < deadline
        assert service.has_changed()
        assert service.snapshot().vault is VaultState.LOCKED
