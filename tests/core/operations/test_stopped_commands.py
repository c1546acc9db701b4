"""Commands on many profiles that the user stops: what they print, and that the printed command goes on."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from keyturn.cli import options, sessions
from keyturn.model.steps import Steps
from tests.core.operations.conftest import Bench

Run = Callable[..., Result]


@pytest.fixture
def run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command that is stopped after a number of profiles."""
    monkeypatch.setattr(options, "credential_service", lambda: bench.service)

    def run_command(words: Sequence[str], stop_after: int | None = None) -> Result:
        @contextmanager
        def progress_bar(_on_step: Any = None) -> Iterator[Any]:
            count = itertools.count()
            yield SimpleNamespace(steps=Steps(is_stopped=lambda: next(count) == stop_after))

        monkeypatch.setattr(sessions, "progress_bar", progress_bar)
        command = getattr(sessions, words[0])
        result = CliRunner().invoke(command, words[1:], standalone_mode=False)
        assert result.exception is None
        return result

    return run_command


@pytest.mark.parametrize("option", [(), ("--session-none",)], ids=["sessions", "session-none"])
def test_what_is_left_of_a_stopped_adoption_is_adopted_by_the_printed_command(
    bench: Bench, run: Run, option: tuple[str, ...]
) -> None:
    names = bench.add_plaintext_keys(5)
    result = run(("adopt", "--yes", *option, *names), stop_after=2)
    assert result.return_value == 130
    assert result.stdout.splitlines() == [f"adopted {name}" for name in names[:2]]
    last = result.stderr.splitlines()[-1]
    assert last.startswith("keyturn: Stopped: 2 of 5 profiles adopted. Run: keyturn adopt ")
    program, *words = shlex.split(last.partition("Run: ")[2])
    assert program == "keyturn"
    assert run((words[0], "--yes", *words[1:])).return_value == 0
    definitions = bench.service.context.read().definitions
    assert [definitions[name].session_none for name in names] == [bool(option)] * 5


def test_of_many_only_the_number_and_the_first_one_are_printed(bench: Bench, run: Run) -> None:
    names = bench.add_plaintext_keys(14)
    result = run(("adopt", "--yes", *names), stop_after=2)
    assert result.stderr.splitlines()[-1] == (
        f"keyturn: Stopped: 2 of 14 profiles adopted. 12 are left, first {names[2]}"
    )


def test_undoing_is_offered_only_for_what_was_done(bench: Bench, run: Run) -> None:
    stopped = run(("adopt", "--yes", "ci-deploy"), stop_after=1)
    assert "1 of 3 profiles adopted" in stopped.stderr
    assert "To undo" not in stopped.stderr
    bench.release("ci-deploy")
    whole = run(("adopt", "--yes", "ci-deploy"))
    assert "To undo all of it: keyturn release" in whole.stderr
