"""Base of the screens with a list and a chart: the main screen and the timeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

from keyturn.model.text import span
from keyturn_tui.rendering.layout import frame_for
from keyturn_tui.rendering.timeline_scale import DEFAULT_SPAN, MAX_SCROLL, Window, window_at, zoom
from keyturn_tui.screens.base import ActionScreen
from keyturn_tui.screens.detail import DetailScreen
from keyturn_tui.widgets.cursor import FAR, CursorList, Key


class ListScreen(ActionScreen):
    """Moves the cursor of a list, `row_list`, and the time window of a chart: its span, and its distance from
    now in eighths of the span."""

    _is_reversed = False
    _frame = frame_for(80, 24)
    _span = DEFAULT_SPAN
    _offset = 0

    @property
    def row_list(self) -> CursorList:
        """The list. Each screen overrides it; a screen cannot be abstract, because its metaclass is not
        ABCMeta."""
        raise NotImplementedError

    def draw_chart(self) -> None:
        """Draw the chart for the current window."""

    @property
    def window(self) -> Window:
        """The visible time range. It follows the clock unless it was scrolled."""
        return window_at(self.state.now(), self._span, self._offset)

    @property
    def window_words(self) -> str:
        """The window as text, for example `4h, 13:00 to 17:00 UTC`."""
        window = self.window
        if self._span < timedelta(days=1) and not self._offset:
            return f"{span(self._span)}, {window.start:%H:%M} to {window.end:%H:%M} UTC"
        return f"{span(self._span)}, {window.start:%d %b %H:%M} to {window.end:%d %b %H:%M} UTC"

    @property
    def rule(self) -> str:
        """The horizontal line in titles."""
        return "-" if self.state.terminal.ascii else "─"

    def command(self, action_id: str) -> Callable[[], None] | None:
        """Return the movement of the cursor or the window that has this id, else the method of the action."""
        movement = _MOVEMENTS.get(action_id)
        return super().command(action_id) if movement is None else partial(movement, self)

    def lost_row(self) -> Key | None:
        """Return the row that the pressed key was meant for, if it was just removed; see
        :class:`CursorGuard`."""
        lost_row = self.row_list.guard.lost_row()
        self.row_list.guard.cursor_moved()
        return lost_row

    def on_resize(self) -> None:
        self._apply_frame()

    def move_cursor(self, by: int) -> None:
        """Move by rows; negative is up."""
        self.row_list.move(by)

    def window_changed(self) -> None:
        """Redraw after a key changed the window."""
        self.draw_chart()

    def do_timeline_now(self) -> None:
        self._offset = 0
        self.window_changed()

    def do_open(self) -> None:
        if self.selected_row is not None:
            self.app.push_screen(DetailScreen(self.state, self.controller, self.ui, self.selected_row))

    def do_sort_reverse(self) -> None:
        self._is_reversed = not self._is_reversed
        self.redraw()

    def _apply_frame(self) -> None:
        """Hide what does not fit."""
        self._frame = frame_for(*self.app.size)
        self.set_class(self._frame.too_small, "-small")
        self.set_class(not self._frame.borders, "-bare")

    def zoom_by(self, by: int) -> None:
        """Select a span by its place in `SPANS`, counted from the current one, and return to now."""
        self._span, self._offset = zoom(self._span, by), 0
        self.window_changed()

    def scroll_window(self, by: int) -> None:
        """Scroll by eighths of the span; negative is earlier."""
        limit = 8 * MAX_SCROLL
        self._offset = min(max(self._offset + by, -limit), limit)
        self.window_changed()


_MOVEMENTS: Mapping[str, Callable[[ListScreen], None]] = {
    "list.down": lambda screen: screen.move_cursor(1),
    "list.up": lambda screen: screen.move_cursor(-1),
    "list.first": lambda screen: screen.row_list.move(-FAR),
    "list.last": lambda screen: screen.row_list.move(FAR),
    "list.half_down": lambda screen: screen.row_list.move_page(0.5),
    "list.half_up": lambda screen: screen.row_list.move_page(-0.5),
    "list.page_down": lambda screen: screen.row_list.move_page(1),
    "list.page_up": lambda screen: screen.row_list.move_page(-1),
    "timeline.zoom_in": lambda screen: screen.zoom_by(-1),
    "timeline.zoom_out": lambda screen: screen.zoom_by(1),
    "timeline.earlier": lambda screen: screen.scroll_window(-2),
    "timeline.later": lambda screen: screen.scroll_window(2),
}
