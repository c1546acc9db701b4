"""Typed words, where there is no passphrase to prove that somebody means it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from textual import work
from textual.app import ComposeResult
from textual.widgets import Input

from keyturn.errors import NeedsConfirmation
from keyturn_tui.bridge import Lane
from keyturn_tui.cells import Line
from keyturn_tui.desk import Desk
from keyturn_tui.screens.dialog import Dialog, field_row, key_line, paragraph
from keyturn_tui.widgets.fields import PlainField

T = TypeVar("T")


class WordsScreen(Dialog[T | Exception], Generic[T]):
    """Shows what the keeper wants typed (`need.why`, `need.hint`) and runs `verb` with it."""

    def __init__(self, desk: Desk, need: NeedsConfirmation, verb: Callable[[str], T]) -> None:
        super().__init__(desk, "Type it to confirm")
        self._need = need
        self._verb = verb

    def parts(self) -> ComposeResult:
        """The field."""
        yield field_row("Words", PlainField(id="words"), 48)

    def body(self) -> Sequence[Line]:
        """What will happen, and what to type."""
        need = self._need
        lines = paragraph(f"{need.what}: {need.why}" if need.why else need.what, self.room)
        return [*lines, *paragraph(need.hint, self.room, "title"), ()]

    def keys(self) -> Sequence[Line]:
        """Enter confirms only with the right words."""
        return (key_line(("Enter", "Confirm"), ("Esc", "Cancel (default)")),)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter."""
        message.stop()
        self._confirm(message.value.strip())

    @work(exclusive=True)
    async def _confirm(self, words: str) -> None:
        try:
            result = await self.desk.bridge.ask(partial(self._verb, words), Lane.PERSON)
        except NeedsConfirmation:
            self.status("Those are not the words.", "error")
        except Exception as error:  # noqa: BLE001  # whoever asked decides, at the boundary of its act
            self.dismiss(error)
        else:
            self.dismiss(result)
