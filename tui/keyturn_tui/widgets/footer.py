"""Footer: keys with their labels, which are also buttons for the mouse."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal

from keyturn_tui.actions import BY_ID, Action, label_of, why_unavailable
from keyturn_tui.messages import ActionPressed
from keyturn_tui.rendering.profile_cells import Line, Span, View, line_width
from keyturn_tui.rendering.profile_rows import Row
from keyturn_tui.terminal.output_filters import expand_ellipsis
from keyturn_tui.widgets.styled_lines import StyledLines

#: First cell of a button, cell after its last, and id of its action.
Hit = tuple[int, int, str]


def button_line(actions: Sequence[Action], row: Row | None, view: View) -> tuple[Line, tuple[Hit, ...]]:
    """Return the buttons as a line, and the cells that a click can hit. Unavailable actions are dim."""
    spans: list[Span] = []
    hits: list[Hit] = []
    x = 0
    for action in actions:
        is_unavailable = why_unavailable(action, row, view) is not None
        key, label = action.key_label.split()[0], f" {expand_ellipsis(label_of(action, row), view.glyphs)}"
        spans += [
            (key, "dim" if is_unavailable else "hotkey"),
            (f"{label}  ", "dim" if is_unavailable else "text"),
        ]
        width = cell_len(key) + cell_len(label)
        hits.append((x, x + width, action.id))
        x += width + 2
    return tuple(spans), tuple(hits)


def buttons_width(actions: Sequence[Action], row: Row | None, view: View) -> int:
    """Return the width of these buttons in cells."""
    return line_width(button_line(actions, row, view)[0])


class Buttons(StyledLines):
    """A part of the footer. Parts that change are separate widgets, so that only they repaint."""

    DEFAULT_CSS = "Buttons { width: auto; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._hits: tuple[Hit, ...] = ()

    def offer(self, actions: Sequence[Action], row: Row | None, view: View) -> None:
        """Show these actions for a row."""
        line, self._hits = button_line(actions, row, view)
        resized = line_width(line) != self.size.width
        self.show([line])
        if resized and self.styles.width is not None and self.styles.width.is_auto:
            self.refresh(layout=True)

    def on_click(self, event: events.Click) -> None:
        for start, end, action_id in self._hits:
            if start <= event.x < end:
                self.post_message(ActionPressed(action_id))


#: Always shown, at the right.
ALWAYS_SHOWN = (BY_ID["help"], BY_ID["quit"])


def fit_actions(
    fixed: Sequence[Action], dynamic: Sequence[Action], row: Row | None, view: View, width: int
) -> tuple[tuple[Action, ...], tuple[Action, ...]]:
    """Return the actions of both kinds that fit beside help and quit; the last fixed ones are dropped
    first."""
    room = width - 1 - buttons_width(ALWAYS_SHOWN, row, view)
    shown, shown_dynamic = list(fixed), list(dynamic)
    while shown and buttons_width([*shown, *shown_dynamic], row, view) > room:
        shown.pop()
    while shown_dynamic and buttons_width(shown_dynamic, row, view) > room:
        shown_dynamic.pop()
    return tuple(shown), tuple(shown_dynamic)


class Footer(Horizontal):
    """Fixed actions at the left, then the row's actions, then help and quit at the right."""

    DEFAULT_CSS = """
    Footer { height: 1; padding: 0 0 0 1; }
    Footer #varying { width: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """Yield three parts. The middle one takes the free width, so that the others do not move when it
        changes."""
        yield Buttons(id="steady")
        yield Buttons(id="varying")
        yield Buttons(id="always")

    def offer(self, fixed: Sequence[Action], dynamic: Sequence[Action], row: Row | None, view: View) -> None:
        """Show these actions for a row."""
        first, second = fit_actions(fixed, dynamic, row, view, self.size.width or self.app.size.width)
        self.query_one("#steady", Buttons).offer(first, row, view)
        self.query_one("#varying", Buttons).offer(second, row, view)
        self.query_one("#always", Buttons).offer(ALWAYS_SHOWN, row, view)
