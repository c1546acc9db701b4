"""Messages between workers, screens and the app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.message import Message

from keyturn.model.steps import Step


@dataclass
class Answer(Message, bubble=False):
    """Result or error of a worker's command."""

    ticket: int
    result: Any = None
    error: Exception | None = None


@dataclass
class StepReported(Message, bubble=False):
    """Progress of a command on many profiles."""

    step: Step

    def can_replace(self, message: Message) -> bool:
        """Return True for the same type, because only the latest step is shown."""
        return isinstance(message, StepReported)


@dataclass
class CursorMoved(Message):
    """The cursor of a list moved, or the rows under it changed."""

    def can_replace(self, message: Message) -> bool:
        """Return True for the same type, because only the last row counts while a key is held."""
        return isinstance(message, CursorMoved)


@dataclass
class RowOpened(Message):
    """The selected row was clicked again."""


@dataclass
class ActionPressed(Message):
    """An action was clicked in the footer."""

    action_id: str


@dataclass
class CodeComplete(Message):
    """The sixth digit of an MFA code was entered."""


@dataclass
class SecretTyped(Message):
    """Enter was pressed in a secret field. The secret stays in the field until :meth:`SecretField.take` is
    called."""
