"""The agent is killed at any moment: the next one opens the same vault, and no ended session is returned or
left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from keyturn.agent import launcher, rpc_client, shutdown
from keyturn.model.errors import AgentUnavailable, KeyturnError
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.storage.paths import paths_for
from tests.core.agent.signed_requests import MIN_SECONDS_AT_OUTPUT, ROLE, set_up_role
from tests.core.agent.starter import wait_for_end
from tests.end_to_end.person import PASSPHRASE, Person, new_person

Record = Callable[[str, object], None]
_OVER_AN_HOUR = 3700


class KillRun:
    """A user whose agent is killed repeatedly."""

    def __init__(self, person: Person) -> None:
        self.person = person
        set_up_role(person)
        output = person.does("vault", "recovery-key", "--yes", fds={"--passphrase-fd": PASSPHRASE})
        self.recovery_key = Secret(output.strip())
        self.kills = 0
        self.outcomes: dict[str, int] = {}

    def start(self) -> None:
        launcher.start_agent(
            paths_for(self.person.environ), self.person.environ, recovery_key=self.recovery_key
        )

    def pid(self) -> int:
        return int(rpc_client.call(self.person.socket, {"op": "status"})["pid"])

    def kill_during(self, pid: int, after: float, operation: Callable[[], object]) -> None:
        """Kill `pid` some seconds after the start of `operation`, which may return or raise a typed
        error."""

        def kill() -> None:
            time.sleep(after)  # the moment is the subject of the test, not a wait
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            operation()
            outcome = "answered"
        except KeyturnError as error:
            outcome = type(error).__name__
        thread.join()
        assert wait_for_end(pid)
        self.kills += 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    # -- operations under way at the kill

    def kill_during_requests(self, moment: float) -> None:
        def ask() -> None:
            while True:
                rpc_client.document(self.person.socket, ROLE)

        self.kill_during(self.pid(), 0.05 * moment, ask)

    def kill_during_renewal(self, moment: float) -> None:
        self.person.sandbox.move_clock(45 * 60)
        self.kill_during(self.pid(), 0.8 * moment, lambda: rpc_client.document(self.person.socket, ROLE))

    def kill_during_delivery(self, moment: float) -> None:
        args = {"name": ROLE, "to": "credentials-file", "as": None}
        self.kill_during(
            self.pid(), 0.8 * moment, lambda: rpc_client.run(self.person.socket, "deliver", args)
        )

    def kill_during_shutdown(self, moment: float) -> None:
        pid = self.pid()
        rpc_client.run(self.person.socket, "deliver", {"name": ROLE, "to": "credentials-file", "as": None})
        self.kill_during(pid, 0.3 * moment, lambda: os.kill(pid, signal.SIGTERM))

    def kill_during_start(self, moment: float) -> None:
        shutdown.lock(self.person.socket)
        began = threading.Thread(target=self._kill_next_agent, args=(0.5 * moment,))
        began.start()
        with contextlib.suppress(KeyturnError):
            self.start()
        began.join()

    def _kill_next_agent(self, after: float) -> None:
        end = time.monotonic() + 10
        while not (found := self._agents()) and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(after)  # the moment is the subject of the test
        for pid in self._agents() or found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kills += bool(found)

    def _agents(self) -> list[int]:
        """Return the processes of this user's agent, identified by their arguments and environment."""
        mark = f"KEYTURN_SANDBOX={self.person.sandbox.folder}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if (
                    entry.name.isdigit()
                    and b"keyturn.agent" in (entry / "cmdline").read_bytes()
                    and mark in (entry / "environ").read_bytes().split(b"\0")
                ):
                    found.append(int(entry.name))
        return found

    # -- invariants after the kill

    def check(self) -> None:
        with pytest.raises(AgentUnavailable):
            rpc_client.document(self.person.socket, ROLE)
        self.start_other_process()
        self.start()
        document = json.loads(rpc_client.document(self.person.socket, ROLE))
        left = datetime.fromisoformat(document["Expiration"]) - self.person.sandbox.now()
        assert left.total_seconds() >= MIN_SECONDS_AT_OUTPUT
        self.person.sandbox.move_clock(_OVER_AN_HOUR)
        # Before the agent's periodic task runs, and as if it could not run.
        os.kill(pid := self.pid(), signal.SIGKILL)
        assert wait_for_end(pid)
        self.start_other_process()
        self.start()

    def start_other_process(self) -> None:
        """Start another keyturn process without a vault; assert that no ended session is left in the file
        afterwards."""
        service = CredentialService.from_environ(self.person.environ, use_agent=False)
        service.withdraw_expired()
        text = self.person.credentials.read_text()
        section = re.search(rf"^\[{ROLE}\]\n((?:(?!\[).*\n?)*)", text, re.MULTILINE)
        if section is not None and "aws_session_token" in section[1]:
            ends = re.search(r"^aws_expiration *= *(\S+)", section[1], re.MULTILINE)
            assert ends is not None, section[1].splitlines()[0]
            assert datetime.fromisoformat(ends[1]) > self.person.sandbox.now() - timedelta(seconds=1)


MOMENTS = (
    "kill_during_requests",
    "kill_during_renewal",
    "kill_during_delivery",
    "kill_during_shutdown",
    "kill_during_start",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KillRun]:
    with new_person(tmp_path_factory.mktemp("killed")) as person:
        yield KillRun(person)


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("way", MOMENTS)
@pytest.mark.timeout(600)
def test_a_killed_agent_loses_nothing_and_leaves_nothing_that_has_ended(
    run: KillRun, way: str, rounds: int, record_property: Record
) -> None:
    if way == "kill_during_start" and os.geteuid() != 0:
        pytest.skip("an agent that starts is closed to others, and to its own user")
    random_ = random.Random(f"{way} {rounds}")  # noqa: S311 - the same moments each time
    run.outcomes.clear()
    before = run.kills
    for _ in range(rounds):
        getattr(run, way)(random_.random())
        run.check()
    assert run.kills - before == rounds
    record_property(
        f"agent: killed {way.replace('_', ' ')}, and what its caller got",
        f"{run.kills - before} times, {run.outcomes}",
    )
