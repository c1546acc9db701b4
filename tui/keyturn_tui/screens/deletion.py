"""The last four characters of a key, typed before it is deleted at AWS; above them what should stop one."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widgets import Input

from keyturn.text import masked_key_id
from keyturn_tui.cells import Line
from keyturn_tui.describe import wrapped
from keyturn_tui.desk import Desk
from keyturn_tui.dooming import Doomed
from keyturn_tui.screens.dialog import Dialog, field_row, key_line, paragraph
from keyturn_tui.widgets.fields import PlainField


def deletion_lines(doomed: Doomed, width: int, mark: str) -> list[Line]:
    """The facts, what speaks against it, and what to type."""
    lines = [line for fact in doomed.facts for line in paragraph(fact, width)]
    if doomed.against:
        lines.append(())
    lines += against_lines(doomed.against, width, mark)
    return [*lines, (), *paragraph("Type the last four characters of the key to confirm:", width)]


def against_lines(clauses: Sequence[str], width: int, mark: str) -> list[Line]:
    """What should stop one, each clause as a marked sentence."""
    lines: list[Line] = []
    for clause in clauses:
        text = clause[:1].upper() + clause[1:].rstrip(".") + "."
        for nth, line in enumerate(wrapped(text, width - 2)):
            lines.append(((f"{mark if nth == 0 else ' '} {line}", "due"),))
    return lines


class DeletionScreen(Dialog[str]):
    """Closes with the last four characters once they fit; with None where the key is kept, which is the default."""

    WIDTH = 70

    def __init__(self, desk: Desk, doomed: Doomed) -> None:
        super().__init__(desk, doomed.title)
        self._doomed = doomed

    def parts(self) -> ComposeResult:
        """The field."""
        yield field_row("Last four", PlainField(id="last-four", max_length=4), 5)

    def body(self) -> Sequence[Line]:
        """What decides it; in a small window what speaks against it is seen first."""
        mark = self.desk.terminal.glyphs.due
        lines = deletion_lines(self._doomed, self.room, mark)
        if len(lines) <= self.spare:
            return lines
        clauses, facts = against_lines(self._doomed.against, self.room, mark), self._doomed.facts[0]
        return [*clauses, *paragraph(facts, self.room)]

    def keys(self) -> Sequence[Line]:
        """Keeping it is the default."""
        return (key_line(("Esc", "Keep it (default)"), ("Enter", "Delete")),)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter."""
        message.stop()
        typed = message.value.strip().upper()
        if typed == self._doomed.key_id[-4:].upper():
            self.dismiss(self._doomed.key_id[-4:])
        elif not typed:
            self.status("Nothing is deleted without them.", "soon")
        else:
            self.status(f"Those are not the last four of {masked_key_id(self._doomed.key_id)}.", "error")
