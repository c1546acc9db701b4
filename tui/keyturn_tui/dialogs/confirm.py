"""Confirmation dialogs: yes or no, typed words, and the last four characters of an access key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from keyturn.model.errors import NeedsConfirmation, UsageError
from keyturn.model.text import masked_key_id
from keyturn.operations.rotation.delete_key import Obstacle, obstacles_named
from keyturn_tui.dialogs.base import Dialog, EntryDialog, field_row, key_line
from keyturn_tui.rendering.key_deletion import KeyToDelete
from keyturn_tui.rendering.profile_cells import Line, marked_paragraph, paragraph
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import PlainField


class ConfirmScreen(Dialog[bool]):
    """Yes-or-no question. `y` confirms; Enter does nothing, so that a second Enter never confirms by
    accident."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", show=False),
        Binding("n", "cancel", show=False),
    ]

    def __init__(
        self, state: AppState, title: str, lines: Sequence[str], operation: str, *, keep_label: str = "Keep"
    ) -> None:
        super().__init__(state, title)
        self._keep_label = keep_label
        self._lines = lines
        self._operation = operation

    def body(self) -> Sequence[Line]:
        return [line for text in self._lines for line in paragraph(text, self.text_width)]

    def keys(self) -> Sequence[Line]:
        return (key_line(("y", f"Yes, {self._operation}"), ("Esc", f"{self._keep_label} (default)")),)

    def action_yes(self) -> None:
        self.dismiss(True)  # noqa: FBT003  # the dialog's result


T = TypeVar("T")


class TypedConfirmScreen(EntryDialog[str, T]):
    """Asks for the words that the service requires (`need.why`, `need.hint`) and runs `operation` with
    them."""

    REFUSAL = NeedsConfirmation

    def __init__(self, state: AppState, need: NeedsConfirmation, operation: Callable[[str], T]) -> None:
        super().__init__(state, "Confirm by typing", operation, must_finish=True)  # keys leave the vault
        self._need = need

    def compose_fields(self) -> ComposeResult:
        yield field_row("Text", PlainField(id="words"), 48)

    def body(self) -> Sequence[Line]:
        """Return the consequence and the words to type."""
        need = self._need
        lines = paragraph(f"{need.what}: {need.why}" if need.why else need.what, self.text_width)
        return [*lines, *paragraph(need.hint, self.text_width, "title"), ()]

    def keys(self) -> Sequence[Line]:
        return (key_line(("Enter", "Confirm"), ("Esc", "Cancel (default)")),)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        message.stop()
        self.submit(message.value.strip())

    def refuse(self) -> None:
        self.set_status("The text does not match.", "error")


def deletion_lines(key: KeyToDelete, width: int, mark: str) -> list[Line]:
    """Return the facts, the warnings and the instruction to type the last four characters."""
    lines = [line for fact in key.facts for line in paragraph(fact, width)]
    if key.warnings:
        lines.append(())
    lines += warning_lines(key.warnings, width, mark)
    request = "Type the last four characters of the key to confirm:"
    if key.obstacles:
        request = (
            f"To delete it anyway, type its last four characters, and {','.join(key.obstacles)} to override:"
        )
    return [*lines, (), *paragraph(request, width)]


def warning_lines(warnings: Sequence[str], width: int, mark: str) -> list[Line]:
    """Return each warning as a sentence with a mark."""
    lines: list[Line] = []
    for warning in warnings:
        sentence = warning[:1].upper() + warning[1:].rstrip(".") + "."
        lines += marked_paragraph(mark, sentence, width, "due")
    return lines


@dataclass(frozen=True, slots=True)
class ConfirmedDeletion:
    """Confirmation of a deletion, as the user typed it."""

    last_four: str
    force: tuple[Obstacle, ...]


class DeletionScreen(Dialog[ConfirmedDeletion]):
    """Closes with what the user typed if the last four characters match and every obstacle is named, or with
    None if the key is kept (the default)."""

    WIDTH = 70

    def __init__(self, state: AppState, key: KeyToDelete) -> None:
        super().__init__(state, key.title)
        self._key = key

    def compose_fields(self) -> ComposeResult:
        yield field_row("Last four", PlainField(id="last-four", max_length=4), 5)
        if self._key.obstacles:
            yield field_row("Override", PlainField(id="override", max_length=40), 20)

    def body(self) -> Sequence[Line]:
        """Return the facts. In a small window the warnings come first."""
        mark = self.state.terminal.glyphs.due
        lines = deletion_lines(self._key, self.text_width, mark)
        if len(lines) <= self.body_height:
            return lines
        warnings, facts = warning_lines(self._key.warnings, self.text_width, mark), self._key.facts[0]
        return [*warnings, *paragraph(facts, self.text_width)]

    def keys(self) -> Sequence[Line]:
        return (key_line(("Esc", "Keep it (default)"), ("Enter", "Delete")),)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        message.stop()
        typed = self.query_one("#last-four", PlainField).value.strip().upper()
        if typed != self._key.key_id[-4:].upper():
            self._refuse_last_four(typed)
            return
        try:
            force = self._obstacles_typed()
        except UsageError as error:
            self.set_status(f"{error.why[:1].upper()}{error.why[1:]}. {error.hint}.", "error")
            return
        unnamed = [obstacle for obstacle in self._key.obstacles if obstacle not in force]
        if unnamed:
            self.query_one("#override", PlainField).focus()
            self.set_status(f"To delete the key anyway, type {','.join(unnamed)} in Override.", "soon")
        else:
            self.dismiss(ConfirmedDeletion(self._key.key_id[-4:], force))

    def _refuse_last_four(self, typed: str) -> None:
        if not typed:
            self.set_status("Type the last four characters to delete the key.", "soon")
        else:
            self.set_status(
                f"These are not the last four characters of {masked_key_id(self._key.key_id)}.", "error"
            )

    def _obstacles_typed(self) -> tuple[Obstacle, ...]:
        """Return the obstacles that the user named.

        :raises UsageError: if there is another word.
        """
        fields = self.query("#override").results(PlainField)
        text = "".join(field.value.strip().lower() for field in fields)
        return obstacles_named(text) if text else ()
