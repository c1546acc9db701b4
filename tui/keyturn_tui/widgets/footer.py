"""The last line: which keys make sense now. Each is also a button for the mouse."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events

from keyturn_tui.actions import BY_ID, Action, label_of, refusal
from keyturn_tui.cells import Line, Span, View
from keyturn_tui.messages import ActionPressed
from keyturn_tui.rows import Row
from keyturn_tui.widgets.painted import Painted

#: Always there, at the right.
LAST = ("help", "quit")


def footer_line(
    actions: Sequence[Action], row: Row | None, view: View, width: int
) -> tuple[Line, tuple[tuple[int, int, str], ...]]:
    """The line, and the cells (from, to, action id) that a click can hit. What does not fit is left out from the end;
    what is not on offer for this row is dim."""
    tail = [_button(BY_ID[id_], row, view) for id_ in LAST]
    tail_width = sum(_width(spans) + 2 for _, spans in tail)
    spans: list[Span] = []
    hits: list[tuple[int, int, str]] = []
    x = 1
    for action in actions:
        id_, button = _button(action, row, view)
        if x + _width(button) + 2 + tail_width > width:
            break
        spans += [(" " if not spans else "  ", "text"), *button]
        x += 0 if len(hits) == 0 else 2
        hits.append((x, x + _width(button), id_))
        x += _width(button)
    gap = max(1, width - x - tail_width + (0 if hits else 1))
    spans.append((" " * gap, "text"))
    x = sum(cell_len(text) for text, _ in spans)
    for id_, button in tail:
        spans += [*button, ("  ", "text")]
        hits.append((x, x + _width(button), id_))
        x += _width(button) + 2
    return tuple(spans), tuple(hits)


def _button(action: Action, row: Row | None, view: View) -> tuple[str, list[Span]]:
    off = refusal(action, row, view) is not None
    key = action.shown.split()[0]
    return action.id, [
        (key, "dim" if off else "hotkey"),
        (f" {label_of(action, row)}", "dim" if off else "text"),
    ]


def _width(spans: Sequence[Span]) -> int:
    return sum(cell_len(text) for text, _ in spans)


class Footer(Painted):
    """Keys for the focused row."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id)
        self._hits: tuple[tuple[int, int, str], ...] = ()

    def offer(self, actions: Sequence[Action], row: Row | None, view: View) -> None:
        """Show these actions, as they stand for this row."""
        line, self._hits = footer_line(actions, row, view, self.size.width)
        self.show([line])

    def on_click(self, event: events.Click) -> None:
        """Press what was clicked."""
        for start, end, action_id in self._hits:
            if start <= event.x < end:
                self.post_message(ActionPressed(action_id))
