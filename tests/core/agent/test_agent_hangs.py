"""An agent whose process exists but does not respond: reported soon with its PID, and stopped by the command
in the hint."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from keyturn.agent import rpc_client, shutdown
from keyturn.agent.listener import acquire
from keyturn.model.errors import AgentHangs, AgentUnavailable
from tests.core.agent.starter import Starter, wait_for_end


@pytest.fixture(autouse=True)
def _short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rpc_client, shutdown):
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.4)


@pytest.fixture
def stopped_pid(starter: Starter) -> int:
    """PID of an agent stopped by SIGSTOP."""
    starter.start()
    pid = starter.pid()
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_an_operation_says_soon_which_process_hangs(starter: Starter, stopped_pid: int) -> None:
    began = time.monotonic()
    with pytest.raises(
        AgentHangs, match=rf"process {stopped_pid} .* keyturn agent stop && keyturn vault unlock"
    ):
        rpc_client.run(starter.socket, "refresh", {}, 110)
    assert time.monotonic() - began < 30


def test_the_fast_path_says_so_too(
    starter: Starter, stopped_pid: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert rpc_client.credential_process(["prod"], starter.environ) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"process {stopped_pid} is stopped or hangs. Run: keyturn agent stop" in err


def test_locking_ends_it_all_the_same_and_the_next_one_takes_its_place(
    starter: Starter, stopped_pid: int
) -> None:
    assert shutdown.lock(starter.socket)
    assert wait_for_end(stopped_pid)
    starter.start()
    assert starter.pid() != stopped_pid


def test_nobody_takes_its_place_while_it_lives(starter: Starter, stopped_pid: int) -> None:
    del stopped_pid
    with pytest.raises(AgentHangs, match="keyturn agent stop"):
        acquire(starter.socket, lambda path: rpc_client.is_answering(path, 0.1), 0.3)


def test_an_operation_that_takes_its_time_is_waited_for(starter: Starter) -> None:
    starter.start()
    assert rpc_client.run(starter.socket, "slow", {"seconds": 2.0}, 110)["did"] == "slow"


def test_an_operation_that_waits_for_a_program_is_waited_for_beyond_the_time_limit(starter: Starter) -> None:
    starter.start()
    with pytest.raises(AgentUnavailable, match="no answer within 1 s"):
        rpc_client.run(starter.socket, "slow", {"seconds": 3.0}, 1.0)
    assert rpc_client.run(starter.socket, "patient", {"seconds": 3.0}, 1.0)["did"] == "patient"


@pytest.mark.parametrize(
    ("status", "seconds"),
    [
        (b'{"ok":true,"result":{"wait_seconds":90}}', 90),
        (b'{"ok":true,"result":{"wait_seconds":0}}', 0),
        (b'{"ok":true,"result":{"pid":1}}', 0),
        (b'{"ok":true,"result":{"wait_seconds":1000000000}}', rpc_client.MAX_WAIT_SECONDS),
        (b'{"ok":true,"result":{"wait_seconds":"90"}}', 0),
        (b'{"ok":true,"result":{"wait_seconds":true}}', 0),
        (b'{"ok":false,"error":{}}', 0),
        (b"[]", 0),
        (b"", 0),
    ],
)
def test_a_status_adds_no_more_than_a_program_may_take(status: bytes, seconds: float) -> None:
    assert rpc_client._wait_seconds(status) == seconds


def test_what_wakes_up_in_time_answers(
    starter: Starter, stopped_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_client, "HEARTBEAT_SECONDS", 5.0)
    threading.Timer(0.5, os.kill, (stopped_pid, signal.SIGCONT)).start()
    assert rpc_client.run(starter.socket, "refresh", {}, 110)["did"] == "refresh"
