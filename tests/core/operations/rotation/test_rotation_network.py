"""CreateAccessKey over an unreliable network, with the real client: the new key is kept, or reported, or was
never created."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from keyturn.model.errors import KeyturnError, NotFound
from keyturn.model.profile import Credentials
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn_sandbox.faults import KINDS
from keyturn_sandbox.policy.principals import User
from tests.core.operations.conftest import Bench, bench

__all__ = ["bench"]

NAME = "personal"
Record = Callable[[str, object], None]


def held(bench: Bench) -> set[str]:
    """Return the IDs of all keys whose secret is on disk."""
    return {key["key_id"] for key in bench.service.rotation.status(NAME)["keys"] if key["held"]}


def settled(bench: Bench, user: User) -> list[str]:
    """Continue until the rotation is done; return the keys that had to be deleted by ID."""
    rotating, dropped = bench.service.rotation, []
    for _ in range(12):
        try:
            progress: Progress = rotating.advance(NAME)
        except NotFound:
            break
        if progress.orphans:
            dropped.append(progress.orphans[0])
            rotating.delete_other_key(NAME, progress.orphans[0][-4:])
        elif progress.step is Step.DEACTIVATED:
            rotating.finish(NAME, progress.old_id[-4:])
        elif progress.wait:
            bench.sandbox.move_clock(61)
    assert {key.key_id for key in user.keys} == held(bench)
    assert bench.service.context.key(NAME).access_key_id in held(bench)
    return dropped


def tried(bench: Bench, kind: str) -> str:
    """Run a rotation over a network with this fault at CreateAccessKey; return the outcome of the key."""
    first: Credentials = bench.service.context.key(NAME)
    found = bench.sandbox.state.key(first.access_key_id)
    assert found is not None
    user = found[0]
    bench.sandbox.faults.order("CreateAccessKey", kind)
    try:
        progress = bench.service.rotation.start(NAME)
        told = str(progress.step)
    except KeyturnError as error:
        told = error.line()
        assert "CreateAccessKey" in told or "Rotation of" in told
    finally:
        bench.sandbox.faults.clear()
    assert len(user.keys) <= 2
    made = bench.calls("CreateAccessKey")
    dropped = settled(bench, user)
    assert bench.calls("CreateAccessKey") == made
    return "dropped" if dropped else "kept" if bench.service.context.key(NAME) != first else "none"


@pytest.mark.timeout(240)
def test_a_few_faults_of_the_line(bench: Bench) -> None:
    bench.adopt(NAME)
    assert tried(bench, "answer-lost") == "dropped"
    assert tried(bench, "missing") == "dropped"
    assert tried(bench, "throttle") == "none"
    assert bench.calls("CreateAccessKey") == 3


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_every_fault_of_the_line(bench: Bench, record_property: Record) -> None:
    bench.adopt(NAME)
    began = time.monotonic()
    outcomes = [tried(bench, kind) for kind in KINDS]
    told = ", ".join(f"{outcomes.count(each)} {each}" for each in ("kept", "dropped", "none"))
    record_property("rotation: faults of the line at the making of a key", f"{len(outcomes)}: {told}")
    record_property("rotation: seconds for all of them", round(time.monotonic() - began))
    assert outcomes.count("dropped") > 10
