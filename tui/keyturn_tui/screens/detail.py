"""Details of one row on the whole screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from keyturn.profiles.status import why_not_rotatable
from keyturn_tui.actions import allowed_actions, bindings
from keyturn_tui.controllers.profiles import ProfileController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.rendering.profile_detail import LABEL, describe_row
from keyturn_tui.rendering.profile_rows import Entry, Row
from keyturn_tui.screens.base import ActionScreen
from keyturn_tui.state import AppState
from keyturn_tui.widgets.cursor import scroll_bindings, scroll_position
from keyturn_tui.widgets.footer import Footer
from keyturn_tui.widgets.status_line import StatusLine
from keyturn_tui.widgets.styled_lines import StyledLines

_FOOTER_IDS = ("session.refresh", "login", "manage", "key.rotate", "session.stop", "back")


class DetailScreen(ActionScreen):
    """Follows its profile across snapshots and offers the actions of the list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(
            (*_FOOTER_IDS, "session.refresh_due", "lock", "theme", "redraw", "palette", "help", "quit")
        ),
        Binding("enter", "run('back')", show=False),
        *scroll_bindings("scroll_by_lines", 10),
    ]
    DEFAULT_CSS = """
    DetailScreen #title { padding: 0 1; }
    DetailScreen #text { height: 1fr; padding: 0 1; margin: 1 0 0 0; }
    """

    def __init__(self, state: AppState, controller: ProfileController, ui: Ui, row: Row) -> None:
        super().__init__(state, controller, ui)
        self._row = row
        self._top = 0

    def compose(self) -> ComposeResult:
        yield StyledLines(id="title")
        yield StyledLines(id="text")
        yield StatusLine(id="message")
        yield Footer(id="footer")

    @property
    def selected_row(self) -> Row | None:
        """The same profile in the latest snapshot."""
        rows: list[Row] = [*self.state.catalog.entries, *self.state.catalog.problems]
        return next((row for row in rows if row.key == self._row.key), None)

    def on_mount(self) -> None:
        self.call_after_refresh(self.redraw)

    def redraw(self) -> None:
        row = self.selected_row
        view = self.state.view()
        text = self.query_one("#text", StyledLines)
        width, missing = max(30, self.app.size.width - 2), ("This profile is no longer in the files.", "soon")
        description = describe_row(row, view, width, display_path=self.state.display_path, missing=missing)
        lines = [
            ((f"{label[0][0] if label else '':<{LABEL}}", "muted"), *value)
            for label, value in zip(description.labels, description.values, strict=True)
        ]
        room = max(1, text.content_size.height)
        self._top = scroll_position(self._top, 0, len(lines), room)
        self.query_one("#title", StyledLines).show([description.title])
        text.show(lines[self._top : self._top + room])
        ids = list(_FOOTER_IDS) if isinstance(row, Entry) else ["back"]
        if isinstance(row, Entry) and why_not_rotatable(row.profile) is not None:
            ids.remove("key.rotate")
        if isinstance(row, Entry) and not row.profile.mfa_serial:  # it would do what Refresh does
            ids.remove("login")
        self.query_one("#footer", Footer).offer(allowed_actions(ids, view), (), row, view)

    def action_scroll_by_lines(self, by: int) -> None:
        self._top = max(0, self._top + by)
        self.redraw()

    def do_back(self) -> None:
        self.dismiss()
