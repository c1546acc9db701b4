"""A service that obeys the agent's contract, and an agent around it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyturn.agent import shutdown
from keyturn.agent.listener import acquire, place_of, prepare
from keyturn.agent.server import AgentServer, Limits
from keyturn.model.errors import NeedsMfa, NotFound
from keyturn.model.steps import UNWATCHED, Steps
from keyturn.system.caller_environment import CallerEnvironment
from tests.core.agent.starter import Starter
from tests.support.needs import skip_or_fail

TEMPORARY = json.dumps(
    {"Version": 1, "AccessKeyId": "ASIAX", "SecretAccessKey": "s", "SessionToken": "t",
    "Expiration": "2099-01-01T00:00:00Z"}
)  # fmt: skip
DOCUMENT = json.dumps({"Version": 1, "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "cañary/+="})


@dataclass
class FakeService:
    """Service with the profile `prod` and operations that do as their names say."""

    documents: dict[str, str] = field(default_factory=lambda: {"prod": DOCUMENT})
    results: dict[str, object] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    calls: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    callers: list[CallerEnvironment | None] = field(default_factory=list)
    """The environment that came with each request."""
    gate: threading.Event = field(default_factory=threading.Event)
    blocked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    withdrawals: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    renew_gate: threading.Event | None = None
    """Renewals wait for this event, as they would for an AWS that does not answer."""
    forwarded_document: str = TEMPORARY
    forward_gate: threading.Event | None = None
    """Forwarded requests wait for this event."""
    renewals: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def wait_until_secrets_saved(self) -> None:
        """Return at once: nothing is unsaved."""

    def withdraw_delivered(self) -> object:
        return ()

    def renew_due(self, may_go_on: object) -> object:  # noqa: ARG002  # a part of the port
        self.renewals.release()
        if self.renew_gate is not None:
            self.renew_gate.wait(30)
        return ()

    def get_forwarded_credentials(self, name: str, least_seconds: int | None) -> str:
        self.calls.append(("forwarded", {"name": name, "least": least_seconds}))
        if self.forward_gate is not None:
            self.blocked.release()
            self.forward_gate.wait(30)
        self.credential_process(name, None)
        return self.forwarded_document

    def withdraw_expired(self) -> object:
        self.withdrawals.release()
        if "withdraw" in self.errors:
            raise self.errors["withdraw"]
        return ()

    def run_operation(
        self, op: str, args: Mapping[str, object], caller: CallerEnvironment | None, steps: Steps = UNWATCHED
    ) -> object:
        self.calls.append((op, args))
        self.callers.append(caller)
        if op == "wait":
            self.blocked.release()
            self.gate.wait(30)
        if op == "count":
            to = args.get("to", 100)
            assert isinstance(to, int)
            return list(self._count(steps, to))
        if op in self.errors:
            raise self.errors[op]
        return self.results.get(op, {"did": op})

    def _count(self, steps: Steps, to: int) -> Iterator[str]:
        """Yield the numbers below `to`, a step each, until it is stopped."""
        for name in steps.each("counting", [str(number) for number in range(to)]):
            self.gate.wait(0.02)
            yield name

    def credential_process(self, name: str, caller: CallerEnvironment | None) -> str:
        self.callers.append(caller)
        if name == "mfa":
            raise NeedsMfa("prod", "it wants a code", "Run keyturn refresh.", profile="mfa", serial="arn:x")
        if name not in self.documents:
            raise NotFound(f"Profile not found: {name}")
        return self.documents[name]


@dataclass
class Agent:
    """An agent that serves in a thread."""

    path: Path
    service: FakeService
    server: AgentServer
    thread: threading.Thread
    errors: list[BaseException]
    time: list[datetime]
    """One element: the time that the agent's clock shows."""
    boot: list[float]
    """One element: the seconds since the system's start."""

    def move_clock(self, by: timedelta) -> None:
        self.time[0] += by

    def pass_time(self, by: timedelta) -> None:
        """Let both clocks go on."""
        self.boot[0] += by.total_seconds()
        self.move_clock(by)

    @property
    def forward_socket(self) -> Path:
        """The socket for forwarding."""
        return self.path.with_name("forward.sock")

    def has_ended(self) -> bool:
        self.thread.join(10)
        return not self.thread.is_alive()


Serve = Callable[..., Agent]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a private folder with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="kt-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    """Start an agent; keyword arguments are the limits that differ from the defaults."""
    started: list[Agent] = []

    def start(limits: Limits | None = None, renewing: threading.Event | None = None) -> Agent:
        path = folder / "run" / "agent.sock"
        listener = acquire(path, lambda _path: False, 1)
        assert listener is not None
        service = FakeService(renew_gate=renewing)
        reported: list[BaseException] = []
        time = [datetime(2026, 11, 23, 12, tzinfo=UTC)]
        boot = [4711.5]
        forward_path = path.with_name("forward.sock")
        forward = prepare(forward_path, os.dup(listener.lock), place_of(forward_path))
        assert listener.publish()
        assert forward.publish()
        server = AgentServer(
            service,
            listener,
            forward=forward,
            clock=lambda: time[0],
            boot_seconds=lambda: boot[0],
            limits=limits,
            report=reported.append,
        )
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        agent = Agent(path, service, server, thread, reported, time, boot)
        started.append(agent)
        return agent

    yield start
    for agent in started:
        agent.service.gate.set()
        agent.server.stop()
        assert agent.has_ended()
        agent.server.close()


Miss = Callable[[str], None]


@pytest.fixture
def miss() -> Miss:
    """Return a function that skips the test for a missing program; it fails if `KEYTURN_REQUIRE_ALL` is 1."""
    return skip_or_fail


@pytest.fixture
def starter(folder: Path) -> Iterator[Starter]:
    one = Starter(folder)
    yield one
    shutdown.lock(one.socket)
