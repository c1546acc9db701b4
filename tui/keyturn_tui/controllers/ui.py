"""The interface of the app that controllers and screens use."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from textual.screen import Screen

T = TypeVar("T")


class Ui(Protocol):
    """Methods that controllers and screens call; :class:`keyturn_tui.app.KeyturnApp` implements them."""

    async def show_dialog(self, screen: Screen[T]) -> T | None:
        """Show a dialog and return its result; None if it was cancelled."""

    def show_message(self, text: str, role: str = "text") -> None:
        """Show a text on the status line of every screen."""

    def start(self, conversation: Coroutine[Any, Any, Any]) -> None:
        """Run a conversation in the background."""

    def redraw(self) -> None:
        """Redraw the screens after the state changed."""

    async def reload(self) -> None:
        """Take a new snapshot and show it."""

    def report_bug(self, what: str, error: Exception) -> None:
        """Log an unexpected error of keyturn and show that it happened.

        :param what: the operation that failed.
        """
