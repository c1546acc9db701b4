"""Keys that move the time window of a chart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from keyturn.model.text import span
from keyturn_tui.rendering.timeline_scale import DEFAULT_SPAN, MAX_SCROLL, Window, window_at, zoom
from keyturn_tui.state import AppState


class TimeWindow:
    """Mixin for an `ActionScreen` with a chart: the window's span, and its distance from now in eighths of
    the span."""

    state: AppState
    draw_chart: Callable[[], None]
    """Draws the chart for the current window."""
    _span: timedelta = DEFAULT_SPAN
    _offset: int = 0

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

    def window_changed(self) -> None:
        """Redraw after a key changed the window."""
        self.draw_chart()

    def do_timeline_zoom_in(self) -> None:
        """Select the next shorter span and return to now."""
        self._zoom(-1)

    def do_timeline_zoom_out(self) -> None:
        """Select the next longer span and return to now."""
        self._zoom(1)

    def do_timeline_earlier(self) -> None:
        self._scroll(-2)

    def do_timeline_later(self) -> None:
        self._scroll(2)

    def do_timeline_now(self) -> None:
        self._offset = 0
        self.window_changed()

    def _zoom(self, by: int) -> None:
        self._span, self._offset = zoom(self._span, by), 0
        self.window_changed()

    def _scroll(self, by: int) -> None:
        limit = 8 * MAX_SCROLL
        self._offset = min(max(self._offset + by, -limit), limit)
        self.window_changed()
