"""Details of the selected row. Labels and values are separate, so that moving the cursor repaints values
only."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from keyturn_tui.rendering.profile_cells import View
from keyturn_tui.rendering.profile_detail import LABEL, describe_row
from keyturn_tui.rendering.profile_rows import Row
from keyturn_tui.widgets.styled_lines import StyledLines


class DetailPane(Vertical, can_focus=True):
    """Shows one row. While it has the focus, :meth:`scroll_lines` scrolls text that is too long."""

    DEFAULT_CSS = """
    DetailPane { background: $background; }
    DetailPane > Horizontal { height: 1fr; }
    DetailPane #labels { width: 10; height: 1fr; }
    DetailPane #values { width: 1fr; height: 1fr; }
    """

    def __init__(self, display_path: Callable[[str], str], *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id)
        self._display_path = display_path
        self._row: Row | None = None
        self._view: View | None = None
        self._top = 0
        self._lines = 0

    def compose(self) -> ComposeResult:
        yield StyledLines(id="detail-title")
        with Horizontal():
            yield StyledLines(id="labels")
            yield StyledLines(id="values")

    def show(self, row: Row | None, view: View) -> None:
        """Show a row; scrolls to the top if it is another row than before."""
        if row is None or self._row is None or row.key != self._row.key:
            self._top = 0
        self._row, self._view = row, view
        self._paint()

    def scroll_lines(self, by: int) -> None:
        """Scroll by lines, clamped to both ends."""
        height = self.query_one("#values", StyledLines).size.height
        self._top = min(max(0, self._top + by), max(0, self._lines - height))
        self._paint()

    def on_resize(self) -> None:
        self._paint()

    def _paint(self) -> None:
        if self._view is None or not self.is_mounted:
            return
        width = max(LABEL + 8, self.content_size.width)
        missing = ("No profile selected", "muted")
        description = describe_row(
            self._row, self._view, width, display_path=self._display_path, missing=missing
        )
        values = self.query_one("#values", StyledLines)
        height = max(1, values.size.height)
        self._lines = len(description.values)
        visible_labels = list(description.labels[self._top : self._top + height])
        visible_values = list(description.values[self._top : self._top + height])
        if self._top + height < self._lines:
            visible_labels[-1] = (("more", "muted"),)
            visible_values[-1] = (("Enter shows everything", "muted"),)
        self.query_one("#detail-title", StyledLines).show([description.title])
        self.query_one("#labels", StyledLines).show(visible_labels)
        values.show(visible_values)
