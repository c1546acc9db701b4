"""The timeline's strip under list and detail: what ends first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from keyturn_tui.rendering.profile_cells import Line, View
from keyturn_tui.rendering.timeline_rows import TimelineEntry, room_in, row_line, time_axis, upcoming
from keyturn_tui.rendering.timeline_scale import Window
from keyturn_tui.widgets.styled_lines import StyledLines

#: Lanes under the heading.
ROWS = 5


class TimelineStrip(Vertical):
    """The first few sessions and logins that are still to end; there is no cursor in it."""

    DEFAULT_CSS = f"""
    TimelineStrip {{ height: {ROWS + 3}; border: round $border; border-title-color: $text-muted-own;
        border-subtitle-color: $text-muted-own; }}
    TimelineStrip StyledLines {{ height: 1fr; }}
    .-ascii TimelineStrip {{ border: ascii $border; }}
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, classes=classes)
        self._rows: tuple[TimelineEntry, ...] = ()
        self._visible: tuple[TimelineEntry, ...] = ()
        self._minute: datetime | None = None
        self._title = ""

    def compose(self) -> ComposeResult:
        """Heading and lanes in one."""
        yield StyledLines()

    def set_rows(self, rows: Sequence[TimelineEntry]) -> None:
        """Take other sessions, in the order in which they end."""
        self._rows = tuple(rows)
        self._minute = None

    def draw(self, view: View, window: Window, title: str) -> None:
        """Show them as they are at this moment; no cell that stays the same is sent.

        What has ended goes with the minute: of five thousand sessions one ends every few seconds, and moves all lanes up.
        """
        minute = view.now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute, self._visible = minute, tuple(upcoming(self._rows, view.now, ROWS))
        chart = self.query_one(StyledLines)
        room = room_in(chart.size.width)
        lines: list[Line] = [time_axis(window, room, view.now)]
        lines += [row_line(row, view, window, room) for row in self._visible]
        if len(lines) == 1:
            lines.append((("    Nothing that is known to end.", "muted"),))
        chart.show(lines)
        if title != self._title:
            self._title = title
            self.border_title = Content(title)
            self.border_subtitle = Content("t opens it, + - zoom")
