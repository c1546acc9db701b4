"""An agent of another build is replaced without a gap, and one of this build goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from keyturn.agent import launcher, listener, protocol, rpc_client, shutdown, succession
from keyturn.agent.build import build
from keyturn.model.errors import AgentHangs, KeyturnError, NeedsUnlock, UnsafeFile, UsageError
from keyturn.operations import key_delivery, registry
from keyturn.service import CredentialService
from keyturn.storage import raw_paths
from keyturn.system import background_process
from keyturn.system.files import poll_flock
from tests.core.agent.conftest import DOCUMENT, Agent, Serve
from tests.core.agent.starter import COMMAND, PASSPHRASE, Starter, is_gone, wait_for_end

OTHER = build() + 1


@pytest.fixture
def predecessor(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """An agent that answers as another build does."""
    agent = serve()
    monkeypatch.setattr(agent.server, "_build", OTHER)
    return agent


def prepare(agent: Agent) -> succession.Succession:
    prepared = succession.prepare_succession([agent.path], agent.forward_socket)
    assert prepared is not None
    return prepared


def old_command(before: str = "") -> tuple[str, ...]:
    """Return the command of an agent of another build that runs `before` first."""
    program = COMMAND[-1]
    code = f"import runpy, keyturn.agent.server as server; server.build = lambda: 99; {before}\n"
    return (sys.executable, "-I", "-c", f"{code}runpy.run_path({program!r}, run_name='__main__')")


@pytest.mark.parametrize(
    ("status", "is_current"),
    [
        ({"pid": 1}, False),
        ({"pid": 1, "build": build()}, True),
        ({"pid": 1, "build": OTHER}, False),
        ({"pid": 1, "build": str(build())}, False),
        ({"pid": 1, "build": True}, False),
    ],
)
def test_an_agent_is_of_this_build_only_if_it_says_so(
    monkeypatch: pytest.MonkeyPatch, status: dict[str, object], is_current: bool
) -> None:
    monkeypatch.setattr(rpc_client, "ask", lambda *_: protocol.result_line(status))
    agent = rpc_client.find_agent(Path("/x"))
    assert agent is not None
    assert agent.is_current is is_current


def test_an_agent_of_this_build_is_not_replaced(serve: Serve) -> None:
    agent = serve()
    assert succession.prepare_succession([agent.path], agent.forward_socket) is None
    assert rpc_client.is_answering(agent.path)


def test_the_successor_is_reachable_before_the_predecessor_is_locked(predecessor: Agent) -> None:
    before = predecessor.path.stat().st_ino
    successor = prepare(predecessor)
    assert predecessor.path.stat().st_ino == before
    assert successor.predecessors == {
        predecessor.path: protocol.Agent(os.getpid(), paused=False, build=OTHER)
    }
    assert successor.begin()
    assert predecessor.path.stat().st_ino != before
    successor.lock_predecessors()
    assert predecessor.has_ended()
    predecessor.server.close()  # its process ends
    assert successor.listener.is_reachable()
    assert successor.forward.is_reachable()
    successor.close()


def test_what_the_predecessor_has_begun_is_finished(predecessor: Agent) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(rpc_client.run, predecessor.path, "wait", {})
        assert predecessor.service.blocked.acquire(timeout=10)
        successor = prepare(predecessor)
        assert successor.begin()
        successor.lock_predecessors()
        predecessor.service.gate.set()
        assert running.result(10) == {"did": "wait"}
    assert predecessor.has_ended()
    successor.close()


def test_of_two_successors_at_once_one_replaces_the_predecessor(predecessor: Agent) -> None:
    both = [prepare(predecessor), prepare(predecessor)]
    assert [successor.begin() for successor in both] == [True, False]
    both[1].close()
    assert both[0].listener.is_reachable()
    assert both[0].forward.is_reachable()
    both[0].close()


# -- nothing is taken before it can be used ------------------------------------------------------------------


def wait_for_exit() -> None:
    """Wait longer than an agent takes to exit that finds its socket replaced: it looks once a second. Only a
    wait can show that one does not exit."""
    time.sleep(1.5)


def still_serves(agent: Agent) -> bool:
    wait_for_exit()
    return bool(json.loads(rpc_client.document(agent.path, "prod")) == json.loads(DOCUMENT))


def test_a_forwarded_socket_that_cannot_be_bound_leaves_the_predecessor(
    predecessor: Agent, folder: Path
) -> None:
    (folder / "open").mkdir(mode=0o755)
    (folder / "open").chmod(0o755)
    with pytest.raises(UnsafeFile):
        succession.prepare_succession([predecessor.path], folder / "open" / "forward.sock")
    assert still_serves(predecessor)
    assert list(predecessor.path.parent.glob("*.new")) == []


def test_a_main_socket_that_cannot_be_moved_leaves_the_predecessor(
    predecessor: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    successor = prepare(predecessor)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(UnsafeFile, match="No space left"):
            successor.begin()
    successor.close()
    assert still_serves(predecessor)


def test_a_killed_successor_that_has_not_replied_leaves_the_predecessor(starter: Starter) -> None:
    starter.start(PASSPHRASE, command=old_command())
    old = starter.pid()
    code = "import keyturn.system.secret_channel as c, time; c.reply = lambda line: time.sleep(60)"
    with pytest.raises(KeyturnError):
        starter.start(PASSPHRASE, command=new_command(code), timeout=3)
    wait_for_exit()
    assert starter.pid() == old


def test_a_successor_whose_starter_is_slow_to_read_the_reply_waits_for_it(
    starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter.start(PASSPHRASE, command=old_command())
    old = starter.pid()
    start_process, seen = background_process.start_process, list[int]()

    def start_slowly(*words: object, **options: object) -> object:
        started = start_process(*words, **options)  # type: ignore[arg-type]
        time.sleep(1.0)
        seen.append(starter.pid())
        return started

    monkeypatch.setattr(launcher, "start_process", start_slowly)
    starter.start(PASSPHRASE)
    assert seen == [old]
    assert starter.pid() != old


def test_a_failure_after_the_reply_is_told_to_the_starter(starter: Starter) -> None:
    starter.start(PASSPHRASE, command=old_command())
    old = starter.pid()
    code = (
        "import keyturn.agent.succession as s; from keyturn.model.errors import UnsafeFile\n"
        "def fail(_self): raise UnsafeFile('Could not start the agent', 'because', '')\n"
        "s.Succession.begin = fail"
    )
    with pytest.raises(UnsafeFile, match="because"):
        starter.start(PASSPHRASE, command=new_command(code))
    wait_for_exit()
    assert starter.pid() == old


def new_command(before: str) -> tuple[str, ...]:
    program = COMMAND[-1]
    code = f"import runpy\n{before}\nrunpy.run_path({program!r}, run_name='__main__')"
    return (sys.executable, "-I", "-c", code)


# -- the lock ------------------------------------------------------------------------------------------------


def is_locked(path: Path) -> bool:
    handle = os.open(path.with_suffix(".lock"), os.O_RDWR)
    try:
        return not poll_flock(handle, 0)
    finally:
        os.close(handle)


def test_the_successor_takes_the_lock_whenever_the_predecessor_exits(predecessor: Agent) -> None:
    successor = prepare(predecessor)
    assert successor.begin()
    successor.lock_predecessors()
    assert predecessor.has_ended()
    assert is_locked(predecessor.path)
    predecessor.server.close()  # its process ends
    deadline = time.monotonic() + 10
    while not is_locked(predecessor.path) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # a lock that went with the predecessor's process would be free by now
    assert is_locked(predecessor.path)
    successor.close()
    assert not is_locked(predecessor.path)


def test_a_free_lock_does_not_let_another_agent_bind_over_one_that_answers(serve: Serve) -> None:
    agent = serve()
    agent.path.with_suffix(".lock").unlink()  # so it is free
    assert listener.acquire(agent.path, rpc_client.is_answering, 1) is None
    assert rpc_client.is_answering(agent.path)


# -- the removal of a socket ---------------------------------------------------------------------------------


def test_a_predecessor_that_withdraws_does_not_remove_the_sockets_of_its_successor(
    predecessor: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor comes between the check and the removal."""
    successor = prepare(predecessor)
    check, threads = listener.Listener.is_reachable, list[threading.Thread]()

    def check_then_pause(self: listener.Listener) -> bool:
        found = check(self)
        if self in (predecessor.server._listener, predecessor.server._forward) and not threads:
            threads.append(threading.Thread(target=successor.begin))
            threads[0].start()
            threads[0].join(0.5)
        return found

    for withdrawn in (predecessor.server._forward, predecessor.server._listener):
        assert withdrawn is not None
    monkeypatch.setattr(listener.Listener, "is_reachable", check_then_pause)
    predecessor.server._listener.withdraw()
    threads[0].join(10)
    monkeypatch.undo()
    assert successor.listener.is_reachable()
    assert successor.forward.is_reachable()
    successor.close()


