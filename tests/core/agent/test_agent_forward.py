"""The agent's second socket: its refusals, and a remote host that keeps no local client waiting."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keyturn import __version__
from keyturn.agent import rpc_client, wire
from keyturn.agent.protocol import temporary_document
from keyturn.agent.rpc_client import AgentUnresponsive, NoAgent
from keyturn.agent.server import Limits
from keyturn.model.errors import (
    AgentUnavailable,
    KeyturnError,
    NeedsInteraction,
    NotFound,
    UnsafeFile,
    UsageError,
)
from keyturn.service import CredentialService
from keyturn.system.caller_environment import CallerEnvironment
from tests.core.agent.conftest import DOCUMENT, TEMPORARY

if TYPE_CHECKING:
    from tests.core.agent.conftest import Agent, Serve


def request(path: Path, line: bytes) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(line)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    found: dict[str, object] = json.loads(answer)
    return found


def test_a_document_is_asked_for_as_at_home(serve: Serve) -> None:
    agent = serve()
    assert rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None) == TEMPORARY
    assert rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", 1800) == TEMPORARY
    assert agent.service.calls == [
        ("forwarded", {"name": "prod", "least": None}),
        ("forwarded", {"name": "prod", "least": 1800}),
    ]
    with pytest.raises(NotFound):
        rpc_client.get_forwarded_credentials(agent.forward_socket, "nobody", None)


@pytest.mark.parametrize(
    "line",
    [
        {"op": "lock"},
        {"op": "pause"},
        {"op": "resume"},
        {"op": "run", "act": "refresh", "args": {"name": "prod"}},
        {"op": "run", "act": "release", "args": {}},
        {"op": "credential-process", "profile": "prod", "least": "1"},
        {"op": "credential-process", "profile": "prod", "least": -1},
        {"op": "credential-process", "profile": "prod", "least": True},
        {"op": "credential-process", "profile": "prod", "least": 10**30},
        {"op": "credential-process", "profile": ""},
    ],
)
def test_nothing_else_is_done_over_it(serve: Serve, line: dict[str, object]) -> None:
    agent = serve()
    answer = request(agent.forward_socket, json.dumps({"v": 1, **line}).encode() + b"\n")
    assert answer["ok"] is False
    assert agent.service.calls == []
    assert rpc_client.is_answering(agent.path)
    status = request(agent.path, wire.STATUS_REQUEST)["result"]
    assert isinstance(status, dict)
    assert status["paused"] is False


def test_its_status_is_the_version_alone(serve: Serve) -> None:
    assert request(serve().forward_socket, wire.STATUS_REQUEST) == {
        "ok": True,
        "result": {"version": __version__},
    }


def test_it_is_closed_to_others_and_goes_with_the_agent(serve: Serve) -> None:
    agent = serve()
    assert stat.S_IMODE(agent.forward_socket.stat().st_mode) == 0o600
    agent.server.stop()
    assert agent.has_ended()
    assert not agent.forward_socket.exists()
    with pytest.raises(AgentUnavailable):
        rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None)


def test_what_a_killed_agent_left_gives_way(serve: Serve, folder: Path) -> None:
    (folder / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "run" / "forward.sock"))
    assert rpc_client.get_forwarded_credentials(serve().forward_socket, "prod", None) == TEMPORARY


def test_the_remote_host_keeps_nobody_at_home_waiting(serve: Serve) -> None:
    agent = serve(limits=Limits(remote=3, connections=4, operations=4))
    connections = []
    for _ in range(12):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(agent.forward_socket))
        sock.sendall(b'{"v":1,')
        connections.append(sock)
    assert rpc_client.document(agent.path, "prod") == DOCUMENT
    for sock in connections:
        sock.close()

    agent.service.forward_gate = threading.Event()
    waiting = [_in_thread(agent) for _ in range(3)]
    for _ in waiting:
        assert agent.service.blocked.acquire(timeout=10)
    with pytest.raises(AgentUnavailable, match="busy"):
        rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None)
    assert rpc_client.document(agent.path, "prod") == DOCUMENT
    agent.service.forward_gate.set()
    for thread in waiting:
        thread.join(10)


def test_who_floods_it_waits_outside_and_is_not_sent_away(serve: Serve) -> None:
    agent = serve(limits=Limits(remote_pause=0.1))
    began = time.monotonic()
    flood = [_in_thread(agent) for _ in range(4)]
    for thread in flood:
        thread.join(10)
    assert len(agent.service.calls) == 4
    assert time.monotonic() - began > 0.3


def test_nobody_at_home_waits_with_them(serve: Serve) -> None:
    agent = serve(limits=Limits(remote_pause=3600))
    assert rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None) == TEMPORARY
    with socket.socket(socket.AF_UNIX) as outside:
        outside.connect(str(agent.forward_socket))
        outside.sendall(wire.document_request("prod"))
        for _ in range(20):
            assert rpc_client.document(agent.path, "prod") == DOCUMENT
        outside.setblocking(False)
        with pytest.raises(BlockingIOError):
            outside.recv(1)


def _in_thread(agent: Agent) -> threading.Thread:
    thread = threading.Thread(
        target=rpc_client.get_forwarded_credentials, args=(agent.forward_socket, "prod", None)
    )
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("mode", "works"), [(0o700, True), (0o755, True), (0o1777, True), (0o777, False), (0o770, False)]
)
def test_only_a_folder_in_which_nobody_else_can_put_a_socket_is_believed(
    serve: Serve, folder: Path, mode: int, *, works: bool
) -> None:
    agent = serve()
    shared = folder / "shared"
    shared.mkdir()
    far = shared / "far.sock"
    os.link(agent.forward_socket, far)
    shared.chmod(mode)
    if works:
        assert rpc_client.get_forwarded_credentials(far, "prod", None) == TEMPORARY
        far.chmod(0o660)
    with pytest.raises(AgentUnavailable):
        rpc_client.get_forwarded_credentials(far, "prod", None)


def _file(far: Path, _agent: Path) -> None:
    far.write_text("")


def _link(far: Path, agent: Path) -> None:
    far.symlink_to(agent)


def _pipe(far: Path, _agent: Path) -> None:
    os.mkfifo(far, 0o600)


def _open_to_others(far: Path, agent: Path) -> None:
    os.link(agent, far)


@pytest.mark.parametrize("squat", [_file, _link, _pipe, _open_to_others])
def test_what_somebody_else_put_in_its_place_is_neither_asked_nor_spoken_of(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch, squat: Callable[[Path, Path], None]
) -> None:
    agent, far = serve(), folder / "keyturn-forwarded-me.sock"
    squat(far, agent.forward_socket)
    environ = {"HOME": str(folder), "KEYTURN_HOME": str(folder / "k"), "KEYTURN_FORWARDED": str(far)}
    if squat is _open_to_others:
        monkeypatch.setattr(os, "geteuid", lambda: far.stat().st_uid + 1)
    assert rpc_client.credential_process(["prod"], environ) is None, "the long way"
    with pytest.raises((NotFound, UnsafeFile)):
        CredentialService.from_environ(environ).get_credentials("prod")
    assert agent.service.calls == []


def test_a_remote_host_whose_own_line_asks_keyturn_is_not_led_to_a_vault(serve: Serve, folder: Path) -> None:
    """If nothing is managed and the local side gives nothing, a prompt for a new vault would not help."""
    config = folder / "config"
    config.write_text("[profile there]\ncredential_process = /usr/bin/keyturn credential-process there\n")
    environ = {"HOME": str(folder), "KEYTURN_HOME": str(folder / "k"), "AWS_CONFIG_FILE": str(config)}
    service = CredentialService.from_environ({**environ, "KEYTURN_FORWARDED": str(serve().forward_socket)})
    for ask in (service.get_credentials, service.credential_process):
        with pytest.raises(NotFound):
            ask("there")


def test_a_stale_one_goes_once_it_is_certain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = folder / "far.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(far))
        far.chmod(0o600)
    with pytest.raises(NoAgent):
        rpc_client.ask(str(far), wire.STATUS_REQUEST, 5, is_remote=True)
    assert far.exists(), "it may be about to listen"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + rpc_client.STALE_SECONDS + 1)
    with pytest.raises(NoAgent):
        rpc_client.ask(str(far), wire.STATUS_REQUEST, 5)
    assert far.exists(), "the agent's own is its own matter"
    with pytest.raises(NoAgent):
        rpc_client.ask(str(far), wire.STATUS_REQUEST, 5, is_remote=True)
    assert not far.exists()


def test_a_request_at_home_takes_no_length_from_a_stranger(serve: Serve) -> None:
    with pytest.raises(UsageError):
        rpc_client.call(serve().path, {"op": "credential-process", "profile": "prod", "least": []})


@pytest.mark.parametrize(
    "lie",
    [
        "{}",
        '{"Version":1}',
        '{"Version":1,"AccessKeyId":"AKIAX","SecretAccessKey":"s","Expiration":"2099-01-01T00:00:00Z"}',
        '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s","SessionToken":"t","Expiration":"2001-01-01T00:00:00Z"}',
        '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s","SessionToken":"t","Expiration":"soon"}',
        '{"Version":1,"AccessKeyId":"A","SecretAccessKey":"s","SessionToken":"t"}',
    ],
)
def test_what_the_local_side_says_is_believed_only_if_it_is_valid_credentials(serve: Serve, lie: str) -> None:
    agent = serve()
    agent.service.forwarded_document = lie
    with pytest.raises(AgentUnavailable, match="no temporary credentials that are valid now"):
        rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None)


@pytest.mark.parametrize("account", [["1"], 5, None, {"x": 1}])
def test_beside_the_credentials_nothing_is_taken_over_that_clients_could_stumble_over(
    serve: Serve, account: object
) -> None:
    agent = serve()
    document = json.loads(TEMPORARY)
    agent.service.forwarded_document = json.dumps({**document, "AccountId": account, "Other": "x"})
    assert json.loads(rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None)) == document
    agent.service.forwarded_document = json.dumps({**document, "AccountId": "111122223333"})
    assert (
        json.loads(rpc_client.get_forwarded_credentials(agent.forward_socket, "prod", None))["AccountId"]
        == "111122223333"
    )


def test_the_local_side_does_not_choose_the_exit_code_of_the_remote_one() -> None:
    line = json.dumps({"ok": False, "error": {"type": "OfALaterVersion", "exit": 77, "what": "x"}}).encode()
    with pytest.raises(KeyturnError) as excinfo:
        temporary_document(line)
    assert excinfo.value.exit_code == 1


def test_nobody_at_the_remote_host_is_asked_whatever_the_local_side_says(serve: Serve) -> None:
    with pytest.raises(NeedsInteraction) as excinfo:
        rpc_client.get_forwarded_credentials(serve().forward_socket, "mfa", None)
    assert type(excinfo.value) is NeedsInteraction


def test_a_stopped_agent_does_not_keep_the_remote_host_for_longer_than_the_local_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = serve()
    monkeypatch.setattr(rpc_client, "HEARTBEAT_SECONDS", 0.2)
    hanging = agent.path.with_name("hanging.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(hanging))
        hanging.chmod(0o600)
        silent.listen(8)
        began = time.monotonic()
        with pytest.raises(AgentUnavailable, match="it no longer answers"):
            rpc_client.get_forwarded_credentials(hanging, "prod", None)
        assert time.monotonic() - began < 10


def test_where_no_more_connections_are_taken_nobody_is_told_that_all_is_locked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_client, "HEARTBEAT_SECONDS", 0.2)
    full = serve().path.with_name("full.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(full))
        full.chmod(0o600)
        silent.listen(0)
        connections = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for connection in connections:
            connection.setblocking(False)
            connection.connect_ex(str(full))
        with pytest.raises(AgentUnresponsive):
            rpc_client.connect(str(full), 5)
        for connection in connections:
            connection.close()


def test_an_environment_is_taken_at_home_and_not_from_another_machine(serve: Serve) -> None:
    agent = serve()
    line = wire.document_request("prod", {"AWS_ENDPOINT_URL": "https://evil.example"})
    assert request(agent.path, line)["ok"]
    assert request(agent.forward_socket, line)["ok"]
    rpc_client.run(agent.path, "refresh", {}, variables={"AWS_REGION": "eu-west-1"})
    assert agent.service.callers == [
        CallerEnvironment({"AWS_ENDPOINT_URL": "https://evil.example"}),
        None,
        CallerEnvironment({"AWS_REGION": "eu-west-1"}),
    ]
