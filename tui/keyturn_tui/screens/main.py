"""The main screen: profile list, details, timeline strip and filter."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input

from keyturn.model.text import safe
from keyturn.profiles.filter import parse
from keyturn_tui.actions import allowed_actions, bindings, row_actions
from keyturn_tui.controllers.profiles import ProfileController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.messages import CursorMoved, RowOpened
from keyturn_tui.rendering.layout import GUTTER, TOO_SMALL, DetailPlace, columns_for
from keyturn_tui.rendering.profile_detail import empty_list_lines, summary_lines
from keyturn_tui.rendering.profile_rows import Entry, Row, Sort, count, deadlines, filter_rows, sort_rows
from keyturn_tui.rendering.timeline_rows import session_rows
from keyturn_tui.screens.list_screen import ListScreen
from keyturn_tui.screens.timeline import TimelineScreen
from keyturn_tui.state import AppState
from keyturn_tui.widgets.detail_pane import DetailPane
from keyturn_tui.widgets.fields import PlainField
from keyturn_tui.widgets.footer import Footer
from keyturn_tui.widgets.header import Header
from keyturn_tui.widgets.profile_list import ProfileList
from keyturn_tui.widgets.status_line import StatusLine
from keyturn_tui.widgets.styled_lines import StyledLines, set_border_text
from keyturn_tui.widgets.timeline_strip import TimelineStrip

#: Actions of the footer; the last ones are dropped if there is not enough room.
_FOOTER_IDS = ("session.refresh", "session.refresh_due", "open", "timeline", "filter", "sort")


class MainScreen(ListScreen):
    """Keeps filter and sort order; everything else comes from `AppState`."""

    BINDINGS: ClassVar[list[BindingType]] = bindings()
    AUTO_FOCUS = "#list"
    DEFAULT_CSS = """
    MainScreen #body { height: 1fr; }
    MainScreen #list-pane, MainScreen DetailPane { border: round $border; border-title-color: $text-muted-own;
        border-subtitle-color: $text-muted-own; }
    MainScreen #list-pane:focus-within, MainScreen DetailPane:focus { border: round $state-working; }
    MainScreen.-ascii #list-pane, MainScreen.-ascii DetailPane { border: ascii $border; }
    MainScreen.-bare #list-pane { border: none; }
    MainScreen.-bare Header, MainScreen.-small .whole, MainScreen #too-small,
    MainScreen.-small StatusLine, MainScreen.-small Footer { display: none; }
    MainScreen.-small #too-small { display: block; }
    MainScreen #summary { height: 2; }
    MainScreen #filter-row { height: 1; display: none; }
    MainScreen.-filtering StatusLine { display: none; }
    MainScreen #filter-label { width: 9; }
    """

    def __init__(self, state: AppState, controller: ProfileController, ui: Ui) -> None:
        super().__init__(state, controller, ui)
        self._sort = Sort.SOURCE
        self._query = parse(state.options.filter)
        self._sorted_rows: tuple[Row, ...] = ()
        self._deadlines: list[datetime] = []
        self._last_tick = state.now()

    def compose(self) -> ComposeResult:
        """Yield all parts; :meth:`_apply_frame` hides those that do not fit."""
        yield StyledLines([((TOO_SMALL, "soon"),)], id="too-small")
        yield Header(classes="whole")
        with Horizontal(id="body", classes="whole"):
            with Vertical(id="list-pane"):
                yield StyledLines(id="titles")
                yield ProfileList(self.state.view(), self.state.display_path, id="list")
            yield DetailPane(self.state.display_path, id="detail")
        yield StyledLines(id="summary", classes="whole")
        yield TimelineStrip(id="strip", classes="whole")
        yield StatusLine(id="message")
        with Horizontal(id="filter-row", classes="whole"):
            yield StyledLines([((" Filter: ", "title"),)], id="filter-label")
            yield PlainField(id="filter")
        yield Footer(id="footer")

    def on_mount(self) -> None:
        self.query_one("#filter", PlainField).value = self.state.options.filter
        self.query_one("#detail", DetailPane).border_title = Content("2 Details")
        self._apply_frame()

    @property
    def selected_row(self) -> Row | None:
        """The row under the cursor."""
        return self.row_list.row

    def redraw(self) -> None:
        """Rebuild the rows. The cursor stays on its profile."""
        view = self.state.view()
        self._sorted_rows = sort_rows(self.state.catalog, view, self._sort, backwards=self._is_reversed)
        self._deadlines = [
            m for m in deadlines(e.profile for e in self.state.catalog.entries) if m > view.now
        ]
        self._show_filtered()
        self._update_counts()
        self._update_detail()
        if self._frame.strip:
            self._strip.set_rows(session_rows(self.state.catalog))
        self.draw_chart()

    def draw_chart(self) -> None:
        """Draw the timeline strip, if there is room for it."""
        if self._frame.strip:
            title = f"3 Timeline {self.rule} {self.window_words}"
            self._strip.draw(self.state.view(), self.window, title)

    def tick(self) -> None:
        """Repaint what changed: left cells of visible rows, clock and countdowns; counts if a profile's state
        changed."""
        view = self.state.view()
        passed = bisect_right(self._deadlines, view.now)
        del self._deadlines[:passed]
        clock_went_back = view.now < self._last_tick
        self._last_tick = view.now
        self.query_one(Header).tick(view.now)
        self.row_list.tick(view.now)
        if clock_went_back or (passed and self._depends_on_states()):
            self.redraw()
            return
        if passed:
            self._update_counts()
        self._update_detail()
        self.draw_chart()

    def on_cursor_moved(self, message: CursorMoved) -> None:
        message.stop()
        self._update_detail()

    def on_row_opened(self, message: RowOpened) -> None:
        """Open a row that was clicked twice."""
        message.stop()
        self.do_open()

    def on_input_changed(self, message: Input.Changed) -> None:
        message.stop()
        self._query = parse(message.value)
        self._show_filtered()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Return to the filtered list."""
        message.stop()
        self.row_list.pin_row()
        self._close_filter()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Treat `/` as text in the filter field."""
        if action == "run" and parameters == ("filter",):
            return self.focused is None or self.focused.id != "filter"
        return True

    @property
    def row_list(self) -> ProfileList:
        """The profile list."""
        return self.query_one("#list", ProfileList)

    def move_cursor(self, by: int) -> None:
        """Scroll the detail pane if it has the focus, else move the cursor."""
        if self._detail.has_focus:
            self._detail.scroll_lines(by)
        else:
            super().move_cursor(by)

    def do_pane_next(self) -> None:
        """Move the focus between list and detail pane."""
        if self._detail.has_focus or self._frame.detail is not DetailPlace.RIGHT:
            self.row_list.focus()
        else:
            self._detail.focus()

    def do_pane_list(self) -> None:
        self.row_list.focus()

    def do_pane_detail(self) -> None:
        """Focus the detail pane, or open the detail screen if there is no pane."""
        if self._frame.detail is DetailPlace.RIGHT:
            self._detail.focus()
        else:
            self.do_open()

    def do_filter(self) -> None:
        """Focus the filter field at once, so that the keys typed next are not taken for actions."""
        self.add_class("-filtering")
        self.query_one("#filter-row").display = True
        self.set_focus(self.query_one("#filter", PlainField))

    def do_back(self) -> None:
        """Leave the filter field, the detail pane, a running refresh of all, or the filter; the first that
        applies."""
        field = self.query_one("#filter", PlainField)
        if self.focused is field:
            field.value = ""
            self._close_filter()
        elif self._detail.has_focus:
            self.row_list.focus()
        elif self.controller.cancel_remaining():
            self.ui.show_message("Skipping the rest; running refreshes finish.")
        elif self._query:
            field.value = ""

    def do_open(self) -> None:
        if self.focused is not self.query_one("#filter", PlainField):
            super().do_open()

    def do_timeline(self) -> None:
        self.app.push_screen(TimelineScreen(self.state, self.controller, self.ui))

    def window_changed(self) -> None:
        """Redraw the strip, or explain that the key needs the timeline."""
        if self._frame.strip:
            self.draw_chart()
        else:
            self.ui.show_message("This key works in the timeline (t).")

    def do_sort(self) -> None:
        self._sort = self._sort.next_order()
        self.redraw()

    def select_profile(self, name: str) -> None:
        """Move the cursor to a profile; clears a filter that hides it."""
        if not any(isinstance(row, Entry) and row.profile.name == name for row in self.row_list.rows):
            self._query = parse("")
            self.query_one("#filter", PlainField).value = ""
            self._show_filtered()
        self.row_list.select_profile(name)

    @property
    def _detail(self) -> DetailPane:
        return self.query_one("#detail", DetailPane)

    @property
    def _strip(self) -> TimelineStrip:
        return self.query_one("#strip", TimelineStrip)

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.query_one("#filter-row").display = False
        self.set_focus(self.row_list)

    def _depends_on_states(self) -> bool:
        """Return True if a change of state can add, remove or reorder rows."""
        return self._sort is Sort.ATTENTION or any(term.field == "state" for term in self._query.terms)

    def _apply_frame(self) -> None:
        super()._apply_frame()
        frame = self._frame
        self._detail.display = frame.detail is DetailPlace.RIGHT
        self._detail.styles.width = frame.detail_width or 1
        self.query_one("#summary").display = frame.detail is DetailPlace.LINES
        self._strip.display = frame.strip
        titles = "".join(f"{column.field.upper():<{column.width}}" for column in columns_for(*self.app.size))
        self.query_one("#titles", StyledLines).show([((" " * GUTTER + titles, "heading"),)])
        self.query_one(Header).tick(self.state.now())

    def _show_filtered(self) -> None:
        view = self.state.view()
        rows = filter_rows(self._sorted_rows, self._query, view, self._sort)
        placeholder = empty_list_lines(self.state, self._query)
        self.row_list.show(rows, view, columns_for(*self.app.size), placeholder)
        self._update_border_text(rows)

    def _update_border_text(self, rows: tuple[Row, ...]) -> None:
        order_text = f"{self._sort.value}, reversed" if self._is_reversed else self._sort.value
        text = safe(self.query_one("#filter", PlainField).value, 30)
        title = f"1 Profiles {self.rule} sort: {order_text}" + (
            f" {self.rule} /{text}" if self._query else ""
        )
        shown_count, total = sum(isinstance(row, Entry) for row in rows), len(self.state.catalog.entries)
        subtitle = f"{shown_count} of {total}" if self._query else ""
        set_border_text(self.query_one("#list-pane"), title, subtitle)

    def _update_counts(self) -> None:
        view = self.state.view()
        folder = self.state.display_path(str(self.state.service.paths.aws_config.parent))
        self.query_one(Header).show(count(self.state.profiles, view), view, safe(folder, 40))

    def _update_detail(self) -> None:
        row, view = self.selected_row, self.state.view()
        if self._frame.detail is DetailPlace.RIGHT:
            self._detail.show(row, view)
        elif self._frame.detail is DetailPlace.LINES:
            self.query_one("#summary", StyledLines).show(summary_lines(row, self.state))
        fixed = allowed_actions(_FOOTER_IDS, view)
        self.query_one("#footer", Footer).offer(fixed, row_actions(row, view), row, view)
