"""Status line: the last message, on up to three lines."""

from __future__ import annotations

from datetime import datetime

from keyturn_tui.rendering.profile_cells import Line, fit, wrap
from keyturn_tui.widgets.styled_lines import StyledLines

#: Maximum number of lines, on terminals of at least this height.
MAX_LINES = 3
TALL_HEIGHT = 20


class StatusLine(StyledLines):
    """The last message with its time."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._message: tuple[str, str, datetime] | None = None

    def show_message(self, text: str, role: str, now: datetime) -> None:
        """Replace the message."""
        self._message = (text, role, now)
        self._paint()

    def on_resize(self) -> None:
        self._paint()

    def _paint(self) -> None:
        if self._message is None:
            return
        text, role, at_time = self._message
        width = max(10, self.size.width - 12)
        parts = wrap(text, width)
        max_lines = MAX_LINES if self.app.size.height >= TALL_HEIGHT else 1
        if len(parts) > max_lines:
            parts = [*parts[: max_lines - 1], fit(" ".join(parts[max_lines - 1 :]), width).rstrip()]
        self.styles.height = len(parts)
        prefix = f" {at_time:%H:%M:%S}  "
        lines: list[Line] = [
            ((prefix if not index else " " * len(prefix), "muted"), (part, role))
            for index, part in enumerate(parts)
        ]
        self.show(lines)
