"""Messages between workers, screens and the app. A newer message replaces an older one that it makes
obsolete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.message import Message

from keyturn_tui.rendering.profile_rows import Row


@dataclass
class Answer(Message, bubble=False):
    """Result or error of a worker's command."""

    ticket: int
    result: Any = None
    error: Exception | None = None


@dataclass
class RowSelected(Message):
    """The cursor moved to another row, or there is no row."""

    row: Row | None

    def can_replace(self, message: Message) -> bool:
        """Return True for the same type, because only the last row counts while a key is held."""
        return isinstance(message, RowSelected)


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


@dataclass
class TimelineRowSelected(Message):
    """The cursor of the timeline moved."""

    def can_replace(self, message: Message) -> bool:
        """Return True for the same type, because only the last row counts while a key is held."""
        return isinstance(message, TimelineRowSelected)
