"""List of timeline rows with a cursor. Only visible rows are computed, and only changed cells are sent."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events

from keyturn_tui.messages import CursorMoved
from keyturn_tui.rendering.profile_cells import Line, View
from keyturn_tui.rendering.timeline_rows import Room, TimelineEntry, key_axis, room_in, row_line, time_axis
from keyturn_tui.rendering.timeline_scale import Window
from keyturn_tui.widgets.cursor import CursorGuard, CursorList
from keyturn_tui.widgets.styled_lines import StyledLines


class TimelineList(StyledLines, CursorList):
    """Sessions, then keys under their own heading; a part without rows shows a hint."""

    DEFAULT_CSS = "TimelineList { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._sessions: tuple[TimelineEntry, ...] = ()
        self._keys: tuple[TimelineEntry, ...] = ()
        self._placeholder: tuple[Line, ...] = ()
        self._cursor = 0
        self._top = 0
        self.guard = CursorGuard()

    @property
    def row(self) -> TimelineEntry | None:
        """The row under the cursor."""
        rows = self._rows
        return rows[self._cursor] if self._cursor < len(rows) else None

    def axis(self, view: View, window: Window) -> Line:
        """Return the heading: that of the keys if only keys are visible and their own is scrolled out of
        view."""
        room = room_in(self.size.width)
        if self._keys and self._top > self._keys_at - 1:
            return key_axis(self._keys, room)
        return time_axis(window, room, view.now)

    def set_rows(
        self, sessions: Sequence[TimelineEntry], keys: Sequence[TimelineEntry], placeholder: Sequence[Line]
    ) -> None:
        """Replace the rows. The cursor stays on its row if that is still listed, else at its position.

        :param placeholder: text if there are no sessions.
        """
        key = self.row.key if self.row is not None else None
        self._sessions, self._keys, self._placeholder = tuple(sessions), tuple(keys), tuple(placeholder)
        same_row = (nth for nth, row in enumerate(self._rows) if row.key == key)
        self._cursor = next(same_row, min(self._cursor, max(0, len(self._rows) - 1)))
        self.guard.rows_changed(key, self.row.key if self.row is not None else None)

    def start_at(self, nth: int) -> None:
        """Put the cursor on a row, and show a few rows above it."""
        self._cursor, self._top = nth, max(0, nth - 3)
        self.guard.cursor_moved()

    def move_to(self, nth: int) -> None:
        """Move the cursor to a row, counted from 0, clamped to both ends."""
        self._cursor = min(max(nth, 0), max(0, len(self._rows) - 1))
        self.guard.cursor_moved()
        self.post_message(CursorMoved())

    def move(self, by: int) -> None:
        """Move by rows; negative is up."""
        self.move_to(self._cursor + by)

    def switch_section(self) -> None:
        """Move the cursor from the sessions to the keys, or back."""
        on_session = self._cursor < len(self._sessions)
        if self._sessions and self._keys:
            self.move_to(len(self._sessions) if on_session else 0)

    def draw(self, view: View, window: Window) -> None:
        """Draw the visible rows."""
        height, room = self.size.height, room_in(self.size.width)
        self._bring_into_view(height)
        visible = range(self._top, min(self._top + height, self._keys_at + len(self._keys)))
        self.show([self._line_at(y, view, window, room) for y in visible])

    def on_click(self, event: events.Click) -> None:
        """Select the clicked row."""
        y = event.y + self._top
        if y < len(self._sessions):
            self.move_to(y)
        elif 0 <= y - self._keys_at < len(self._keys):
            self.move_to(len(self._sessions) + y - self._keys_at)

    @property
    def _rows(self) -> tuple[TimelineEntry, ...]:
        return self._sessions + self._keys

    @property
    def _keys_at(self) -> int:
        """Line of the first key. Above it are the sessions or the hint, an empty line and the heading."""
        above = len(self._sessions) or len(self._placeholder)
        return above + 2 if self._keys else above

    def _line_at(self, y: int, view: View, window: Window, room: Room) -> Line:
        if y >= self._keys_at:
            nth = len(self._sessions) + y - self._keys_at
            return row_line(self._rows[nth], view, window, room, selected=nth == self._cursor)
        if y < len(self._sessions):
            return row_line(self._sessions[y], view, window, room, selected=y == self._cursor)
        if y < len(self._placeholder) and not self._sessions:
            return self._placeholder[y]
        return key_axis(self._keys, room) if y == self._keys_at - 1 else ()

    def _bring_into_view(self, height: int) -> None:
        """Scroll by half a page at the edge, because each scroll sends all rows again."""
        last = max(0, self._keys_at + len(self._keys) - height)
        line = self._cursor
        if line >= len(self._sessions):
            line += self._keys_at - len(self._sessions)
        if not (self._top <= line < self._top + height and self._top <= last):
            self._top = min(max(0, line - height // 2), last)
        if self._cursor == 0:
            self._top = 0  # so that a hint above the first row is visible
