"""What all dialogs share: a box with a title, text, at most one field, a status line and the keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen

from keyturn.model.errors import KeyturnError
from keyturn.model.text import safe
from keyturn.system import log
from keyturn_tui.rendering.layout import TOO_SMALL, frame_for
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.rendering.profile_detail import wrap
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import PlainField
from keyturn_tui.widgets.styled_lines import StyledLines

T = TypeVar("T")

#: Cells between the box's border and its text, both sides, and the border itself.
_FRAME = 4
_BORDERS = 2


class Dialog(ModalScreen[T]):
    """A box over the main screen. Esc closes it with None: nothing has happened then."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]
    AUTO_FOCUS = ""
    WIDTH = 72
    DEFAULT_CSS = """
    Dialog { align: center middle; background: transparent; }
    Dialog > #box { height: auto; max-height: 100%; max-width: 100%; }
    Dialog.-small > #box { display: none; }
    Dialog #too-small { display: none; }
    Dialog.-small #too-small { display: block; }
    Dialog StyledLines { height: auto; max-width: 100%; }
    Dialog #status { height: auto; min-height: 1; }
    Dialog .field-row { height: 1; }
    Dialog .label { width: 12; }
    Dialog .bracket { width: 2; }
    Dialog .field-row PlainField { width: 1fr; }
    """

    def __init__(self, state: AppState, title: str) -> None:
        super().__init__()
        self.state = state
        self._heading = title
        self._status: list[Line] = [()]
        #: Lines that there is room for in the body.
        self.body_height = 0

    def compose(self) -> ComposeResult:
        """Body, whatever :meth:`parts` adds, status, keys."""
        yield StyledLines([((TOO_SMALL, "soon"),)], id="too-small")
        with Vertical(id="box", classes="framed") as box:
            box.border_title = Content(safe(self._heading, 60))
            yield StyledLines(id="body")
            yield from self.compose_fields()
            yield StyledLines(id="status")
            yield StyledLines(id="keys")

    def compose_fields(self) -> ComposeResult:
        """Fields between body and status."""
        yield from ()

    def on_mount(self) -> None:
        """Draw at the size of this terminal."""
        self.set_class(self.state.terminal.ascii, "-ascii")
        self.draw()

    def on_resize(self) -> None:
        """Wrap anew."""
        self.draw()

    @property
    def text_width(self) -> int:
        """Cells for text."""
        return min(self.WIDTH, self.app.size.width) - _FRAME

    @property
    def is_too_small(self) -> bool:
        """Whether this terminal has no room for a dialog: it asks for more then, and only Esc works."""
        return frame_for(*self.app.size).too_small

    def draw(self) -> None:
        """Size the box and fill its text; where there is not room for all, fields, status and keys go first."""
        self.set_class(self.is_too_small, "-small")
        box = self.query_one("#box")
        box.styles.width = min(self.WIDTH, self.app.size.width)
        keys = [part for line in self.keys() for part in wrap_keys(line, self.text_width)]
        fields = [row for row in self.query(".field-row") if not row.has_class("hidden")]
        free_height = self.app.size.height - _BORDERS - len(fields) - len(keys)
        status = self._status[: max(1, free_height)]
        body_height = self.body_height = free_height - len(status)
        body = list(self.body())
        if len(body) > body_height:
            body = [*body[: max(0, body_height - 1)], (("… a larger window shows all of it", "soon"),)][
                : max(0, body_height)
            ]
        gap: list[Line] = [()] if len(body) < body_height else []
        self.query_one("#body", StyledLines).show(body)
        self.query_one("#status", StyledLines).show(status)
        self.query_one("#keys", StyledLines).show([*gap, *keys])
        if self.is_too_small:
            self.set_focus(None)
        elif self.focused is None and fields:
            self.set_focus(fields[0].query_one(PlainField))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing is done that cannot be seen."""
        del parameters
        return action == "cancel" or not self.is_too_small

    def body(self) -> Sequence[Line]:
        """The text at the top."""
        return ()

    def keys(self) -> Sequence[Line]:
        """What can be pressed."""
        return (key_line(("Esc", "Cancel")),)

    def set_status(self, text: str, role: str = "text") -> None:
        """Say something under the field."""
        self._status = paragraph(text, self.text_width, role) if text else [()]
        self.draw()

    def action_cancel(self) -> None:
        """Esc."""
        self.dismiss(None)


def error_text(error: Exception) -> str:
    """What a dialog says of an error; one that is keyturn's own is logged and named by its kind alone."""
    if isinstance(error, KeyturnError):
        return error.line()
    log.record_unexpected(error)
    return f"A fault of keyturn itself ({type(error).__name__}); keyturn.log says where."


def field_row(
    label: str, field: PlainField, width: int, *, row_id: str = "", classes: str = ""
) -> Horizontal:
    """A label and a field in brackets, so that the field is seen where there is no colour.

    :param width: cells inside the brackets; fewer where the box is narrower.
    """
    field.styles.max_width = width
    widgets = (
        StyledLines([((label, "title"),)], classes="label", id=f"{row_id}-label" if row_id else None),
        StyledLines([(("[ ", "muted"),)], classes="bracket"),
        field,
        StyledLines([((" ]", "muted"),)], classes="bracket"),
    )
    return Horizontal(*widgets, classes=f"field-row {classes}", id=f"{row_id}-row" if row_id else None)


def paragraph(text: str, width: int, role: str = "text") -> list[Line]:
    """A sentence, harmless, wrapped."""
    return [((line, role),) for line in wrap(text, width)]


def fact_lines(pairs: Sequence[tuple[str, str]], width: int, label: int = 10) -> list[Line]:
    """Labelled values, wrapped under themselves."""
    lines: list[Line] = []
    for name, value in pairs:
        for index, line in enumerate(wrap(value, width - label)):
            lines.append(((f"{name if index == 0 else '':<{label}}", "muted"), (line, "text")))
    return lines


def wrap_keys(line: Line, width: int) -> list[Line]:
    """A line of :func:`key_line` in as many lines as it needs."""
    lines: list[Line] = []
    for start in range(0, len(line), 3):
        key_part = line[start : start + 3]
        if lines and line_width((*lines[-1], *key_part)) <= width:
            lines[-1] = (*lines[-1], *key_part)
        else:
            lines.append((("", "text"), *key_part[1:]) if len(key_part) == 3 else key_part)
    return lines


def line_width(line: Line) -> int:
    """How wide a line is."""
    return sum(cell_len(text) for text, _ in line)


def key_line(*keys: tuple[str, str]) -> Line:
    """`Enter Write   Esc Cancel`."""
    spans: list[tuple[str, str]] = []
    for key, label in keys:
        spans += [("   " if spans else "", "text"), (key, "hotkey"), (f" {label}", "text")]
    return tuple(spans)
