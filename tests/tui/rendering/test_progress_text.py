"""The line that shows how far an operation on many profiles has come. A table."""

from __future__ import annotations

import pytest

from keyturn.model.steps import Step
from keyturn_tui.rendering.progress import progress_text

LINES = [
    (Step("refreshing", 0, 4, "ci"), False, f"Refreshing [{' ' * 20}] 0 of 4. Esc stops. Next: ci"),
    (Step("adopting", 1, 4, "ci"), False, f"Adopting [{'=' * 5}{' ' * 15}] 1 of 4. Esc stops. Next: ci"),
    (Step("adopting", 4, 4), False, f"Adopting [{'=' * 20}] 4 of 4. Esc stops."),
    (Step("adopting", 0, 0), False, f"Adopting [{'=' * 20}] 0 of 0. Esc stops."),
    (Step("adopting", 2, 4, "ci"), True, f"Stopping [{'=' * 10}{' ' * 10}] 2 of 4."),
]


@pytest.mark.parametrize(("step", "is_stopping", "line"), LINES, ids=range(len(LINES)))
def test_the_line_for_a_step(step: Step, is_stopping: bool, line: str) -> None:
    assert progress_text(step, is_stopping=is_stopping) == line


def test_a_hostile_name_is_inert() -> None:
    assert progress_text(Step("adopting", 1, 2, "a\x1b[2J\n[red]b")).isprintable()
