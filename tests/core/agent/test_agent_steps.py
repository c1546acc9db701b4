"""Steps of a long operation on the wire: what the client sees, and how it stops one."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from keyturn.agent import protocol, rpc_client, wire
from keyturn.agent.protocol import parse_answer, parse_step, request_line, step_line
from keyturn.agent.server import Limits
from keyturn.model.errors import AgentUnavailable
from keyturn.model.steps import Step, Steps
from tests.core.agent.conftest import Serve

EVERY_STEP = Limits(step_pause=0)
NUMBERS = [str(number) for number in range(100)]


def test_the_steps_come_before_the_answer(serve: Serve) -> None:
    agent = serve(EVERY_STEP)
    agent.service.gate.set()
    seen: list[Step] = []
    assert rpc_client.run(agent.path, "count", {}, steps=Steps(seen.append)) == NUMBERS
    assert seen == [*(Step("counting", at, 100, str(at)) for at in range(100)), Step("counting", 100, 100)]


def test_few_lines_are_sent_for_many_steps(serve: Serve) -> None:
    agent = serve(Limits(step_pause=60))
    agent.service.gate.set()
    seen: list[Step] = []
    rpc_client.run(agent.path, "count", {}, steps=Steps(seen.append))
    assert seen == [Step("counting", 0, 100, "0"), Step("counting", 100, 100)]


def test_a_client_that_stops_it_gets_what_was_done(serve: Serve) -> None:
    agent = serve(EVERY_STEP)
    seen: list[Step] = []
    done = rpc_client.run(agent.path, "count", {}, steps=Steps(seen.append, lambda: len(seen) > 5))
    assert 5 <= len(done) < 90
    assert done == NUMBERS[: len(done)]


def test_an_operation_whose_client_is_gone_stops(serve: Serve) -> None:
    agent = serve(EVERY_STEP)
    client = rpc_client.connect(str(agent.path), 5)
    client.sendall(request_line("run", act="count", args={}, steps=True))
    assert client.recv(1)
    client.close()
    deadline = time.monotonic() + 1.5  # all hundred steps take two seconds
    while agent.server._operations and time.monotonic() < deadline:
        time.sleep(0.01)
    assert agent.server._operations == 0


def test_a_client_that_reads_nothing_delays_nothing_and_finds_the_answer(serve: Serve) -> None:
    agent = serve(EVERY_STEP)
    agent.service.gate.set()
    client = rpc_client.connect(str(agent.path), 10)
    client.sendall(request_line("run", act="count", args={"to": 5000}, steps=True))
    deadline = time.monotonic() + EVERY_STEP.request_seconds
    while agent.server._generation == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    received = bytearray()
    while chunk := client.recv(65536):
        received += chunk
    client.close()
    *steps, answer, rest = bytes(received).split(b"\n")
    assert rest == b""
    assert steps[0] == step_line(Step("counting", 0, 5000, "0")).rstrip()
    assert all(parse_step(line) is not None for line in steps)
    assert 10 < len(steps) < 1000
    assert len(parse_answer(answer)) == 5000


def test_without_the_wish_there_are_no_steps_and_no_stop(serve: Serve) -> None:
    agent = serve(EVERY_STEP)
    agent.service.gate.set()
    client = rpc_client.connect(str(agent.path), 5)
    client.sendall(request_line("run", act="count", args={}))
    client.shutdown(socket.SHUT_WR)
    assert parse_answer(rpc_client.read_line(client, time.monotonic() + 10)) == NUMBERS
    client.close()


def test_each_step_gives_the_agent_its_time_again(serve: Serve) -> None:
    agent = serve(EVERY_STEP)
    assert rpc_client.run(agent.path, "count", {}, timeout=0.5, steps=Steps()) == NUMBERS


def test_an_agent_that_is_silent_for_too_long_is_given_up(serve: Serve) -> None:
    agent = serve(EVERY_STEP)
    with pytest.raises(AgentUnavailable, match=r"no answer within 0\.3 s"):
        rpc_client.run(agent.path, "wait", {}, timeout=0.3, steps=Steps())


def test_a_step_is_one_line_that_begins_as_no_answer_does() -> None:
    step = Step("adopting", 1, 2, 'a"\n\u2028b')
    line = step_line(step)
    assert line.startswith(wire.STEP_START)
    assert line.count(b"\n") == 1
    assert parse_step(line) == step


@pytest.mark.parametrize(
    "line", [b"{}", b"[1]", b"x", b'{"step":1}', b'{"step":{}}', b'{"step":{"done":"x"}}']
)
def test_a_step_of_another_form_is_passed_over(line: bytes) -> None:
    assert parse_step(line) is None


def test_a_request_for_steps_is_one_of_run_alone() -> None:
    line: Callable[..., bytes] = protocol.request_line
    assert protocol.parse_request(line("run", act="a", args={}, steps=True)).has_steps
    assert not protocol.parse_request(line("run", act="a", args={}, steps=1)).has_steps
    assert not protocol.parse_request(line("run", act="a", args={})).has_steps
