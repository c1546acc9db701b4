"""A rotation from start to end, against the sandbox."""

from __future__ import annotations

from keyturn.operations.rotation.record import Step
from tests.core.operations.conftest import Bench, bench, writer_timing

__all__ = ["bench", "writer_timing"]


def _run_rotation(bench: Bench, name: str) -> list[Step]:
    rotation = bench.service.rotation
    return [
        each.step
        for each in rotation.run_to_end(rotation.start(name), lambda: rotation.advance(name), lambda _: None)
    ]


def test_a_rotation_goes_through_all_its_steps(bench: Bench) -> None:
    bench.adopt("personal")
    old = bench.service.context.key("personal")
    steps = _run_rotation(bench, "personal")
    assert steps == [Step.CREATED, Step.VERIFIED, Step.STORED, Step.DELIVERED, Step.DEACTIVATED]
    new = bench.service.context.key("personal")
    assert new.access_key_id != old.access_key_id
    status = bench.service.rotation.status("personal")
    assert {key["key_id"]: key["status"] for key in status["keys"]} == {
        old.access_key_id: "Inactive",
        new.access_key_id: "Active",
    }
    bench.service.refresh("personal")
    bench.sandbox.move_clock(25 * 3600)
    done = bench.service.rotation.finish("personal", old.access_key_id[-4:])
    assert done.step is Step.DONE
    assert [key["key_id"] for key in bench.service.rotation.status("personal")["keys"]] == [new.access_key_id]


def test_a_key_that_was_rotated_is_given_back_with_its_journal_emptied(bench: Bench) -> None:
    bench.adopt("personal")
    _run_rotation(bench, "personal")
    bench.sandbox.move_clock(25 * 3600)
    old = bench.service.rotation.status("personal")["rotation"]["old_id"]
    bench.service.rotation.finish("personal", old[-4:])
    new = bench.service.context.key("personal").access_key_id
    bench.release("personal")
    assert new in bench.credentials.read_text()
    assert not list((bench.service.context.vault.folder / "rotation").glob("*.age"))
