"""What all dialogs share: a box with a title, text, at most one field, a status line and the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen

from keyturn.text import safe
from keyturn_tui.cells import Line
from keyturn_tui.describe import wrapped
from keyturn_tui.desk import Desk
from keyturn_tui.widgets.fields import PlainField
from keyturn_tui.widgets.painted import Painted

T = TypeVar("T")

#: Cells between the box's border and its text, both sides, and the border itself.
_FRAME = 4


class Dialog(ModalScreen[T]):
    """A box over the main screen. Esc closes it with None: nothing has happened then."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]
    WIDTH = 72
    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog > #box { height: auto; max-height: 100%; max-width: 100%; padding: 0 1; border: round $state-working;
        background: $background; border-title-color: $text-plain; border-title-style: bold; }
    Dialog.-ascii > #box { border: ascii $state-working; }
    Dialog Painted { height: auto; max-width: 100%; }
    Dialog #status { height: auto; min-height: 1; }
    Dialog .field-row { height: 1; }
    Dialog .label { width: 12; }
    Dialog .bracket { width: 2; }
    Dialog .field-row PlainField { width: 1fr; }
    """

    def __init__(self, desk: Desk, title: str) -> None:
        super().__init__()
        self.desk = desk
        self._heading = title

    def compose(self) -> ComposeResult:
        """Body, whatever :meth:`parts` adds, status, keys."""
        with Vertical(id="box") as box:
            box.border_title = Content(safe(self._heading, 60))
            yield Painted(id="body")
            yield from self.parts()
            yield Painted(id="status")
            yield Painted(id="keys")

    def parts(self) -> ComposeResult:
        """Fields between body and status."""
        yield from ()

    def on_mount(self) -> None:
        """Draw at the size of this terminal."""
        self.set_class(self.desk.terminal.ascii, "-ascii")
        self.draw()

    def on_resize(self) -> None:
        """Wrap anew."""
        self.draw()

    @property
    def room(self) -> int:
        """Cells for text."""
        return min(self.WIDTH, self.app.size.width) - _FRAME

    def draw(self) -> None:
        """Size the box and fill its text."""
        box = self.query_one("#box")
        box.styles.width = min(self.WIDTH, self.app.size.width)
        self.query_one("#body", Painted).show(self.body())
        self.query_one("#keys", Painted).show([(), *self.keys()])

    def body(self) -> Sequence[Line]:
        """The text at the top."""
        return ()

    def keys(self) -> Sequence[Line]:
        """What can be pressed."""
        return (key_line(("Esc", "Cancel")),)

    def status(self, text: str, role: str = "text") -> None:
        """Say something under the field."""
        self.query_one("#status", Painted).show(paragraph(text, self.room, role) if text else [()])

    def action_cancel(self) -> None:
        """Esc."""
        self.dismiss(None)


def field_row(
    label: str, field: PlainField, width: int, *, row_id: str = "", classes: str = ""
) -> Horizontal:
    """A label and a field in brackets, so that the field is seen where there is no colour.

    :param width: cells inside the brackets; fewer where the box is narrower.
    """
    field.styles.max_width = width
    parts = (
        Painted([((label, "title"),)], classes="label", id=f"{row_id}-label" if row_id else None),
        Painted([(("[ ", "muted"),)], classes="bracket"),
        field,
        Painted([((" ]", "muted"),)], classes="bracket"),
    )
    return Horizontal(*parts, classes=f"field-row {classes}", id=f"{row_id}-row" if row_id else None)


def paragraph(text: str, room: int, role: str = "text") -> list[Line]:
    """A sentence, harmless, wrapped."""
    return [((line, role),) for line in wrapped(text, room)]


def facts(pairs: Sequence[tuple[str, str]], room: int, label: int = 10) -> list[Line]:
    """Labelled values, wrapped under themselves."""
    lines: list[Line] = []
    for name, value in pairs:
        for nth, line in enumerate(wrapped(value, room - label)):
            lines.append(((f"{name if nth == 0 else '':<{label}}", "muted"), (line, "text")))
    return lines


def key_line(*keys: tuple[str, str]) -> Line:
    """`Enter Write   Esc Cancel`."""
    spans: list[tuple[str, str]] = []
    for key, label in keys:
        spans += [("   " if spans else "", "text"), (key, "hotkey"), (f" {label}", "text")]
    return tuple(spans)
