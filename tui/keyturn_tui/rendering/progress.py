"""The progress of an operation on many profiles, as one line for the status line. Pure."""

from __future__ import annotations

from keyturn.model.steps import Step
from keyturn.model.text import safe

#: Columns of the bar between its brackets.
BAR_WIDTH = 20


def progress_text(step: Step, *, is_stopping: bool = False) -> str:
    """Return for example `Refreshing [=====               ] 5 of 20. Esc stops. Next: ci-deploy`."""
    filled = BAR_WIDTH * step.done // step.total if step.total else BAR_WIDTH
    bar = f"[{'=' * filled}{' ' * (BAR_WIDTH - filled)}]"
    doing = "Stopping" if is_stopping else step.doing.capitalize()
    hint = "" if is_stopping else " Esc stops."
    following = f" Next: {safe(step.name)}" if step.name and not is_stopping else ""
    return f"{doing} {bar} {step.done} of {step.total}.{hint}{following}"
