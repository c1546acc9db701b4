"""The list of profiles: drawn line by line, so that five thousand rows cost what thirty do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from keyturn_tui.messages import RowChosen, RowOpened
from keyturn_tui.rendering.layout import GUTTER, Column, Field
from keyturn_tui.rendering.profile_cells import (
    TYPES,
    Line,
    Span,
    View,
    fit,
    left_text,
    rotation_cell,
    state_glyph,
)
from keyturn_tui.rendering.profile_rows import Entry, Group, Problem, Row
from keyturn_tui.widgets.cursor_guard import CursorGuard
from keyturn_tui.widgets.styled_lines import InRoles, strip_of

#: Strips kept; a few screens' worth.
_CACHE_LIMIT = 512


class ProfileList(ScrollView, InRoles, can_focus=True, inherit_bindings=False):
    """Rows with a cursor. What changes with time stands at the left, so that a tick repaints a few cells only.

    `ScrollView` comes first: Textual takes a widget's default styles, scrolling among them, from its first base alone.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    ProfileList { height: 1fr; scrollbar-size: 0 0; overflow-x: hidden; background: $background; }
    """

    def __init__(self, view: View, shown: Callable[[str], str], *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id)
        self._shown = shown
        self._view = view
        self._columns: tuple[Column, ...] = ()
        self._rows: tuple[Row, ...] = ()
        self._selectable: tuple[int, ...] = ()
        self._cursor = 0
        self._wanted: tuple[str, str] | None = None
        self.guard = CursorGuard()
        self._nothing: tuple[Line, ...] = ()
        self._strips: dict[tuple[int, bool, tuple[Span, str]], Strip] = {}
        self._drawn: dict[int, tuple[Span, str]] = {}
        self._on_screen: dict[int, Strip] = {}

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self._cursor] if self._selectable else None

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, shown or scrolled away."""
        return self._rows

    @property
    def cursor(self) -> int:
        """Index of the row under the cursor."""
        return self._cursor

    def show(
        self, rows: Sequence[Row], view: View, columns: tuple[Column, ...], nothing: Sequence[Line]
    ) -> None:
        """Swap everything; the cursor stays on the row that was chosen last where that is listed, else near its place.

        :param nothing: what is written where there are no rows.
        """
        before = self.row.key if self.row is not None else None
        self._rows, self._view, self._columns, self._nothing = tuple(rows), view, columns, tuple(nothing)
        self._selectable = tuple(i for i, row in enumerate(self._rows) if not isinstance(row, Group))
        self._cursor = self._index_of(self._wanted)
        if self._wanted is None:
            self.keep_row()
        self.guard.swapped(before, self.row.key if self.row is not None else None)
        self.forget_drawn()
        self._measure()
        self._bring_into_view()
        self._refresh_changed()
        self.post_message(RowChosen(self.row))

    def tick(self, now: datetime) -> None:
        """Repaint the left cells, of visible rows only, that read differently at `now`."""
        self._view = self._view.at(now)
        top = self.scroll_offset.y
        regions = []
        for index in range(top, min(top + self.size.height, len(self._rows))):
            drawn = self._drawn.get(index)
            if drawn is not None and drawn != self._left(self._rows[index]):
                width = GUTTER + max(len(drawn[1]), len(self._left(self._rows[index])[1]))
                regions.append(Region(0, index - top, width, 1))
        if regions:
            self.refresh(*regions)

    def forget_drawn(self) -> None:
        """Drop every cached line: rows, columns or colours are others now."""
        self._strips.clear()
        self._drawn.clear()

    def keep_row(self) -> None:
        """The row under the cursor is the one that was meant: the cursor comes back to it when a filter ends."""
        self._wanted = self.row.key if self.row is not None else None
        self.guard.moved()

    def move(self, by: int) -> None:
        """Move the cursor over rows that can be chosen, stopping at the ends."""
        if not self._selectable:
            return
        place = self._place() + by
        self._go(self._selectable[min(max(place, 0), len(self._selectable) - 1)])

    def move_page(self, share: float) -> None:
        """Move by a share of the visible height, negative for up."""
        step = max(1, int(abs(share) * self.size.height))
        self.move(step if share > 0 else -step)

    def move_first(self) -> None:
        """To the first row."""
        self.move(-len(self._rows))

    def move_last(self) -> None:
        """To the last row."""
        self.move(len(self._rows))

    def choose(self, name: str) -> None:
        """Put the cursor on a profile, if it is listed."""
        for index in self._selectable:
            if self._rows[index].key == ("profile", name):
                self._go(index)
                return

    def render_line(self, y: int) -> Strip:
        """Textual's line API."""
        strip = self._on_screen[y] = self._strip_at(y)
        return strip

    def on_resize(self) -> None:
        """Strips are cut to the width."""
        self.forget_drawn()
        self._on_screen.clear()
        self._measure()
        self._bring_into_view()

    def on_click(self, event: events.Click) -> None:
        """A click chooses; a click on the chosen row opens it."""
        index = event.y + self.scroll_offset.y
        if index == self._cursor and self._selectable:
            self.post_message(RowOpened())
        elif index in self._selectable:
            self._go(index)

    def notify_style_update(self) -> None:
        """The theme changed."""
        self.forget_drawn()
        super().notify_style_update()

    def _measure(self) -> None:
        size = Size(self.size.width, len(self._rows))
        if size != self.virtual_size:
            self.virtual_size = size

    def _refresh_changed(self) -> None:
        """Repaint the lines that read differently from what is on the screen, and no others."""
        height = self.size.height
        changed = [y for y in range(height) if self._on_screen.get(y) != self._strip_at(y)]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def _strip_at(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        width = self.size.width
        if index >= len(self._rows):
            if not self._rows and 0 < y <= len(self._nothing):
                return strip_of(self._nothing[y - 1], width, self.style_of, self.rich_style)
            return Strip.blank(width, self.rich_style)
        row = self._rows[index]
        left = self._left(row)
        self._drawn[index] = left
        chosen = index == self._cursor and bool(self._selectable)
        key = (index, chosen, left)
        strip = self._strips.get(key)
        if strip is None or strip.cell_length != width:
            if len(self._strips) > _CACHE_LIMIT:
                self._strips.clear()
            strip = self._strips[key] = self._draw(row, left, width, chosen=chosen)
        return strip

    def _place(self) -> int:
        try:
            return self._selectable.index(self._cursor)
        except ValueError:
            return 0

    def _index_of(self, key: tuple[str, str] | None) -> int:
        if not self._selectable:
            return 0
        for index in self._selectable:
            if self._rows[index].key == key:
                return index
        entries = [i for i in self._selectable if isinstance(self._rows[i], Entry)]
        place = self._cursor if key is not None else 0
        return min(entries or self._selectable, key=lambda index: abs(index - place))

    def _go(self, index: int) -> None:
        if index == self._cursor:
            return
        before, self._cursor = self._cursor, index
        self.keep_row()
        if not self._bring_into_view():
            top = self.scroll_offset.y
            for changed in (before, index):
                self.refresh(Region(0, changed - top, self.size.width, 1))
        self.post_message(RowChosen(self.row))

    def _bring_into_view(self) -> bool:
        """Scroll so that the cursor is seen: by half a page at the edge, since each scroll repaints the whole list.
        True if that scrolled."""
        height = self.size.height
        top = self.scroll_offset.y
        last = max(0, len(self._rows) - height)
        if height <= 0 or (top <= self._cursor < top + height and top <= last):
            return False
        wanted = min(max(0, self._cursor - height // 2), last)
        if not self._selectable or self._cursor == self._selectable[0]:
            wanted = 0  # so that a heading above the first row is seen too
        # Forced, since a list that fitted until now has no scroll bar yet, and would not move.
        self.scroll_to(y=wanted, animate=False, immediate=True, force=True)
        return wanted != top

    def _left(self, row: Row) -> tuple[Span, str]:
        if isinstance(row, Entry):
            return state_glyph(row.profile, self._view), left_text(row.profile, self._view)
        if isinstance(row, Problem):
            return (self._view.glyphs.broken, "broken"), "file"
        return ("", ""), ""

    def _draw(self, row: Row, left: tuple[Span, str], width: int, *, chosen: bool) -> Strip:
        if isinstance(row, Group):
            rule = "-" if self._view.glyphs.fresh == "+" else "─"
            label = f"{rule} {row.label} "
            text = fit(label, min(width, max(0, width - 1)))
            line: Line = ((text.rstrip() + " ", "muted"), (rule * width, "muted"))
            return strip_of(line, width, self.style_of, self.rich_style)
        (glyph, role), words = left
        mark = self._view.glyphs.cursor if chosen else " "
        columns = self._columns
        first = columns[0].width
        spans: list[Span] = [(f"{mark} {glyph} {fit(words, first)}", role)]
        if isinstance(row, Problem):
            place = self._shown(row.problem.path) + (f":{row.problem.line}" if row.problem.line else "")
            spans.append((fit(f"{place}  {row.problem.reason}", max(0, width - GUTTER - first)), "error"))
        else:
            spans += [self._cell(row, column) for column in columns[1:]]
        style_of = self._chosen_style_of if chosen else self.style_of
        base = style_of("text")
        return strip_of(tuple(spans), width, style_of, base)

    def _cell(self, row: Entry, column: Column) -> Span:
        profile = row.profile
        last = column is self._columns[-1]
        room = column.width - (0 if last else 1)
        gap = "" if last else " "
        match column.field:
            case Field.PROFILE:
                failed = last and self._view.failure(profile) is not None
                return fit(profile.name, room) + gap, "error" if failed else "text"
            case Field.TYPE:
                return fit(TYPES[profile.kind], room) + gap, "text"
            case Field.ACCOUNT:
                return fit(profile.account or "-", room) + gap, "text"
            case _:
                words, role = rotation_cell(profile, self._view)
                return fit(words, room) + gap, role

    def _chosen_style_of(self, role: str) -> Style:
        own, cursor = self.style_of(role), self.style_of("cursor")
        return own + Style(
            bgcolor=cursor.bgcolor, reverse=cursor.reverse, bold=True if role == "text" else own.bold
        )
