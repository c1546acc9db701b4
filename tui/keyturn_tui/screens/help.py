"""Help screen, generated from the action registry: `/` filters, Enter runs the selected action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input

from keyturn.model.text import Glyphs
from keyturn_tui.actions import ACTIONS, Action, Area, label_of
from keyturn_tui.dialogs.base import FramedScreen, key_line
from keyturn_tui.rendering.profile_cells import Line, fit
from keyturn_tui.rendering.profile_rows import Row
from keyturn_tui.state import AppState
from keyturn_tui.terminal.output_filters import expand_ellipsis
from keyturn_tui.widgets.cursor import scroll_bindings, scroll_position
from keyturn_tui.widgets.fields import PlainField
from keyturn_tui.widgets.styled_lines import StyledLines


def filter_actions(text: str) -> tuple[Action, ...]:
    """Return the actions whose keys, label, help or area contain every word of `text`."""
    terms = text.lower().split()
    return tuple(
        action
        for action in ACTIONS
        if all(
            term in f"{action.key_label} {action.label} {action.help} {action.area}".lower() for term in terms
        )
    )


def named_match(actions: Sequence[Action], text: str, row: Row | None) -> int | None:
    """Return the index of the first action whose keys or label contain every word of `text`; None if the
    words are found in descriptions only.

    :param row: the selected row, which some labels depend on.
    """
    terms = text.lower().split()
    names = (f"{action.key_label} {action.label} {label_of(action, row)}".lower() for action in actions)
    return next((index for index, name in enumerate(names) if all(term in name for term in terms)), None)


def glyph_legend(glyphs: Glyphs) -> list[Line]:
    """Return the legend of the state glyphs, because no state is shown by colour alone."""
    table = (
        (glyphs.fresh, "fresh", "session valid"),
        (glyphs.soon, "soon", "session expires soon, due for renewal"),
        (glyphs.expired, "expired", "session expired"),
        (glyphs.none, "muted", "no session yet, or none known"),
        (glyphs.long_term, "key", "long-term key, no expiry"),
        (glyphs.due, "due", "key due for rotation, or plaintext key"),
        (glyphs.working, "working", "operation running"),
        (glyphs.unknown, "unknown", "locked, or expiry unknown"),
        (glyphs.broken, "broken", "invalid configuration, or last attempt failed"),
    )
    return [
        (("SYMBOLS", "heading"),),
        *(((f"  {sign:<10}", role), (meaning, "muted")) for sign, role, meaning in table),
    ]


class HelpScreen(FramedScreen[str]):
    """Closes with the id of the selected action, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q", "cancel", show=False),
        Binding("enter", "choose", show=False),
        Binding("slash", "filter", show=False),
        *scroll_bindings("move"),
    ]
    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: transparent; }
    HelpScreen > #box { width: 80; max-width: 100%; height: auto; max-height: 100%; }
    HelpScreen #list { height: auto; }
    HelpScreen #filter-row { height: 1; }
    HelpScreen #filter-label { width: 9; }
    HelpScreen #keys { height: 2; }
    """

    def __init__(self, state: AppState, row: Row | None) -> None:
        super().__init__(state)
        self._row = row
        self._filtered: tuple[Action, ...] = ACTIONS
        self._cursor = 0
        self._top = 0
        self._is_named = True
        """False if the filter found its words in descriptions only."""

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="framed") as box:
            box.border_title = Content("Keys")
            with Horizontal(id="filter-row"):
                yield StyledLines([(("Filter / ", "muted"),)], id="filter-label")
                yield PlainField(id="filter")
            yield StyledLines(id="list")
            yield StyledLines(id="keys")

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self._filtered = filter_actions(message.value)
        named = named_match(self._filtered, message.value, self._row)
        self._cursor, self._top, self._is_named = named or 0, 0, named is not None
        self.draw()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Run the action that has the words in its name. If they are in descriptions only, go to the list
        first, because the first action found may not be the one that was meant.
        """
        message.stop()
        if self._is_named:
            self.action_choose()
        else:
            self._is_named = True
            self.set_focus(None)

    def action_cancel(self) -> None:
        """Leave the filter, or close the screen."""
        field = self.query_one("#filter", PlainField)
        if field.has_focus:
            field.value = ""
            self.set_focus(None)
        else:
            self.dismiss(None)

    def action_filter(self) -> None:
        self.query_one("#filter", PlainField).focus()

    def action_move(self, by: int) -> None:
        self._cursor = min(max(0, self._cursor + by), max(0, len(self._filtered) - 1))
        self.draw()

    def action_choose(self) -> None:
        if self._filtered:
            self.dismiss(self._filtered[self._cursor].id)

    def draw(self) -> None:
        width = min(80, self.app.size.width) - 4
        room = max(3, self.app.size.height - 6)
        glyphs = self.state.terminal.glyphs
        lines, cursor_line = self._table(width)
        if self._cursor == len(self._filtered) - 1:
            cursor_line = len(lines) - 1  # so that the legend below the last action is visible
        self._top = scroll_position(
            self._top, 0, len(lines), room, keep_visible=0 if self._cursor == 0 else cursor_line
        )
        self.query_one("#list", StyledLines).show(lines[self._top : self._top + room])
        note = f"{expand_ellipsis('…', glyphs)} means that keyturn asks before it changes anything."
        more = "   More: j" if self._top + room < len(lines) else ""
        keys = key_line(("Enter", "Run"), ("/", "Filter"), ("Esc", "Close"))
        self.query_one("#keys", StyledLines).show([((note + more, "muted"),), keys])

    def _table(self, width: int) -> tuple[list[Line], int]:
        """Return all lines, and the index of the line with the cursor."""
        lines: list[Line] = []
        cursor_line = 0
        glyphs = self.state.terminal.glyphs
        for area in Area:
            actions = [action for action in self._filtered if action.area is area]
            if actions:
                lines.append(((area.value.upper(), "heading"),))
            for action in actions:
                is_selected = action is self._filtered[self._cursor]
                if is_selected:
                    cursor_line = len(lines)
                lines.append(
                    (
                        (f"{glyphs.cursor if is_selected else ' '} ", "title"),
                        (fit(action.key_label, 10), "hotkey"),
                        (
                            fit(expand_ellipsis(label_of(action, self._row), glyphs), 16),
                            "title" if is_selected else "text",
                        ),
                        (fit(action.help, width - 28), "muted"),
                    )
                )
        if not lines:
            lines.append((("No matches.", "muted"),))
        if self._filtered is ACTIONS:
            lines += glyph_legend(glyphs)
        return lines, cursor_line
