"""The profile list. It is drawn line by line, so that 5,000 rows cost as much as 30."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from keyturn.model.profile import FileWarning, Profile
from keyturn_tui.messages import CursorMoved, RowOpened
from keyturn_tui.rendering.layout import GUTTER, Column, Field
from keyturn_tui.rendering.profile_cells import (
    Line,
    Span,
    View,
    fit,
    left_text,
    rotation_cell,
    state_glyph,
    type_label,
)
from keyturn_tui.rendering.profile_rows import Entry, Group, Problem, Row
from keyturn_tui.widgets.cursor import CursorGuard, CursorList
from keyturn_tui.widgets.styled_lines import RoleStyles, line_strip

#: Maximum number of cached strips, a few screens' worth.
_CACHE_LIMIT = 512


class ProfileList(ScrollView, RoleStyles, CursorList, can_focus=True, inherit_bindings=False):
    """Rows with a cursor. Cells that change with time are at the left, so that a tick repaints few cells.

    `ScrollView` is the first base, because Textual takes a widget's default styles from its first base only.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    ProfileList { height: 1fr; scrollbar-size: 0 0; overflow-x: hidden; background: $background; }
    """

    def __init__(self, view: View, display_path: Callable[[str], str], *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._display_path = display_path
        self._view = view
        self._columns: tuple[Column, ...] = ()
        self.rows: tuple[Row, ...] = ()
        """All rows, including those scrolled out of view."""
        self._selectable: tuple[int, ...] = ()
        self._cursor = 0
        self._pinned_key: tuple[str, str] | None = None
        self.guard = CursorGuard()
        self._placeholder: tuple[Line, ...] = ()
        self._strips: dict[tuple[int, bool, tuple[Span, str]], Strip] = {}
        self._left_cells: dict[int, tuple[Span, str]] = {}
        self._visible_strips: dict[int, Strip] = {}

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self._cursor] if self._selectable else None

    def show(
        self, rows: Sequence[Row], view: View, columns: tuple[Column, ...], placeholder: Sequence[Line]
    ) -> None:
        """Replace all rows. The cursor stays on the pinned row if that is listed, else near its position.

        :param placeholder: text if there are no rows.
        """
        previous = self.row.key if self.row is not None else None
        self.rows, self._placeholder = tuple(rows), tuple(placeholder)
        self._view, self._columns = view, columns
        self._selectable = tuple(i for i, row in enumerate(self.rows) if not isinstance(row, Group))
        self._cursor = self._index_of(self._pinned_key)
        if self._pinned_key is None:
            self.pin_row()
        self.guard.rows_changed(previous, self.row.key if self.row is not None else None)
        self.clear_cache()
        self.virtual_size = Size(self.size.width, len(self.rows))
        self._bring_into_view()
        self._refresh_changed()
        self.post_message(CursorMoved())

    def tick(self, now: datetime) -> None:
        """Repaint the left cells of visible rows that changed."""
        self._view = self._view.at(now)
        top = self.scroll_offset.y
        regions = []
        for index in range(top, min(top + self.size.height, len(self.rows))):
            left_cell = self._left_cells.get(index)
            if left_cell is not None and left_cell != self._left_cell(self.rows[index]):
                width = GUTTER + max(len(left_cell[1]), len(self._left_cell(self.rows[index])[1]))
                regions.append(Region(0, index - top, width, 1))
        if regions:
            self.refresh(*regions)

    def clear_cache(self) -> None:
        """Clear cached strips after rows, columns or colours changed."""
        self._strips.clear()
        self._left_cells.clear()

    def pin_row(self) -> None:
        """Pin the selected row: the cursor returns to it when a filter is cleared."""
        self._pinned_key = self.row.key if self.row is not None else None
        self.guard.cursor_moved()

    def move(self, by: int) -> None:
        """Move the cursor over selectable rows, clamped to both ends."""
        if not self._selectable:
            return
        position = self._selectable.index(self._cursor) + by
        self._move_to(self._selectable[min(max(position, 0), len(self._selectable) - 1)])

    def select_profile(self, name: str) -> None:
        """Move the cursor to a profile, if it is listed."""
        index = self._find(("profile", name))
        if index is not None:
            self._move_to(index)

    def render_line(self, y: int) -> Strip:
        strip = self._visible_strips[y] = self._strip_at(y)
        return strip

    def on_resize(self) -> None:
        """Clear the cache, because strips have the old width."""
        self.clear_cache()
        self._visible_strips.clear()
        self.virtual_size = Size(self.size.width, len(self.rows))
        self._bring_into_view()

    def on_click(self, event: events.Click) -> None:
        """Select the clicked row, or open it if it is already selected."""
        index = event.y + self.scroll_offset.y
        if index == self._cursor and self._selectable:
            self.post_message(RowOpened())
        elif index in self._selectable:
            self._move_to(index)

    def notify_style_update(self) -> None:
        self.clear_cache()
        super().notify_style_update()

    def _refresh_changed(self) -> None:
        """Repaint the visible lines that changed."""
        height = self.size.height
        changed_index = [y for y in range(height) if self._visible_strips.get(y) != self._strip_at(y)]
        if changed_index:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed_index))

    def _strip_at(self, y: int) -> Strip:
        index = y + self.scroll_offset.y
        width = self.size.width
        if index >= len(self.rows):
            if not self.rows and 0 < y <= len(self._placeholder):
                return line_strip(self._placeholder[y - 1], width, self.style_of, self.rich_style)
            return Strip.blank(width, self.rich_style)
        row = self.rows[index]
        left = self._left_cells[index] = self._left_cell(row)
        selected = index == self._cursor and bool(self._selectable)
        key = (index, selected, left)
        strip = self._strips.get(key)
        if strip is None or strip.cell_length != width:
            if len(self._strips) > _CACHE_LIMIT:
                self._strips.clear()
            strip = self._strips[key] = self._row_strip(row, left, width, selected=selected)
        return strip

    def _find(self, key: tuple[str, str] | None) -> int | None:
        return next((index for index in self._selectable if self.rows[index].key == key), None)

    def _index_of(self, key: tuple[str, str] | None) -> int:
        if not self._selectable:
            return 0
        same_row = self._find(key)
        if same_row is not None:
            return same_row
        entries = [i for i in self._selectable if isinstance(self.rows[i], Entry)]
        position = self._cursor if key is not None else 0
        return min(entries or self._selectable, key=lambda index: abs(index - position))

    def _move_to(self, index: int) -> None:
        if index == self._cursor:
            return
        previous, self._cursor = self._cursor, index
        self.pin_row()
        if not self._bring_into_view():
            top = self.scroll_offset.y
            for changed_index in (previous, index):
                self.refresh(Region(0, changed_index - top, self.size.width, 1))
        self.post_message(CursorMoved())

    def _bring_into_view(self) -> bool:
        """Scroll so that the cursor is visible: by half a page at the edge, because each scroll repaints the
        whole list. Return True if it scrolled."""
        height = self.size.height
        top = self.scroll_offset.y
        last = max(0, len(self.rows) - height)
        if height <= 0 or (top <= self._cursor < top + height and top <= last):
            return False
        target_top = min(max(0, self._cursor - height // 2), last)
        if not self._selectable or self._cursor == self._selectable[0]:
            target_top = 0  # so that a heading above the first row is visible
        # Forced, because a list that fitted until now has no scroll bar yet and would not move.
        self.scroll_to(y=target_top, animate=False, immediate=True, force=True)
        return target_top != top

    def _left_cell(self, row: Row) -> tuple[Span, str]:
        if isinstance(row, Entry):
            return state_glyph(row.profile, self._view), left_text(row.profile, self._view)
        if isinstance(row, Problem):
            if isinstance(row.problem, FileWarning):
                return (self._view.glyphs.due, "soon"), "line"
            return (self._view.glyphs.broken, "broken"), "file"
        return ("", ""), ""

    def _row_strip(self, row: Row, left: tuple[Span, str], width: int, *, selected: bool) -> Strip:
        if isinstance(row, Group):
            rule = "-" if self._view.glyphs.fresh == "+" else "─"
            heading = fit(f"{rule} {row.label} ", max(0, width - 1)).rstrip()
            line: Line = ((f"{heading} {rule * width}", "muted"),)
            return line_strip(line, width, self.style_of, self.rich_style)
        (glyph, role), text = left
        mark = self._view.glyphs.cursor if selected else " "
        first = self._columns[0].width
        spans: list[Span] = [(f"{mark} {glyph} {fit(text, first)}", role)]
        if isinstance(row, Problem):
            location = self._display_path(row.problem.path) + (
                f":{row.problem.line}" if row.problem.line else ""
            )
            color = "soon" if isinstance(row.problem, FileWarning) else "error"
            spans.append((fit(f"{location}  {row.problem.reason}", max(0, width - GUTTER - first)), color))
        else:
            spans += [self._cell(row.profile, column) for column in self._columns[1:]]
        style_of = self._selected_style_of if selected else self.style_of
        return line_strip(tuple(spans), width, style_of, style_of("text"))

    def _cell(self, profile: Profile, column: Column) -> Span:
        last = column is self._columns[-1]
        match column.field:
            case Field.PROFILE:
                failed = last and self._view.failure(profile) is not None
                text, role = profile.name, "error" if failed else "text"
            case Field.TYPE:
                text, role = type_label(profile), "text"
            case Field.ACCOUNT:
                text, role = profile.account or "-", "text"
            case _:
                text, role = rotation_cell(profile, self._view)
        return fit(text, column.width) if last else fit(text, column.width - 1) + " ", role

    def _selected_style_of(self, role: str) -> Style:
        style, cursor = self.style_of(role), self.style_of("cursor")
        return style + Style(
            bgcolor=cursor.bgcolor, reverse=cursor.reverse, bold=True if role == "text" else style.bold
        )
