"""Timeline strip under list and details: the next sessions to expire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical

from keyturn_tui.rendering.profile_cells import Line, View
from keyturn_tui.rendering.timeline_rows import TimelineEntry, room_in, row_line, time_axis, upcoming
from keyturn_tui.rendering.timeline_scale import Window
from keyturn_tui.widgets.styled_lines import StyledLines, set_border_text

#: Rows under the heading.
ROWS = 5


class TimelineStrip(Vertical):
    """The first sessions and sign-ins to expire. It has no cursor."""

    DEFAULT_CSS = f"""
    TimelineStrip {{ height: {ROWS + 3}; border: round $border; border-title-color: $text-muted-own;
        border-subtitle-color: $text-muted-own; }}
    TimelineStrip StyledLines {{ height: 1fr; }}
    .-ascii TimelineStrip {{ border: ascii $border; }}
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, classes=classes)
        self._rows: tuple[TimelineEntry, ...] = ()
        self._visible: tuple[TimelineEntry, ...] = ()
        self._minute: datetime | None = None

    def compose(self) -> ComposeResult:
        yield StyledLines()

    def set_rows(self, rows: Sequence[TimelineEntry]) -> None:
        """Replace the rows, which are sorted by expiry."""
        self._rows = tuple(rows)
        self._minute = None

    def draw(self, view: View, window: Window, title: str) -> None:
        """Draw the rows; unchanged cells are not sent.

        Expired rows are removed once a minute, because with 5,000 sessions one expires every few seconds and
        moves all rows.
        """
        minute = view.now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute, self._visible = minute, tuple(upcoming(self._rows, view.now, ROWS))
        chart = self.query_one(StyledLines)
        room = room_in(chart.size.width)
        lines: list[Line] = [time_axis(window, room, view.now)]
        lines += [row_line(row, view, window, room) for row in self._visible]
        if len(lines) == 1:
            lines.append((("    No sessions with a known expiry.", "muted"),))
        chart.show(lines)
        set_border_text(self, title, "t open, + - zoom")
