"""Base of the screens that run actions of the registry."""

from __future__ import annotations

from collections.abc import Callable

from textual.screen import Screen

from keyturn.model.text import safe
from keyturn_tui.actions import BY_ID, Action, label_of, why_unavailable
from keyturn_tui.command_palette import Palette
from keyturn_tui.controllers.profiles import ProfileController
from keyturn_tui.controllers.rotation import RotationController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.dialogs.rotation import RotationScreen, quit_dialog
from keyturn_tui.messages import ActionPressed
from keyturn_tui.rendering.profile_rows import Entry, Row
from keyturn_tui.screens.help import HelpScreen
from keyturn_tui.state import AppState
from keyturn_tui.theme import THEME_NAMES
from keyturn_tui.widgets.cursor import Key
from keyturn_tui.widgets.status_line import StatusLine


class ActionScreen(Screen[None]):
    """Dispatches `run('ID')` to the method `do_ID`, and implements the actions that several screens offer."""

    def __init__(self, state: AppState, controller: ProfileController, ui: Ui) -> None:
        super().__init__(classes="-ascii" if state.terminal.ascii else None)
        self.state = state
        self.controller = controller
        self.ui = ui
        self._saved_row: Key | None = None
        """The selected row when a help screen or palette was opened."""

    @property
    def selected_row(self) -> Row | None:
        """The row that actions apply to."""
        return None

    def lost_row(self) -> Key | None:
        """Return the row that a key pressed now was meant for, if a reload has just removed it."""
        return None

    def redraw(self) -> None:
        """Redraw after the state changed."""

    def tick(self) -> None:
        """Update countdowns and clock, once a second; only changed cells are sent."""
        self.redraw()

    def on_resize(self) -> None:
        """Redraw for the new size, after :meth:`on_resize` of the screen itself."""
        self.call_after_refresh(self.redraw)

    def on_screen_resume(self) -> None:
        """Update at once when the dialog above is closed, because time has passed."""
        if self.is_mounted:
            self.tick()

    def show_message(self, text: str, role: str) -> None:
        """Show a text on the status line."""
        self.query_one("#message", StatusLine).show_message(text, role, self.state.now())

    def command(self, action_id: str) -> Callable[[], None] | None:
        """Return the method `do_ID` of an action; None if this screen has none."""
        method: Callable[[], None] | None = getattr(self, "do_" + action_id.replace(".", "_"), None)
        return method

    def action_run(self, action_id: str) -> None:
        """Run an action, or show the reason that it is unavailable."""
        action = BY_ID[action_id]
        lost_row = self.lost_row() if action.row and action.id != "open" else None
        if lost_row is not None:
            self._show_row_lost(action, lost_row)
            return
        reason = why_unavailable(action, self.selected_row, self.state.view())
        command = self.command(action_id)
        if reason is None and command is not None:
            command()
            return
        row = self.selected_row
        label = label_of(action, row).rstrip("…")
        if action.row and isinstance(row, Entry):
            label = f"{label} {safe(row.profile.name, 60)}"
        self.ui.show_message(f"{label}: {reason or 'not available on this screen; Esc goes back'}.", "soon")

    @property
    def _selected_key(self) -> Key | None:
        return self.selected_row.key if self.selected_row is not None else None

    def run_on_saved_row(self, action_id: str) -> None:
        """Run an action that was chosen in a help screen or palette, if the cursor is still on the saved
        row."""
        action = BY_ID[action_id]
        if action.row and self._saved_row is not None and self._selected_key != self._saved_row:
            self._show_row_lost(action, self._saved_row)
        else:
            self.action_run(action_id)

    def _show_row_lost(self, action: Action, lost_row: Key) -> None:
        label = label_of(action, None).rstrip("…")
        self.ui.show_message(
            f"{label}: {safe(lost_row[-1], 60)} is no longer listed, so nothing was done. The cursor moved.",
            "soon",
        )

    def on_action_pressed(self, message: ActionPressed) -> None:
        """Run an action that was clicked in the footer."""
        message.stop()
        self.action_run(message.action_id)

    def do_session_refresh(self) -> None:
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.refresh(self.selected_row.profile.name))

    def do_session_refresh_due(self) -> None:
        self.ui.start(self.controller.refresh_due())

    def do_login(self) -> None:
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.sign_in(self.selected_row.profile))

    def do_manage(self) -> None:
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.manage(self.selected_row.profile))

    def do_key_rotate(self) -> None:
        if isinstance(self.selected_row, Entry):
            rotation = RotationController(self.state, self.controller, self.ui, self.selected_row.profile)
            self.app.push_screen(RotationScreen(self.state, rotation))

    def do_session_stop(self) -> None:
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.stop(self.selected_row.profile))

    def do_lock(self) -> None:
        self.ui.start(self.controller.lock())

    def do_renewal_pause(self) -> None:
        self.ui.start(self.controller.pause())

    def do_help(self) -> None:
        def run(action_id: str | None) -> None:
            if action_id is not None:
                self.run_on_saved_row(action_id)

        self._saved_row = self._selected_key
        self.app.push_screen(HelpScreen(self.state, self.selected_row), run)

    def do_palette(self) -> None:
        if not Palette.is_open(self.app):
            self._saved_row = self._selected_key
            self.app.push_screen(Palette(id="palette", placeholder="Find an action or a profile"))

    def do_theme(self) -> None:
        """Switch to the next theme."""
        if self.state.terminal.no_color:
            self.ui.show_message("Themes are off because NO_COLOR is set.", "soon")
            return
        nth = THEME_NAMES.index(self.app.theme) + 1
        self.app.theme = THEME_NAMES[nth % len(THEME_NAMES)]
        self.ui.show_message(f"Theme: {self.app.theme}")

    def do_redraw(self) -> None:
        """Repaint the whole terminal, because another program may have written over it."""
        self.refresh(layout=True)
        self.redraw()

    def do_quit(self) -> None:
        """Quit; asks for confirmation while a rotation step is running."""
        if not self.state.rotating:
            self.app.exit()
            return

        def leave(confirmed: bool | None) -> None:  # noqa: FBT001  # the dialog's result
            if confirmed:
                self.app.exit()

        self.app.push_screen(quit_dialog(self.state), leave)
