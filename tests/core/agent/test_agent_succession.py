"""An agent of another build is replaced without a gap, and one of this build goes on."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keyturn.agent import listener, protocol, rpc_client, shutdown, succession, wire
from tests.core.agent.conftest import DOCUMENT, Agent, Serve
from tests.core.agent.starter import COMMAND, PASSPHRASE, Starter, is_gone


@pytest.fixture
def predecessor(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """An agent that answers as another build does."""
    agent = serve()
    status = agent.server._status
    monkeypatch.setattr(agent.server, "_status", lambda: {**status(), "build": wire.BUILD + 1})
    return agent


@pytest.mark.parametrize(
    ("status", "is_current"),
    [
        ({"pid": 1}, False),
        ({"pid": 1, "build": wire.BUILD}, True),
        ({"pid": 1, "build": wire.BUILD + 1}, False),
        ({"pid": 1, "build": str(wire.BUILD)}, False),
        ({"pid": 1, "build": True}, False),
    ],
)
def test_an_agent_is_of_this_build_only_if_it_says_so(
    monkeypatch: pytest.MonkeyPatch, status: dict[str, object], is_current: bool
) -> None:
    monkeypatch.setattr(rpc_client, "call", lambda *_: status)
    agent = rpc_client.find_agent(Path("/x"))
    assert agent is not None
    assert agent.is_current is is_current


def test_an_agent_of_this_build_is_not_replaced(serve: Serve) -> None:
    agent = serve()
    assert succession.take_over(agent.path) is None
    assert rpc_client.is_answering(agent.path)


def test_no_agent_is_not_replaced(folder: Path) -> None:
    assert succession.take_over(folder / "run" / "agent.sock") is None
    assert not (folder / "run" / "agent.sock").exists()


def test_the_successor_is_reachable_before_the_predecessor_is_locked(predecessor: Agent) -> None:
    before = predecessor.path.stat().st_ino
    taken = succession.take_over(predecessor.path)
    assert taken is not None
    mine, old = taken
    forward = listener.add_listener(mine, predecessor.forward_socket)
    assert predecessor.path.stat().st_ino != before
    assert mine.is_reachable()
    assert old.agent == protocol.Agent(os.getpid(), paused=False, build=wire.BUILD + 1)
    old.lock()
    assert predecessor.has_ended()
    predecessor.server.close()  # its process ends
    old.wait(10)
    assert mine.is_reachable()
    assert forward.is_reachable()
    # The successor owns the lock file now: another process waits for it.
    assert listener.acquire(predecessor.path, lambda _: True, 0.1) is None
    forward.close()
    mine.close()


def test_what_the_predecessor_has_begun_is_finished(predecessor: Agent) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(rpc_client.run, predecessor.path, "wait", {})
        assert predecessor.service.blocked.acquire(timeout=10)
        taken = succession.take_over(predecessor.path)
        assert taken is not None
        mine, old = taken
        old.lock()
        predecessor.service.gate.set()
        assert running.result(10) == {"did": "wait"}
    assert predecessor.has_ended()
    mine.close()


def test_two_successors_at_once_replace_one_predecessor(predecessor: Agent) -> None:
    """The second finds the first, which is of its own build."""
    turn, done = threading.Barrier(2), threading.Event()
    taken: list[tuple[listener.Listener, succession.Predecessor]] = []

    def succeed() -> None:
        turn.wait(10)
        found = succession.take_over(predecessor.path)
        if found is None:
            return
        taken.append(found)
        found[0].sock.settimeout(10)
        while not done.is_set():
            try:
                connection, _ = found[0].sock.accept()
            except TimeoutError:
                return
            with connection:
                if connection.recv(4096):
                    connection.sendall(protocol.result_line({"pid": 1, "paused": False, "build": wire.BUILD}))
                    done.set()

    with ThreadPoolExecutor(2) as pool:
        for work in [pool.submit(succeed), pool.submit(succeed)]:
            work.result(30)
    assert len(taken) == 1
    taken[0][1].lock()
    assert predecessor.has_ended()
    taken[0][0].close()


def test_a_file_in_place_of_the_new_socket_stops_the_successor_and_nothing_else(predecessor: Agent) -> None:
    predecessor.path.with_suffix(".new").write_text("mine")
    with pytest.raises(Exception, match="is not a socket that you own"):
        succession.take_over(predecessor.path)
    assert json.loads(rpc_client.document(predecessor.path, "prod")) == json.loads(DOCUMENT)


def test_a_lock_at_once_leaves_neither_of_the_two_processes(starter: Starter) -> None:
    program = COMMAND[-1]
    code = f"import runpy, keyturn.agent.server as server; server.BUILD = 99; runpy.run_path({program!r}, "
    starter.start(PASSPHRASE, command=(sys.executable, "-I", "-c", f"{code}run_name='__main__')"))
    old = starter.pid()
    starter.start(PASSPHRASE)
    new = starter.pid()
    assert new != old
    assert shutdown.lock(starter.socket)
    assert is_gone(new)
    assert is_gone(old)
