"""AWS clients that sign constantly ask the agent rarely, and many requests leave no residue in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from keyturn_sandbox import Sandbox
from tests.core.agent.signed_requests import (
    BOTOCORE_ASKS_AT,
    HANDED_AT_LEAST,
    ROLE,
    Counting,
    in_many_processes,
    in_one_process,
    minutes,
    of_role,
)
from tests.core.agent.soak import soak
from tests.end_to_end.person import Person

Record = Callable[[str, object], None]
#: A one-hour session, of which botocore uses three quarters.
ASKED_EVERY_SECONDS = 3600 - BOTOCORE_ASKS_AT


# An agent lives for twelve hours, which one run covers completely.
@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """A user whose role is requested through a program that counts its runs."""
    with Sandbox(tmp_path_factory.mktemp("used")) as sandbox:
        person = Person(sandbox)
        try:
            of_role(person)
            yield Counting(person)
        finally:
            person.leaves()


def test_two_hundred_signings_of_one_process_ask_once(counting: Counting) -> None:
    seen = in_one_process(counting, 200, 0)
    assert (seen.signed, seen.asked) == (200, 1)


@pytest.mark.parametrize(("signings", "hours"), [(60, 6), pytest.param(1000, 5, marks=pytest.mark.campaign)])
def test_a_process_that_signs_for_hours_never_holds_what_is_about_to_end(
    counting: Counting, signings: int, hours: int, record_property: Record
) -> None:
    seen = in_one_process(counting, signings, hours)
    assert seen.asked <= 1 + hours * 3600 // ASKED_EVERY_SECONDS * 1.2
    assert min(seen.handed) >= HANDED_AT_LEAST
    assert min(seen.left) >= BOTOCORE_ASKS_AT
    record_property(
        f"agent: {signings} signings in {hours} h, least left of what was handed over",
        minutes(min(seen.handed)),
    )
    record_property(
        f"agent: {signings} signings in {hours} h, least left of what signed", minutes(min(seen.left))
    )


@pytest.mark.parametrize(("commands", "hours"), [(4, 2), pytest.param(200, 5, marks=pytest.mark.campaign)])
@pytest.mark.timeout(900)
def test_no_command_of_the_aws_cli_gets_what_is_about_to_end(
    counting: Counting, commands: int, hours: int, record_property: Record
) -> None:
    seen = in_many_processes(counting, commands, hours)
    assert (seen.signed, seen.asked) == (commands, commands)
    assert min(seen.handed) >= HANDED_AT_LEAST
    record_property(
        f"agent: {commands} commands in {hours} h, least left of what was handed over",
        minutes(min(seen.handed)),
    )


@pytest.mark.parametrize("requests", [1000, pytest.param(100_000, marks=pytest.mark.campaign)])
@pytest.mark.timeout(1800)
def test_requests_without_a_pause_leave_nothing_behind(
    counting: Counting, requests: int, record_property: Record
) -> None:
    seen = soak(counting.person.socket, (ROLE, "ci-deploy"), requests)
    assert seen.errors == 0
    assert seen.documents == 1
    assert seen.growth < 5
    if os.geteuid() == 0:  # only root may count them
        assert seen.descriptors == 0
    record_property(f"agent: growth in % in {requests} requests", f"{seen.growth:.2f}")
