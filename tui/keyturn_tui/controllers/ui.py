"""What a conversation needs of the app: nothing more of it is known to `acts` and the screens."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from textual.screen import Screen

T = TypeVar("T")


class Ui(Protocol):
    """What a conversation needs of the app."""

    async def show_dialog(self, screen: Screen[T]) -> T | None:
        """Show a dialog and wait for its answer; None where it was cancelled."""
        ...

    def show_message(self, text: str, role: str = "text") -> None:
        """Put a sentence on the message line."""
        ...

    def start(self, conversation: Coroutine[Any, Any, Any]) -> None:
        """Begin a conversation beside whatever else goes on."""
        ...

    def open_palette(self) -> None:
        """Open the command palette."""
        ...

    def next_theme(self) -> None:
        """Change the colours."""
        ...

    def redraw(self) -> None:
        """What is being worked on, or what failed, is different now."""
        ...

    async def reload(self) -> None:
        """Take a new snapshot and show it."""
        ...

    def report_bug(self, what: str, error: Exception) -> None:
        """Record an error that is keyturn's own."""
        ...
