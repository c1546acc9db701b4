"""The rotate verb's messages and exit status."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from keyturn.cli import rotate as verb
from keyturn.cli.prompts import VaultUnlocker
from keyturn.cli.rotate import _RotateCommand
from keyturn.model.errors import AgentUnavailable, KeyturnError
from keyturn.operations.rotation.progress import Progress
from keyturn.operations.rotation.record import Step
from tests.core.operations.rotation.direct_iam import Fault
from tests.core.operations.rotation.rotation_home import PROFILE, Home
from tests.core.operations.rotation.rotation_states import fault_at, run_until


def rotate(home: Home) -> _RotateCommand:
    """Run the verb for one profile, with all questions answered."""

    def run_with_code(operation: Any, code: str | None) -> Any:
        return operation(code)

    opening = SimpleNamespace(service=home.service, run_with_code=run_with_code)
    return _RotateCommand(cast("VaultUnlocker", opening), PROFILE, None, json_=False, yes=True)


@pytest.fixture(autouse=True)
def no_waits(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make waits take no time."""
    through = type(home.service.rotation).run_to_end
    monkeypatch.setattr(
        type(home.service.rotation),
        "run_to_end",
        lambda self, first, step, _sleep=None: through(self, first, step, home.time.sleep),
    )


def test_a_rotation_that_made_no_key_fails(home: Home) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", Fault.UNSENT)
    with pytest.raises(KeyturnError, match="AWS created no new key") as error:
        rotate(home).rotate()
    assert error.value.exit_code == 1
    assert "in use, as before" in error.value.hint


def test_the_way_back_tells_of_the_old_key(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    old = run_until(home, Step.DEACTIVATED).old_id
    rotate(home).undo()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"verified AKIA…{old[-4:]}: AWS accepts the old key, and the vault uses it again",
        f"undone AKIA…{old[-4:]}: the old key is the only one again",
        f"AKIA…{old[-4:]} is in use, as before",
    ]


def test_what_was_just_seen_is_said_whatever_the_step(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.on_write = lambda place: "refuse" if place == "journal" and has_new_key() else ""

    def has_new_key() -> bool:
        return home.line.calls[-1][0] == "CreateAccessKey"

    with home.run_service():
        rotate(home).rotate()
    assert "which a restart empties: fix the disk first" in capsys.readouterr().err


def test_an_agent_that_ends_amid_a_rotation_leaves_a_line_that_says_how_to_go_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_name: str, _code: str | None) -> Progress:
        raise AgentUnavailable("the agent", "it ended", "Run: keyturn vault unlock")

    monkeypatch.setattr(home.service.rotation, "advance", gone)
    with pytest.raises(AgentUnavailable) as error:
        rotate(home).rotate()
    assert error.value.hint.endswith(f"then run: keyturn rotate {PROFILE} --resume")


def test_a_key_that_was_lost_is_named_by_the_status_too(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.line.next_fault = fault_at("CreateAccessKey", Fault.LOST_REPLY)
    with pytest.raises(KeyturnError):
        rotate(home).rotate()
    rotate(home).status()
    lost = home.user.keys[1].key_id
    assert f"--drop {lost[-4:]}" in capsys.readouterr().out.splitlines()[-1]


def test_an_empty_answer_deletes_no_key_and_fails(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_until(home, Step.DEACTIVATED)
    home.time.sleep(25 * 3600)
    monkeypatch.setattr(verb, "on_terminal", lambda: True)
    monkeypatch.setattr(verb, "ask_line", lambda _question: "")
    with pytest.raises(click.exceptions.Exit) as error:
        rotate(home).finish(None, ())
    assert error.value.exit_code == 1
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing was deleted."
    assert len(home.user.keys) == 2