def test_a_second_withdrawal_does_not_remove_a_later_socket(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its inode may be that of the first one."""
    monkeypatch.setattr(listener, "place_of", lambda path: (1, 2, 3) if path.exists() else None)
    path = folder / "agent.sock"
    first = listener.acquire(path, lambda _: False, 1)
    assert first is not None
    assert first.publish()
    first.withdraw()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as later:
        later.bind(str(path))
        first.close()
        assert path.exists()


def test_a_forwarded_socket_that_was_removed_is_restored(serve: Serve) -> None:
    agent = serve()
    agent.forward_socket.unlink()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if rpc_client.find_socket([agent.forward_socket, agent.path]) == agent.forward_socket:
            break
        time.sleep(0.05)
    assert rpc_client.call(agent.path, {"op": "status"})["pid"] == os.getpid()
    assert json.loads(rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None))


def test_sockets_of_killed_starters_are_removed(predecessor: Agent) -> None:
    leftover = predecessor.path.with_name("7fffffff-0.new")
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(leftover))
    live = predecessor.path.with_name(f"{os.getppid():x}-0.new")
    with socket.socket(socket.AF_UNIX) as starting:
        starting.bind(str(live))
    prepare(predecessor).close()
    assert not leftover.exists()
    assert live.exists()


# -- slow and silent agents ----------------------------------------------------------------------------------


@pytest.fixture
def slow(folder: Path) -> Iterator[Path]:
    """The socket of an agent of the first release that takes two seconds for an answer."""
    path = folder / "agent.sock"
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as sock:
        previous = os.umask(0o177)
        sock.bind(str(path))
        os.umask(previous)
        sock.listen()
        sock.settimeout(0.1)

        def serve() -> None:
            while not done.is_set():
                try:
                    connection, _ = sock.accept()
                except TimeoutError:
                    continue
                with connection, contextlib.suppress(OSError):
                    if connection.recv(4096):
                        done.wait(2)
                        connection.sendall(b'{"ok":true,"result":{"pid":1}}\n')

        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        done.set()
        thread.join()


def test_an_agent_that_answers_late_is_replaced(slow: Path) -> None:
    prepared = succession.prepare_succession([slow], slow.with_name("forward.sock"))
    assert prepared is not None
    assert list(prepared.predecessors) == [slow]
    prepared.close()


def test_an_agent_that_never_answers_is_not_taken_for_none(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "_STATUS_SECONDS", 0.5)
    with pytest.raises(AgentHangs):
        succession.prepare_succession([slow], slow.with_name("forward.sock"))


def test_an_agent_that_begins_to_answer_is_asked_for_its_build(
    predecessor: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not seen at the first look."""
    find, looks = succession.find_agents, list[int]()

    def look(sockets: list[Path]) -> dict[Path, protocol.Agent]:
        looks.append(1)
        return {} if len(looks) == 1 else find(sockets)

    monkeypatch.setattr(succession, "find_agents", look)
    successor = prepare(predecessor)
    assert list(successor.predecessors) == [predecessor.path]
    successor.close()


@pytest.mark.parametrize(
    ("what", "is_unknown"),
    [
        ("Unknown operation: allow-key-delivery", True),
        ("act allow-key-delivery", True),  # the first release
        ("Could not run allow-key-delivery", False),  # an argument is invalid
        ("Could not set allow-key-delivery", False),
        ("Unknown operation: release", False),
    ],
)
def test_an_operation_that_an_agent_does_not_know_is_told_from_other_refusals(
    what: str, is_unknown: bool
) -> None:
    assert registry.is_unknown_operation(UsageError(what, ""), "allow-key-delivery") is is_unknown


def test_what_an_agent_of_another_build_does_not_know_asks_for_the_unlock_that_replaces_it(
    starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise UsageError("act allow-key-delivery", "this keyturn knows none by that name")

    monkeypatch.setattr(rpc_client, "run", refuse)
    service = CredentialService.from_environ(starter.environ)
    with pytest.raises(NeedsUnlock, match="another version") as excinfo:
        service._run(key_delivery.allow, "ci")
    assert "vault unlock" in excinfo.value.hint


# -- agents at other places ----------------------------------------------------------------------------------


@pytest.fixture
def in_state(starter: Starter, folder: Path) -> Iterator[Path]:
    """The socket of an agent of another build in the state folder, while this one prefers another folder."""
    del starter.environ["KEYTURN_HOME"]
    starter.environ["XDG_RUNTIME_DIR"] = str(folder / "missing")
    starter.environ["XDG_STATE_HOME"] = str(folder / "state")
    socket_path = folder / "state" / "keyturn" / "run" / "agent.sock"
    code = (
        "server.build = lambda: 99; import keyturn.storage.raw_paths as p; p._is_private = lambda *_: False"
    )
    starter.start(PASSPHRASE, command=old_command(code))
    assert rpc_client.is_answering(socket_path)
    (folder / "runtime").mkdir(mode=0o700)
    starter.environ["XDG_RUNTIME_DIR"] = str(folder / "runtime")
    yield socket_path
    shutdown.lock_all(starter.paths.sockets)


def test_an_agent_at_another_place_is_found_and_stopped(starter: Starter, in_state: Path) -> None:
    assert starter.socket != in_state
    assert rpc_client.find_socket(starter.paths.sockets) == in_state
    assert rpc_client._ask_first(raw_paths.socket_paths(starter.environ), b'{"v":1,"op":"status"}\n')
    assert shutdown.lock_all(starter.paths.sockets)
    assert not rpc_client.is_answering(in_state)
    assert not shutdown.lock_all(starter.paths.sockets)


def test_an_agent_at_another_place_is_replaced(starter: Starter, in_state: Path) -> None:
    old = rpc_client.call(in_state, {"op": "status"})["pid"]
    starter.start(PASSPHRASE)
    assert starter.pid() != old
    assert wait_for_end(old)
    assert not in_state.exists()


def test_a_stopped_agent_does_not_keep_the_others_from_being_locked(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, first = serve(), folder / "agent.sock"
    lock = shutdown.lock

    def hang_at_first(path: Path, timeout: float) -> bool:
        if path == first:
            raise AgentHangs("Could not stop the agent", "", "")
        return lock(path, timeout)

    monkeypatch.setattr(shutdown, "lock", hang_at_first)
    threading.Timer(0.5, agent.server.close).start()  # its process ends
    with pytest.raises(AgentHangs):
        shutdown.lock_all([first, agent.path])
    assert agent.has_ended()


def test_a_lock_at_once_leaves_neither_of_the_two_processes(starter: Starter) -> None:
    starter.start(PASSPHRASE, command=old_command())
    old = starter.pid()
    starter.start(PASSPHRASE)
    new = starter.pid()
    assert new != old
    assert shutdown.lock(starter.socket)
    assert is_gone(new)
    assert is_gone(old)
