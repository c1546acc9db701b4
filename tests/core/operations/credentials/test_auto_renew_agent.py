"""The agent's own end: on TERM, on HUP, on KILL, and the state that the next keyturn process finds."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.core.agent.starter import wait_for_end
from tests.end_to_end.person import Person


def delivered(person: Person) -> bool:
    return b"[ci-release]" in person.credentials.read_bytes()


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.campaign), signal.SIGHUP])
def test_an_agent_that_is_told_to_go_withdraws_what_it_delivered(
    newcomer: Person, number: signal.Signals
) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("deliver", "ci-release", "--to", "credentials-file")
    assert delivered(newcomer)
    pid = json.loads(newcomer.does("agent", "status", "--json"))["pid"]
    os.kill(pid, number)
    assert wait_for_end(pid)
    assert not delivered(newcomer)
    assert not newcomer.row("ci-release")["problem"]


def test_after_a_kill_the_next_keyturn_withdraws_what_has_ended_and_no_more(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("deliver", "ci-release", "--to", "credentials-file")
    pid = json.loads(newcomer.does("agent", "status", "--json"))["pid"]
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end(pid)
    newcomer.does("list")
    assert delivered(newcomer)
    newcomer.sandbox.move_clock(2 * 3600)
    newcomer.does("list")
    assert not delivered(newcomer)
