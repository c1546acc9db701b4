"""The line that says what was just done, or why it was not; two or three where that does not fit."""

from __future__ import annotations

from datetime import datetime

from keyturn_tui.rendering.profile_cells import Line, fit
from keyturn_tui.rendering.profile_detail import wrapped
from keyturn_tui.widgets.styled_lines import StyledLines

#: Rows that a message may take where the terminal has so many.
MOST = 3
TALL = 20


class StatusLine(StyledLines):
    """The last thing worth saying, with the time it was said."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id)
        self._said: tuple[str, str, datetime] | None = None

    def say(self, text: str, role: str, now: datetime) -> None:
        """Replace what stands there."""
        self._said = (text, role, now)
        self._paint()

    def on_resize(self) -> None:
        """Cut anew."""
        self._paint()

    def _paint(self) -> None:
        if self._said is None:
            return
        text, role, when = self._said
        room = max(10, self.size.width - 12)
        parts = wrapped(text, room)
        most = MOST if self.app.size.height >= TALL else 1
        if len(parts) > most:
            parts = [*parts[: most - 1], fit(" ".join(parts[most - 1 :]), room).rstrip()]
        self.styles.height = len(parts)
        at = f" {when:%H:%M:%S}  "
        lines: list[Line] = [
            ((at if not nth else " " * len(at), "muted"), (part, role)) for nth, part in enumerate(parts)
        ]
        self.show(lines)
