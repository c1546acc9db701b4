"""Moving about in the main screen: cursor, panes, filter field."""

from __future__ import annotations

from textual.widgets import Input

from keyturn.filtering import Query, parse
from keyturn_tui.layout import DetailPlace, Frame, frame_for
from keyturn_tui.messages import RowOpened
from keyturn_tui.screens.charted import ChartedScreen
from keyturn_tui.screens.detail import DetailScreen
from keyturn_tui.screens.timeline import TimelineScreen
from keyturn_tui.widgets.detail_pane import DetailPane
from keyturn_tui.widgets.fields import PlainField
from keyturn_tui.widgets.profile_list import ProfileList


class BrowsingScreen(ChartedScreen):
    """Has a list, a detail pane and a filter field; the main screen says what they show."""

    _frame: Frame = frame_for(80, 24)
    _query: Query = parse("")

    def _sift(self) -> None:
        """Show the rows that pass the filter."""

    def on_row_opened(self, message: RowOpened) -> None:
        """A second click."""
        message.stop()
        self.do_open()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Each key in the filter field."""
        message.stop()
        self._query = parse(message.value)
        self._sift()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter in the filter field: back to the list, filtered."""
        message.stop()
        self._list.keep_row()
        self._close_filter()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In the filter field `/` is a character."""
        if action == "run" and parameters == ("filter",):
            return self.focused is None or self.focused.id != "filter"
        return True

    def moved(self, by: int) -> None:
        """A line of a long detail, where that has the focus."""
        if self._detail.has_focus:
            self._detail.scroll_lines(by)
        else:
            super().moved(by)

    @property
    def walked(self) -> ProfileList:
        """The profiles."""
        return self._list

    def do_pane_next(self) -> None:
        """Tab: the list, or the detail where it is a pane."""
        if self._detail.has_focus or self._frame.detail is not DetailPlace.RIGHT:
            self._list.focus()
        else:
            self._detail.focus()

    def do_pane_list(self) -> None:
        """`1`."""
        self._list.focus()

    def do_pane_detail(self) -> None:
        """`2`: the pane, or the screen that stands for it."""
        if self._frame.detail is DetailPlace.RIGHT:
            self._detail.focus()
        else:
            self.do_open()

    def do_filter(self) -> None:
        """`/`. At once, not at the next idle moment: what is typed right after it must not be taken for actions."""
        self.add_class("-filtering")
        self.query_one("#filter-row").display = True
        self.set_focus(self.query_one("#filter", PlainField))

    def do_back(self) -> None:
        """Esc: out of the filter field, out of the pane, out of a refresh of all, out of the filter; in that order."""
        field = self.query_one("#filter", PlainField)
        if self.focused is field:
            field.value = ""
            self._close_filter()
        elif self._detail.has_focus:
            self._list.focus()
        elif self.acts.stop_rest():
            self.front.say("What has begun is finished; the rest is left out.")
        elif self._query:
            field.value = ""

    def do_open(self) -> None:
        """Enter."""
        if self.focused is self.query_one("#filter", PlainField) or self.chosen is None:
            return
        self.app.push_screen(DetailScreen(self.desk, self.acts, self.front, self.chosen))

    def do_timeline(self) -> None:
        """`t`."""
        self.app.push_screen(TimelineScreen(self.desk, self.acts, self.front))

    def window_moved(self) -> None:
        """A key of the strip, where there is one."""
        if self._frame.strip:
            self.draw_chart()
        else:
            self.front.say("t opens the timeline, where this key works.")

    @property
    def _list(self) -> ProfileList:
        return self.query_one("#list", ProfileList)

    @property
    def _detail(self) -> DetailPane:
        return self.query_one("#detail", DetailPane)

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.query_one("#filter-row").display = False
        self.set_focus(self._list)
