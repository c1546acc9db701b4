"""CreateAccessKey over an unreliable network, with the real client: the new key is kept, or reported, or was
never created."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from keyturn.model.errors import KeyturnError, NotFound
from keyturn.model.profile import Credentials
from keyturn.operations.rotation.delete_key import Obstacle
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from keyturn_sandbox.faults import KINDS
from keyturn_sandbox.policy.principals import User
from tests.core.operations.conftest import Bench, bench, writer_timing

__all__ = ["bench", "writer_timing"]

NAME = "personal"
Record = Callable[[str, object], None]


def keys_on_disk(bench: Bench) -> set[str]:
    """Return the IDs of all keys whose secret is on disk."""
    return {key["key_id"] for key in bench.service.rotation.status(NAME)["keys"] if key["held"]}


def finish(bench: Bench, user: User) -> list[str]:
    """Continue until the rotation is done; return the keys that had to be deleted by ID."""
    rotation, dropped = bench.service.rotation, []
    for _ in range(12):
        try:
            progress: Progress = rotation.advance(NAME)
        except NotFound:
            break
        if progress.orphans:
            dropped.append(progress.orphans[0])
            rotation.delete_other_key(NAME, progress.orphans[0][-4:])
        elif progress.step is Step.DEACTIVATED:
            rotation.finish(NAME, progress.old_id[-4:], force=tuple(Obstacle))
        elif progress.wait:
            bench.sandbox.move_clock(61)
    assert {key.key_id for key in user.keys} == keys_on_disk(bench)
    assert bench.service.context.key(NAME).access_key_id in keys_on_disk(bench)
    return dropped


def try_rotation(bench: Bench, kind: str) -> str:
    """Run a rotation over a network with this fault at CreateAccessKey; return the outcome of the key."""
    first: Credentials = bench.service.context.key(NAME)
    found = bench.sandbox.state.key(first.access_key_id)
    assert found is not None
    user = found[0]
    bench.sandbox.faults.order("CreateAccessKey", kind)
    try:
        progress = bench.service.rotation.start(NAME)
        text = str(progress.step)
    except KeyturnError as error:
        text = error.line()
        assert "CreateAccessKey" in text or "Rotation of" in text
    finally:
        bench.sandbox.faults.clear()
    assert len(user.keys) <= 2
    created = bench.calls("CreateAccessKey")
    dropped = finish(bench, user)
    assert bench.calls("CreateAccessKey") == created
    return "dropped" if dropped else "kept" if bench.service.context.key(NAME) != first else "none"


@pytest.mark.timeout(240)
def test_a_few_faults_of_the_line(bench: Bench) -> None:
    bench.adopt(NAME)
    assert try_rotation(bench, "answer-lost") == "dropped"
    assert try_rotation(bench, "missing") == "dropped"
    assert try_rotation(bench, "throttle") == "none"
    assert bench.calls("CreateAccessKey") == 3


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_every_fault_of_the_line(bench: Bench, record_property: Record) -> None:
    bench.adopt(NAME)
    began = time.monotonic()
    outcomes = [try_rotation(bench, kind) for kind in KINDS]
    text = ", ".join(f"{outcomes.count(each)} {each}" for each in ("kept", "dropped", "none"))
    record_property("rotation: faults of the line at the making of a key", f"{len(outcomes)}: {text}")
    record_property("rotation: seconds for all of them", round(time.monotonic() - began))
    assert outcomes.count("dropped") > 10
