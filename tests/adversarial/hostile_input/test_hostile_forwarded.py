"""Requests to endpoints and forwarded sockets, answers from them, and the lines printed for them are not
obeyed, repeated or believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.adversarial.hostile_input import forwarded_texts
from tests.adversarial.hostile_input.corpus import MESSAGES, NAMES, as_argument, spread
from tests.adversarial.hostile_input.test_hostile_answers import adopted_machine
from tests.adversarial.hostile_input.verbs import VerbRunner

Record = Callable[[str, object], None]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[VerbRunner]:
    with adopted_machine(tmp_path / "machine") as (found, _):
        yield found


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_every_text_to_an_endpoint_and_from_one(machine: VerbRunner, record_property: Record) -> None:
    forwarded_texts.requests(machine, MESSAGES)
    forwarded_texts.check_endpoint_texts(machine, MESSAGES)
    forwarded_texts.programs(machine, spread(tuple(as_argument(NAMES)), 200))
    machine.assert_harmless(record_property, len(MESSAGES))


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_every_text_from_a_far_machine_and_from_a_near_one(
    machine: VerbRunner, record_property: Record
) -> None:
    forwarded_texts.check_remote_requests(machine, MESSAGES)
    forwarded_texts.check_local_answers(machine, MESSAGES)
    machine.assert_harmless(record_property, len(MESSAGES))


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_every_text_in_lines_for_ssh(machine: VerbRunner, record_property: Record) -> None:
    forwarded_texts.check_printed_lines(machine, NAMES)
    machine.assert_harmless(record_property, len(NAMES))
