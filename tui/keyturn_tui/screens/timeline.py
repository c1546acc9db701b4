"""Timeline of session expiries and key ages on the whole screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from keyturn_tui.actions import allowed_actions, bindings, row_actions
from keyturn_tui.controllers.profiles import ProfileController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.messages import CursorMoved
from keyturn_tui.rendering.layout import TOO_SMALL
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.rendering.profile_rows import Row
from keyturn_tui.rendering.timeline_rows import first_upcoming, key_rows, session_rows
from keyturn_tui.screens.list_screen import ListScreen
from keyturn_tui.state import AppState
from keyturn_tui.widgets.footer import Footer
from keyturn_tui.widgets.status_line import StatusLine
from keyturn_tui.widgets.styled_lines import StyledLines, set_border_text
from keyturn_tui.widgets.timeline_list import TimelineList

#: Actions of the footer; the last ones are dropped if there is not enough room.
_FOOTER_IDS = ("back", "session.refresh", "timeline.zoom_in", "timeline.zoom_out", "timeline.later", "sort")
_ACTION_IDS = (
    *("list.down", "list.up", "list.first", "list.last"),
    *("list.half_down", "list.half_up", "list.page_down", "list.page_up"),
    *_FOOTER_IDS,
    *("timeline", "timeline.earlier", "timeline.now", "pane.next", "pane.list", "open", "sort.reverse"),
    *("session.refresh_due", "login", "manage", "key.rotate", "session.stop", "lock", "renewal.pause"),
    *("theme", "redraw", "palette", "help", "quit"),
)


class TimelineScreen(ListScreen):
    """One row per session and sign-in, then one per long-term key. Actions apply to the selected row's
    profile."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(_ACTION_IDS), Binding("z", "run('back')", show=False)]
    DEFAULT_CSS = """
    TimelineScreen #pane { height: 1fr; border: round $state-working; border-title-color: $text-muted-own; }
    TimelineScreen.-ascii #pane { border: ascii $state-working; }
    TimelineScreen.-bare #pane { border: none; }
    TimelineScreen #too-small, TimelineScreen.-small #pane, TimelineScreen.-small StatusLine,
    TimelineScreen.-small Footer { display: none; }
    TimelineScreen.-small #too-small { display: block; }
    """

    def __init__(self, state: AppState, controller: ProfileController, ui: Ui) -> None:
        super().__init__(state, controller, ui)
        self._by_name = False

    def compose(self) -> ComposeResult:
        """Yield a heading that stays while the rows under it scroll."""
        yield StyledLines([((TOO_SMALL, "soon"),)], id="too-small")
        with Vertical(id="pane"):
            yield StyledLines(id="axis")
            yield TimelineList(id="lanes")
        yield StatusLine(id="message")
        yield Footer(id="footer")

    def on_mount(self) -> None:
        """Place the cursor on the next expiry."""
        self._apply_frame()
        self._set_rows()
        self.row_list.start_at(first_upcoming(session_rows(self.state.catalog), self.state.now()))
        self.call_after_refresh(self.redraw)

    @property
    def selected_row(self) -> Row | None:
        """The profile of the selected row in the latest snapshot."""
        row = self.row_list.row
        return row.entry if row is not None else None

    def redraw(self) -> None:
        self._set_rows()
        self.draw_chart()

    def tick(self) -> None:
        """Redraw; only changed cells are sent."""
        self.draw_chart()

    def on_cursor_moved(self, message: CursorMoved) -> None:
        message.stop()
        self.draw_chart()

    def draw_chart(self) -> None:
        """Draw the visible rows, the heading and the footer."""
        view, window, timeline = self.state.view(), self.window, self.row_list
        timeline.draw(view, window)
        self.query_one("#axis", StyledLines).show([timeline.axis(view, window)])
        self._update_title()
        row = self.selected_row
        dynamic = row_actions(row, view) if self.app.size.width >= 60 else ()
        self.query_one("#footer", Footer).offer(allowed_actions(_FOOTER_IDS, view), dynamic, row, view)

    def do_timeline(self) -> None:
        """Close the timeline, because `t` toggles it."""
        self.do_back()

    def do_back(self) -> None:
        """Stop a running refresh of all, or close the timeline."""
        if self.controller.cancel_remaining():
            self.ui.show_message("Skipping the rest; running refreshes finish.")
        else:
            self.dismiss()

    def do_pane_list(self) -> None:
        self.dismiss()

    def do_sort(self) -> None:
        """Toggle between expiry and name."""
        self._by_name = not self._by_name
        self.redraw()

    def do_pane_next(self) -> None:
        """Move the cursor between sessions and keys."""
        self.row_list.switch_section()

    @property
    def row_list(self) -> TimelineList:
        """The list of timeline rows."""
        return self.query_one("#lanes", TimelineList)

    def _set_rows(self) -> None:
        sessions, keys = session_rows(self.state.catalog), key_rows(self.state.catalog)
        if self._by_name:
            sessions = tuple(sorted(sessions, key=lambda row: row.label.lower()))
            keys = tuple(sorted(keys, key=lambda row: row.label.lower()))
        if self._is_reversed:
            sessions, keys = sessions[::-1], keys[::-1]
        self.row_list.set_rows(sessions, keys, self._empty_hint())

    def _empty_hint(self) -> tuple[Line, ...]:
        if self.state.snapshot is None:
            return ((("  Reading AWS config files…", "muted"),),)
        return (
            (("  No sessions or sign-ins yet.", "text"),),
            (("  Press Esc for the list, then r to get a session.", "muted"),),
        )

    def _update_title(self) -> None:
        order_text = ("name" if self._by_name else "expiry") + (", reversed" if self._is_reversed else "")
        title = f"3 Timeline {self.rule} {self.window_words} {self.rule} sort: {order_text}"
        set_border_text(self.query_one("#pane"), title)
