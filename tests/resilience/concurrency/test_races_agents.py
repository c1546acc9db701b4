"""Two agents started at once: one serves, and every client is served, also while one agent replaces
another."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from keyturn.agent import launcher, rpc_client, shutdown
from keyturn.agent.listener import acquire
from keyturn.agent.server import AgentServer
from keyturn.model.errors import AgentUnavailable
from keyturn.model.steps import UNWATCHED, Steps
from keyturn.storage.paths import Paths, paths_for
from keyturn.system.caller_environment import CallerEnvironment

PROGRAM = Path(__file__).parents[2] / "core" / "agent" / "fake_agent.py"
COMMAND = (sys.executable, "-I", str(PROGRAM))
Number = Callable[[str, object], None]


class StubService:
    """A service that returns a document for every profile."""

    def wait_until_secrets_saved(self) -> None:
        """Return at once, because no operation here must be waited for."""

    def withdraw_delivered(self) -> object:
        return ()

    def renew_due(self, may_go_on: object) -> object:  # noqa: ARG002  # a part of the port
        return ()

    def get_forwarded_credentials(self, name: str, least_seconds: int | None) -> str:
        raise AssertionError((name, least_seconds))

    def withdraw_expired(self) -> object:
        return ()

    def run_operation(
        self, op: str, args: Mapping[str, object], caller: CallerEnvironment | None, steps: Steps = UNWATCHED
    ) -> object:
        del caller, steps
        return {"did": op, "args": dict(args)}

    def credential_process(self, name: str, caller: CallerEnvironment | None) -> str:
        del caller
        return json.dumps({"Version": 1, "AccessKeyId": name})


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a private folder with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="kt-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def run_together(operations: Sequence[Callable[[], None]]) -> None:
    """Call each of `acts` in a thread of its own, all from the same moment."""
    start = threading.Barrier(len(operations))
    failures: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        start.wait()
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - raised again in the test
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


class InThisProcess:
    """Agents on one socket path, each with its listener, lock and loop as in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "run" / "agent.sock"
        self.won: list[AgentServer] = []
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        listener = acquire(self.path, rpc_client.is_answering, 20)
        if listener is None:
            return
        assert listener.publish()
        server = AgentServer(StubService(), listener)
        thread = threading.Thread(target=self._serve, args=(server,))
        thread.start()
        self.won.append(server)
        self.threads.append(thread)

    @staticmethod
    def _serve(server: AgentServer) -> None:
        server.serve()
        server.close()

    def stop(self) -> None:
        for server in self.won:
            server.stop()
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()
        self.won.clear()
        self.threads.clear()


def pairs_in_this_process(folder: Path, rounds: int) -> int:
    """Start two agents at once, for a number of rounds, and query each pair as soon as either has started.
    Return the number of agents that served."""
    agents = InThisProcess(folder)
    won = 0
    try:
        for number in range(rounds):

            def start_and_ask(name: str = f"p{number}") -> None:
                agents.start()
                assert json.loads(rpc_client.document(agents.path, name))["AccessKeyId"] == name

            run_together([start_and_ask] * 2)
            assert len(agents.won) == 1, f"round {number}: {len(agents.won)} agents won"
            won += len(agents.won)
            agents.stop()
    finally:
        agents.stop()
    return won


class InProcesses:
    """Agents in processes of their own, as a user's keyturn starts them."""

    def __init__(self, folder: Path) -> None:
        self.environ = {"HOME": str(folder), "PATH": os.environ["PATH"], "KEYTURN_HOME": str(folder / "k")}

    @property
    def paths(self) -> Paths:
        return paths_for(self.environ)

    def start(self, command: tuple[str, ...] = COMMAND) -> None:
        launcher.start_agent(self.paths, self.environ, command=command)

    def document(self, name: str) -> str:
        return rpc_client.document(self.paths.socket, name, 20)

    def document_from_agent(self, name: str) -> str:
        """Return the document as `credential-process` does: from the agent, or without one by the slow path,
        which here starts one."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return self.document(name)
            except AgentUnavailable:
                if time.monotonic() > deadline:
                    raise
                self.start()

    def agents(self) -> list[int]:
        """Return the processes that run an agent for this folder."""
        mark = f"KEYTURN_HOME={self.environ['KEYTURN_HOME']}".encode()
        pids = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    is_ours = mark in (entry / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                if is_ours:
                    pids.append(int(entry.name))
        return pids


def pairs_of_processes(folder: Path, rounds: int) -> None:
    person = InProcesses(folder)
    for number in range(rounds):

        def start_and_ask(name: str = f"p{number}") -> None:
            person.start()
            assert json.loads(person.document(name))["AccessKeyId"] == name

        run_together([start_and_ask] * 2)
        pid = rpc_client.call(person.paths.socket, {"op": "status"})["pid"]
        deadline = time.monotonic() + 10
        while (left := person.agents()) != [pid] and time.monotonic() < deadline and os.geteuid() == 0:
            time.sleep(0.01)
        assert left == [pid] or os.geteuid() != 0
        assert shutdown.lock(person.paths.socket)


def served_through_upgrades(folder: Path, upgrades: int) -> int:
    """Run clients that query without a pause while one agent replaces another. Return the number of
    answers."""
    person = InProcesses(folder)
    person.start()
    answers, stop = [0] * 4, threading.Event()
    newer = (sys.executable, "-I", "-c", _NEWER.format(program=str(PROGRAM)))

    def ask(client: int) -> None:
        while not stop.is_set():
            assert json.loads(person.document_from_agent(f"p{client}"))["AccessKeyId"] == f"p{client}"
            answers[client] += 1

    def upgrade() -> None:
        try:
            for number in range(upgrades):
                shutdown.lock(person.paths.socket)
                person.start(newer if number % 2 == 0 else COMMAND)
                time.sleep(0.05)
        finally:
            stop.set()

    run_together([upgrade, *(functools.partial(ask, client) for client in range(4))])
    shutdown.lock(person.paths.socket)
    return sum(answers)


_NEWER = """
import keyturn, runpy, sys
keyturn.__version__ = "99.0"
sys.argv = [{program!r}]
runpy.run_path({program!r}, run_name="__main__")
"""


@pytest.mark.timeout(300)
def test_of_two_agents_at_once_exactly_one_wins_and_both_starters_are_served(
    folder: Path, record_property: Number
) -> None:
    record_property("races: pairs of agents at once, one winner each", pairs_in_this_process(folder, 60))


@pytest.mark.timeout(300)
def test_of_two_agent_processes_at_once_exactly_one_is_left(folder: Path) -> None:
    pairs_of_processes(folder, 2)


@pytest.mark.timeout(300)
def test_a_client_that_asks_while_an_agent_is_replaced_is_served(
    folder: Path, record_property: Number
) -> None:
    record_property("races: requests served while agents were replaced", served_through_upgrades(folder, 2))


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_a_thousand_pairs_of_agents(folder: Path, record_property: Number) -> None:
    record_property("races: pairs of agents at once, one winner each", pairs_in_this_process(folder, 1000))


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_fifty_pairs_of_agent_processes(folder: Path, record_property: Number) -> None:
    pairs_of_processes(folder, 50)
    record_property("races: pairs of agent processes at once, one left each", 50)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_fifty_upgrades_in_use(folder: Path, record_property: Number) -> None:
    record_property("races: requests served through 50 upgrades", served_through_upgrades(folder, 50))
