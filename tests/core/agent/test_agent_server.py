"""The agent's replies, the clients that it refuses, the limits for a client, and its end."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keyturn import __version__
from keyturn.agent import protocol, rpc_client, wire
from keyturn.agent.build import build
from keyturn.agent.server import Limits
from keyturn.model.errors import AgentUnavailable, KeyturnError, NeedsMfa, NotFound, UsageError
from keyturn.model.secret import Secret
from keyturn.model.text import iso

if TYPE_CHECKING:
    from tests.core.agent.conftest import Agent, Serve


def connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(10)
    sock.connect(str(path))
    return sock


def is_dropped(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def request_in_thread(agent: Agent, operation: str) -> tuple[threading.Thread, list[object]]:
    """Request an operation that blocks, and return after the service has started it."""
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(rpc_client.run(agent.path, operation, {}, 30))
        except KeyturnError as error:
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert agent.service.blocked.acquire(timeout=10)
    return thread, answers


def test_status_tells_who_it_is_and_since_when(serve: Serve) -> None:
    agent = serve()
    assert rpc_client.call(agent.path, {"op": "status"}) == {
        "pid": os.getpid(),
        "version": __version__,
        "build": build(),
        "open_since": "2026-11-23T12:00:00Z",
        "open_until": "2026-11-24T00:00:00Z",
        "generation": 0,
        "paused": False,
        "wait_seconds": 0,
    }


def test_the_document_arrives_byte_for_byte(serve: Serve) -> None:
    agent = serve()
    assert rpc_client.document(agent.path, "prod") == agent.service.documents["prod"]


def test_an_operation_reaches_the_service_and_moves_the_generation(serve: Serve) -> None:
    agent = serve()
    assert rpc_client.run(agent.path, "refresh", {"name": "prod"}) == {"did": "refresh"}
    assert agent.service.calls == [("refresh", {"name": "prod"})]
    assert rpc_client.call(agent.path, {"op": "status"})["generation"] == 1


def test_an_error_of_the_service_arrives_as_what_it_is(serve: Serve) -> None:
    agent = serve()
    with pytest.raises(NeedsMfa) as excinfo:
        rpc_client.document(agent.path, "mfa")
    assert (excinfo.value.profile, excinfo.value.serial, excinfo.value.exit_code) == ("mfa", "arn:x", 4)
    with pytest.raises(NotFound):
        rpc_client.document(agent.path, "nobody")


@pytest.mark.parametrize("result", [Secret("canary"), {"a": "AGE-SECRET-KEY-1CANARY"}, object(), {1, 2}])
def test_what_must_not_go_over_the_socket_is_an_error_without_its_value(serve: Serve, result: object) -> None:
    agent = serve()
    agent.service.results["leak"] = result
    with pytest.raises(KeyturnError) as excinfo:
        rpc_client.run(agent.path, "leak", {})
    assert "canary" not in excinfo.value.line().lower()
    assert len(agent.errors) == 1


def test_an_error_that_nobody_foresaw_is_reported_and_its_message_is_not_shown(serve: Serve) -> None:
    agent = serve()
    agent.service.errors["burst"] = RuntimeError("canary")
    with pytest.raises(KeyturnError) as excinfo:
        rpc_client.run(agent.path, "burst", {})
    assert "canary" not in excinfo.value.line()
    assert [type(error) for error in agent.errors] == [RuntimeError]
    assert rpc_client.is_answering(agent.path)


def test_a_broken_document_is_an_error(serve: Serve) -> None:
    agent = serve()
    agent.service.documents["torn"] = '{"Version": 1,\n'
    with pytest.raises(KeyturnError):
        rpc_client.document(agent.path, "torn")


def test_a_request_that_is_none_is_answered_as_usage(serve: Serve) -> None:
    agent = serve()
    with pytest.raises(UsageError):
        rpc_client.call(agent.path, {"op": "format-the-disk"})


def test_garbage_costs_only_its_own_connection(serve: Serve) -> None:
    agent = serve()
    noise = random.Random(4)  # noqa: S311 - noise, the same at each run
    for _ in range(100):
        with connected(agent.path) as sock:
            try:
                sock.sendall(noise.randbytes(noise.randrange(1, 20_000)))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
            except OSError:
                continue
    assert rpc_client.document(agent.path, "prod")
    assert agent.errors == []


def test_a_request_without_an_end_is_cut_at_the_limit(serve: Serve) -> None:
    agent = serve(Limits(request_seconds=60))
    with connected(agent.path) as sock:
        answer = b""
        try:
            sock.sendall(b"x" * (wire.REQUEST_LIMIT + 1))
            answer = sock.recv(4096)
        except OSError:
            pass
        assert not answer or json.loads(answer)["error"]["type"] == "UsageError"
        assert is_dropped(sock) or answer
    assert rpc_client.is_answering(agent.path)


def test_unfinished_requests_together_hold_no_more_than_the_limit(serve: Serve) -> None:
    agent = serve(Limits(unread=300_000, request_seconds=60))
    with ExitStack() as stack:
        greedy = [stack.enter_context(connected(agent.path)) for _ in range(4)]
        for sock in greedy:
            try:
                sock.sendall(b"x" * 100_000)
            except OSError:
                continue
        assert rpc_client.is_answering(agent.path)
        total = sum(len(caller.received) for caller in list(agent.server._callers.values()))
        assert total <= 300_000


def test_half_open_connections_never_shut_out_a_good_client(serve: Serve) -> None:
    agent = serve(Limits(connections=8, request_seconds=60))
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(agent.path)) for _ in range(50)]
        assert rpc_client.document(agent.path, "prod")
        assert is_dropped(silent[0])


def test_a_client_that_is_too_slow_is_dropped(serve: Serve) -> None:
    agent = serve(Limits(request_seconds=0.05, tick=0.01))
    with connected(agent.path) as sock:
        sock.sendall(b'{"v":1,')
        assert is_dropped(sock)


def test_a_client_that_takes_no_answer_holds_nobody_up(serve: Serve) -> None:
    agent = serve(Limits(operations=1, request_seconds=0.05, tick=0.01))
    agent.service.results["much"] = "x" * (4 << 20)
    with connected(agent.path) as sock:
        sock.sendall(b'{"v":1,"op":"run","act":"much","args":{}}\n')
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                assert rpc_client.document(agent.path, "prod")
                break
            except AgentUnavailable:
                continue
        else:
            pytest.fail("the slow reader kept its thread")


def test_beyond_the_bound_a_client_is_told_to_do_without(serve: Serve) -> None:
    agent = serve(Limits(operations=1))
    thread, answers = request_in_thread(agent, "wait")
    with pytest.raises(AgentUnavailable):
        rpc_client.document(agent.path, "prod")
    assert rpc_client.is_answering(agent.path)
    agent.service.gate.set()
    thread.join()
    assert answers == [{"did": "wait"}]


def test_fifty_clients_at_once_are_all_served(serve: Serve) -> None:
    agent = serve()
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(rpc_client.document(agent.path, "prod")))
        for _ in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [agent.service.documents["prod"]] * 50


def test_it_serves_until_twelve_hours_have_passed_on_the_wall_clock(serve: Serve) -> None:
    agent = serve(Limits(tick=0.01))
    agent.move_clock(timedelta(hours=12, seconds=-1))
    assert rpc_client.is_answering(agent.path)
    agent.move_clock(timedelta(seconds=1))
    assert agent.has_ended()
    with pytest.raises(AgentUnavailable):
        rpc_client.document(agent.path, "prod")


@pytest.mark.parametrize("moved", [timedelta(days=-1), timedelta(seconds=-2), timedelta(0)])
def test_a_wall_clock_that_was_set_back_does_not_prolong_its_twelve_hours(
    serve: Serve, moved: timedelta
) -> None:
    agent = serve(Limits(tick=0.01))
    agent.pass_time(timedelta(hours=1))
    agent.move_clock(moved)
    status = rpc_client.call(agent.path, {"op": "status"})
    assert status["open_until"] == iso(agent.time[0] + timedelta(hours=11))
    agent.pass_time(timedelta(hours=11, seconds=-1))
    assert rpc_client.is_answering(agent.path)
    agent.pass_time(timedelta(seconds=1))
    assert agent.has_ended()


def test_time_that_the_wall_clock_does_not_show_counts(serve: Serve) -> None:
    agent = serve(Limits(tick=0.01))
    agent.boot[0] += timedelta(hours=12).total_seconds()
    assert agent.has_ended()


def test_clocks_that_tick_a_little_apart_do_not_move_its_end(serve: Serve) -> None:
    agent = serve()
    agent.pass_time(timedelta(hours=3))
    agent.boot[0] += 0.4
    assert rpc_client.call(agent.path, {"op": "status"})["open_until"] == "2026-11-24T00:00:00Z"


def test_a_request_that_comes_after_its_time_gets_nothing_even_if_it_was_connected_before(
    serve: Serve,
) -> None:
    agent = serve(Limits(tick=3600))
    with connected(agent.path) as sock:
        assert rpc_client.is_answering(agent.path)
        agent.move_clock(timedelta(hours=12))
        sock.sendall(wire.document_request("prod"))
        try:
            answer = sock.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert wire.document_in(answer) is None
    assert agent.has_ended()


def test_lock_ends_it_and_removes_the_socket(serve: Serve) -> None:
    agent = serve()
    with connected(agent.path) as sock:
        sock.sendall(b'{"v":1,"op":"lock"}\n')
        assert json.loads(sock.recv(4096)) == {"ok": True, "result": {"pid": os.getpid()}}
        assert not agent.path.exists()
        assert agent.has_ended()


def test_whoever_locks_stays_connected_until_all_is_over(serve: Serve) -> None:
    agent = serve()
    with connected(agent.path) as sock:
        sock.sendall(b'{"v":1,"op":"lock"}\n')
        assert sock.recv(4096).endswith(b"}\n")
        assert agent.has_ended()
        sock.settimeout(0)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        agent.server.close()
        sock.settimeout(10)
        assert is_dropped(sock)


def test_an_operation_under_way_at_lock_ends_in_order(serve: Serve) -> None:
    agent = serve(Limits(shutdown_seconds=30))
    thread, answers = request_in_thread(agent, "wait")
    with connected(agent.path) as sock:
        sock.sendall(b'{"v":1,"op":"lock"}\n')
        assert sock.recv(4096)
        agent.service.gate.set()
        assert agent.has_ended()
    thread.join()
    assert answers == [{"did": "wait"}]


def test_an_operation_that_does_not_end_does_not_keep_it_from_ending(serve: Serve) -> None:
    agent = serve(Limits(shutdown_seconds=0.05))
    thread, _ = request_in_thread(agent, "wait")
    agent.server.stop()
    assert agent.has_ended()
    agent.service.gate.set()
    thread.join()


def test_an_agent_that_nobody_can_reach_any_more_ends(serve: Serve) -> None:
    agent = serve(Limits(tick=0.01))
    agent.path.unlink()
    assert agent.has_ended()


def test_an_agent_out_of_reach_leaves_the_socket_of_its_successor_alone(serve: Serve) -> None:
    agent = serve(Limits(tick=0.01))
    agent.path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(agent.path))
        assert agent.has_ended()
        assert agent.path.is_socket()


def test_deliveries_that_have_ended_are_looked_for_again_and_again_whatever_goes_wrong(serve: Serve) -> None:
    agent = serve(limits=Limits(tick=0.01, periodic=0.01))
    agent.service.errors["withdraw"] = RuntimeError("no")
    for _ in range(3):
        assert agent.service.withdrawals.acquire(timeout=10)
    assert rpc_client.is_answering(agent.path)
    assert agent.errors


def test_paused_it_renews_nothing_until_it_is_resumed_and_goes_on_withdrawing(serve: Serve) -> None:
    agent = serve(limits=Limits(tick=0.01, periodic=0.02))
    assert rpc_client.find_agent(agent.path) == protocol.Agent(os.getpid(), paused=False, build=build())
    assert agent.service.renewals.acquire(timeout=10)
    rpc_client.call(agent.path, {"op": "pause"})
    assert rpc_client.find_agent(agent.path) == protocol.Agent(os.getpid(), paused=True, build=build())
    for counted in (agent.service.withdrawals, agent.service.renewals):
        while counted.acquire(blocking=False):
            pass
    for _ in range(5):
        assert agent.service.withdrawals.acquire(timeout=10)
    rounds = 0
    while agent.service.renewals.acquire(blocking=False):
        rounds += 1
    assert rounds <= 1, "a round that had begun may end"
    rpc_client.call(agent.path, {"op": "resume"})
    for _ in range(3):
        assert agent.service.renewals.acquire(timeout=10)


def test_what_has_ended_is_withdrawn_while_renewals_hang(serve: Serve) -> None:
    hanging = threading.Event()
    agent = serve(limits=Limits(tick=0.01, periodic=0.02), renewing=hanging)
    assert agent.service.renewals.acquire(timeout=10)
    while agent.service.withdrawals.acquire(blocking=False):
        pass
    for _ in range(5):
        assert agent.service.withdrawals.acquire(timeout=10)
    assert not agent.service.renewals.acquire(blocking=False), "one at a time"
    hanging.set()
    assert agent.service.renewals.acquire(timeout=10)
