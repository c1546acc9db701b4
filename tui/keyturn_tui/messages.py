"""What travels between workers, screens and the app. A message that a later one makes pointless is replaced by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.message import Message

from keyturn_tui.rendering.profile_rows import Row


@dataclass
class Answer(Message, bubble=False):
    """A worker is done: with a result, or with an error."""

    ticket: int
    result: Any = None
    error: Exception | None = None


@dataclass
class RowSelected(Message):
    """The cursor stands on another row, or on none."""

    row: Row | None

    def can_replace(self, message: Message) -> bool:
        """While a key is held only the last row counts."""
        return isinstance(message, RowSelected)


@dataclass
class RowOpened(Message):
    """A row was clicked when the cursor stood on it already."""


@dataclass
class ActionPressed(Message):
    """An action was clicked in the footer, or chosen in help or palette."""

    action_id: str


@dataclass
class CodeComplete(Message):
    """The sixth digit of an MFA code was typed."""


@dataclass
class SecretTyped(Message):
    """Enter in a secret field; the secret itself stays in the field until it is taken."""


@dataclass
class TimelineRowSelected(Message):
    """The cursor of the timeline was moved."""

    def can_replace(self, message: Message) -> bool:
        """While a key is held only the last lane counts."""
        return isinstance(message, TimelineRowSelected)
