"""AWS clients that sign constantly ask the agent rarely, and many requests leave no residue in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.core.agent.signed_requests import (
    BOTOCORE_REFRESHES_AT,
    MIN_SECONDS_AT_OUTPUT,
    ROLE,
    CountingProfile,
    minutes,
    set_up_role,
    sign_in_many_processes,
    sign_in_one_process,
)
from tests.core.agent.soak import soak
from tests.end_to_end.person import new_person

Record = Callable[[str, object], None]
#: A one-hour session, of which botocore uses three quarters.
REFRESH_INTERVAL_SECONDS = 3600 - BOTOCORE_REFRESHES_AT


# An agent lives for twelve hours, which one run covers completely.
@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingProfile]:
    """A user whose role is requested through a program that counts its runs."""
    with new_person(tmp_path_factory.mktemp("used")) as person:
        set_up_role(person)
        yield CountingProfile(person)


def test_two_hundred_signings_of_one_process_ask_once(profile: CountingProfile) -> None:
    stats = sign_in_one_process(profile, 200, 0)
    assert (stats.signed, stats.runs) == (200, 1)


@pytest.mark.parametrize(("signings", "hours"), [(60, 6), pytest.param(1000, 5, marks=pytest.mark.campaign)])
def test_a_process_that_signs_for_hours_never_holds_what_is_about_to_end(
    profile: CountingProfile, signings: int, hours: int, record_property: Record
) -> None:
    stats = sign_in_one_process(profile, signings, hours)
    assert stats.runs <= 1 + hours * 3600 // REFRESH_INTERVAL_SECONDS * 1.2
    assert min(stats.seconds_at_output) >= MIN_SECONDS_AT_OUTPUT
    assert min(stats.seconds_at_signing) >= BOTOCORE_REFRESHES_AT
    record_property(
        f"agent: {signings} signings in {hours} h, least left of what was handed over",
        minutes(min(stats.seconds_at_output)),
    )
    record_property(
        f"agent: {signings} signings in {hours} h, least left of what signed",
        minutes(min(stats.seconds_at_signing)),
    )


@pytest.mark.campaign
@pytest.mark.parametrize(("commands", "hours"), [(200, 5)])
@pytest.mark.timeout(900)
def test_no_command_of_the_aws_cli_gets_what_is_about_to_end(
    profile: CountingProfile, commands: int, hours: int, record_property: Record
) -> None:
    stats = sign_in_many_processes(profile, commands, hours)
    assert (stats.signed, stats.runs) == (commands, commands)
    assert min(stats.seconds_at_output) >= MIN_SECONDS_AT_OUTPUT
    record_property(
        f"agent: {commands} commands in {hours} h, least left of what was handed over",
        minutes(min(stats.seconds_at_output)),
    )


@pytest.mark.parametrize("requests", [1000, pytest.param(100_000, marks=pytest.mark.campaign)])
@pytest.mark.timeout(1800)
def test_requests_without_a_pause_leave_nothing_behind(
    profile: CountingProfile, requests: int, record_property: Record
) -> None:
    result = soak(profile.person.socket, (ROLE, "ci-deploy"), requests)
    assert result.errors == 0
    assert result.documents == 1
    assert result.growth < 5
    if os.geteuid() == 0:  # only root may count them
        assert result.descriptors == 0
    record_property(f"agent: growth in % in {requests} requests", f"{result.growth:.2f}")
