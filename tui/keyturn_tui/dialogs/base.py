"""Base of the dialogs: a box with a title, text, fields, a status line and keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Generic, TypeVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen

from keyturn.model.errors import KeyturnError
from keyturn.model.text import safe
from keyturn.system import log
from keyturn.system.secret_channel import WaitCancelled
from keyturn_tui.rendering.layout import TOO_SMALL, frame_for
from keyturn_tui.rendering.profile_cells import Line, line_width, paragraph, wrap
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import PlainField
from keyturn_tui.widgets.styled_lines import StyledLines
from keyturn_tui.workers import Queue

E = TypeVar("E")
T = TypeVar("T")

#: Seconds. What the vault does with a passphrase usually takes about one.
SLOW_SECONDS = 3
#: Columns taken by border and padding, and rows taken by the border.
_FRAME = 4
_BORDERS = 2


class FramedScreen(ModalScreen[T]):
    """A screen in a box over the current one. Esc closes it with None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]
    AUTO_FOCUS = ""

    def __init__(self, state: AppState) -> None:
        super().__init__(classes="-ascii" if state.terminal.ascii else None)
        self.state = state

    @property
    def is_too_small(self) -> bool:
        """True if the terminal is too small for a dialog. It then shows only a request to enlarge it, and
        only Esc works."""
        return frame_for(*self.app.size).too_small

    def draw(self) -> None:
        """Fill the box for the size of the terminal."""

    def on_mount(self) -> None:
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    def action_cancel(self) -> None:
        self.dismiss(None)


class Dialog(FramedScreen[T]):
    """A box with a title, text, fields, a status line and keys."""

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
        super().__init__(state)
        self._heading = title
        self._status: list[Line] = [()]
        #: Lines available for the body.
        self.body_height = 0

    def compose(self) -> ComposeResult:
        """Yield body, the fields of :meth:`compose_fields`, status and keys."""
        yield StyledLines([((TOO_SMALL, "soon"),)], id="too-small")
        with Vertical(id="box", classes="framed") as box:
            box.border_title = Content(safe(self._heading, 60))
            yield StyledLines(id="body")
            yield from self.compose_fields()
            yield StyledLines(id="status")
            yield StyledLines(id="keys")

    def compose_fields(self) -> ComposeResult:
        """Yield the fields between body and status."""
        yield from ()

    @property
    def text_width(self) -> int:
        """Width of the text, in cells."""
        return min(self.WIDTH, self.app.size.width) - _FRAME

    def draw(self) -> None:
        """Resize the box and fill it. If not everything fits, the body is cut before fields, status and
        keys."""
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
            body = [*body[: max(0, body_height - 1)], (("… enlarge the window to see more", "soon"),)][
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
        """Allow only Esc while the dialog is not visible."""
        del parameters
        return action == "cancel" or not self.is_too_small

    def body(self) -> Sequence[Line]:
        """Return the text at the top."""
        return ()

    def keys(self) -> Sequence[Line]:
        """Return the lines with the available keys."""
        return (key_line(("Esc", "Cancel")),)

    def set_status(self, text: str, role: str = "text") -> None:
        """Show a text under the field."""
        self._status = paragraph(text, self.text_width, role) if text else [()]
        self.draw()


class EntryDialog(Dialog[T | Exception], Generic[E, T]):
    """Runs an operation with what the user typed. Closes with its result, the error that ended it, or None.
    If it closes with None while `is_busy`, the operation continues and its result is discarded.

    :param operation: takes the entry. Raises `WaitCancelled` after `cancel`.
    :param queue: where the operation runs.
    :param must_finish: the dialog stays open while the operation runs, because the user must see its result.
    :param cancel: ends the operation soon. The dialog then stays open until it has ended, because it may
        succeed at the same moment.
    """

    #: Error that means another entry may work; every other error ends the dialog.
    REFUSAL: ClassVar[type[KeyturnError]]

    def __init__(
        self,
        state: AppState,
        title: str,
        operation: Callable[[E], T],
        queue: Queue = Queue.DIALOG,
        *,
        must_finish: bool = False,
        cancel: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(state, title)
        self._cancel = cancel
        self.is_cancelling = False
        self._operation = operation
        self._queue = queue
        self._must_finish = must_finish
        self.is_busy = False

    def action_cancel(self) -> None:
        if self.is_busy and self._must_finish:
            self.set_status("It is running and can no longer be cancelled.", "soon")
        elif self.is_busy and self._cancel is not None:
            self.is_cancelling = True
            self.set_status("Cancelling…", "working")
            self._cancel()
        else:
            super().action_cancel()

    def refuse(self) -> None:
        """Show that the entry was refused."""

    def accept(self, entry: E) -> None:
        """Note that the operation succeeded with this entry."""

    def submit(self, entry: E, label: str = "") -> None:
        """Run the operation, unless it is running.

        :param label: see :meth:`WorkerPool.run`.
        """
        if not self.is_busy:
            self.is_busy = True
            self._run_operation(entry, label)

    @work
    async def _run_operation(self, entry: E, label: str) -> None:
        try:
            result = await self.state.workers.run(partial(self._operation, entry), self._queue, label)
        except self.REFUSAL:
            self.is_busy = False
            if self.is_cancelling:
                self.dismiss(None)
            else:
                self.refuse()
        except WaitCancelled:
            self.is_busy = False
            self.dismiss(None)
        except Exception as error:  # noqa: BLE001  # passed to the caller, which handles it at its own boundary
            self.dismiss(error)
        else:
            self.accept(entry)
            self.dismiss(result)


def error_text(error: Exception) -> str:
    """Return the text for an error. A bug of keyturn is logged, and only its type is shown."""
    if isinstance(error, KeyturnError):
        return error.line()
    log.record_unexpected(error)
    return f"Internal error ({type(error).__name__}). See keyturn.log."


def field_row(
    label: str, field: PlainField, width: int, *, row_id: str = "", classes: str = ""
) -> Horizontal:
    """Return a label and a field in brackets; the brackets mark the field where there is no colour.

    :param width: maximum width inside the brackets, in cells.
    """
    field.styles.max_width = width
    widgets = (
        StyledLines([((label, "title"),)], classes="label", id=f"{row_id}-label" if row_id else None),
        StyledLines([(("[ ", "muted"),)], classes="bracket"),
        field,
        StyledLines([((" ]", "muted"),)], classes="bracket"),
    )
    return Horizontal(*widgets, classes=f"field-row {classes}", id=f"{row_id}-row" if row_id else None)


def fact_lines(pairs: Sequence[tuple[str, str]], width: int, label: int = 10) -> list[Line]:
    """Return labelled values; a wrapped value is indented under itself."""
    return [
        ((f"{'' if nth else name:<{label}}", "muted"), (line, "text"))
        for name, value in pairs
        for nth, line in enumerate(wrap(value, width - label))
    ]


def wrap_keys(line: Line, width: int) -> list[Line]:
    """Wrap a line of :func:`key_line`."""
    lines: list[Line] = []
    for start in range(0, len(line), 3):
        key_part = line[start : start + 3]
        if lines and line_width((*lines[-1], *key_part)) <= width:
            lines[-1] = (*lines[-1], *key_part)
        else:
            lines.append((("", "text"), *key_part[1:]) if len(key_part) == 3 else key_part)
    return lines


def key_line(*keys: tuple[str, str]) -> Line:
    """Return for example `Enter Write   Esc Cancel`."""
    spans: list[tuple[str, str]] = []
    for key, label in keys:
        spans += [("   " if spans else "", "text"), (key, "hotkey"), (f" {label}", "text")]
    return tuple(spans)
