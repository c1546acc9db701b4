"""A screen on which the registry's actions run."""

from __future__ import annotations

from textual.screen import Screen

from keyturn.model.text import safe
from keyturn_tui.actions import BY_ID, Action, label_of, method_of, why_unavailable
from keyturn_tui.controllers.profiles import ProfileController
from keyturn_tui.controllers.rotation import RotationController
from keyturn_tui.controllers.ui import Ui
from keyturn_tui.dialogs.rotation import RotationScreen, quit_dialog
from keyturn_tui.messages import ActionPressed
from keyturn_tui.rendering.profile_rows import Entry, Row
from keyturn_tui.screens.help import HelpScreen
from keyturn_tui.state import AppState
from keyturn_tui.widgets.cursor_guard import Key


class ActionScreen(Screen[None]):
    """Dispatches `run('ID')` to `do_ID`, and holds the acts on a profile that more than one screen offers."""

    def __init__(self, state: AppState, controller: ProfileController, ui: Ui) -> None:
        super().__init__()
        self.state = state
        self.controller = controller
        self.ui = ui
        self._saved_row: Key | None = None

    @property
    def selected_row(self) -> Row | None:
        """The row that acts are about."""
        return None

    def lost_row(self) -> Key | None:
        """The row that a key pressed now was meant for, where that is not there any more."""
        return None

    def redraw(self) -> None:
        """Something on the desk changed."""

    def tick(self) -> None:
        """A second has passed."""

    def on_screen_resume(self) -> None:
        """What lay over this one is gone: the clock has gone on meanwhile."""
        if self.is_mounted:
            self.tick()

    def show_message(self, text: str, role: str) -> None:
        """Show a sentence, if this screen has a message line."""

    def action_run(self, action_id: str) -> None:
        """Run an action of the registry, or say why it is not on offer."""
        action = BY_ID[action_id]
        lost_row = self.lost_row() if action.row and action.id != "open" else None
        if lost_row is not None:
            self._show_row_lost(action, lost_row)
            return
        reason = why_unavailable(action, self.selected_row, self.state.view())
        if reason is not None:
            self.ui.show_message(f"{label_of(action, self.selected_row).rstrip('…')}: {reason}.", "soon")
            return
        method = getattr(self, method_of(action_id), None)
        if method is None:
            self.ui.show_message(
                f"{label_of(action, self.selected_row).rstrip('…')}: not on this screen; Esc goes back.",
                "soon",
            )
            return
        method()

    def save_row(self) -> None:
        """What is opened now acts on the row that the cursor stands on now."""
        self._saved_row = self.selected_row.key if self.selected_row is not None else None

    def run_on_saved_row(self, action_id: str) -> None:
        """Run an action that was chosen in what :meth:`hold` was called for."""
        current = self.selected_row.key if self.selected_row is not None else None
        action = BY_ID[action_id]
        if action.row and self._saved_row is not None and current != self._saved_row:
            self._show_row_lost(action, self._saved_row)
            return
        self.action_run(action_id)

    def _show_row_lost(self, action: Action, lost_row: Key) -> None:
        label = label_of(action, None).rstrip("…")
        self.ui.show_message(
            f"{label}: {safe(lost_row[-1], 60)} is gone from here, and nothing was done. The cursor has moved on.",
            "soon",
        )

    def on_action_pressed(self, message: ActionPressed) -> None:
        """Clicked in the footer."""
        message.stop()
        self.action_run(message.action_id)

    def do_session_refresh(self) -> None:
        """`r`."""
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.refresh(self.selected_row.profile.name))

    def do_session_refresh_due(self) -> None:
        """`a`."""
        self.ui.start(self.controller.refresh_due())

    def do_login(self) -> None:
        """`i`."""
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.sign_in(self.selected_row.profile))

    def do_manage(self) -> None:
        """`m`."""
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.manage(self.selected_row.profile))

    def do_key_rotate(self) -> None:
        """`R`."""
        if isinstance(self.selected_row, Entry):
            rotation = RotationController(self.state, self.controller, self.ui, self.selected_row.profile)
            self.app.push_screen(RotationScreen(self.state, rotation))

    def do_session_stop(self) -> None:
        """`x`."""
        if isinstance(self.selected_row, Entry):
            self.ui.start(self.controller.stop(self.selected_row.profile))

    def do_lock(self) -> None:
        """`L`."""
        self.ui.start(self.controller.lock())

    def do_renewal_pause(self) -> None:
        """`p`."""
        self.ui.start(self.controller.pause())

    def do_help(self) -> None:
        """`?`."""

        def run(action_id: str | None) -> None:
            if action_id is not None:
                self.run_on_saved_row(action_id)

        self.save_row()
        self.app.push_screen(HelpScreen(self.state, self.selected_row), run)

    def do_palette(self) -> None:
        """`:` and ctrl+p."""
        self.save_row()
        self.ui.open_palette()

    def do_theme(self) -> None:
        """`T`."""
        self.ui.next_theme()

    def do_redraw(self) -> None:
        """ctrl+l: whatever another program wrote over the screen goes."""
        self.refresh(layout=True)
        self.redraw()

    def do_quit(self) -> None:
        """`q`: asks only while a step of a rotation is in flight."""
        if not self.state.rotating:
            self.app.exit()
            return

        def leave(confirmed: bool | None) -> None:  # noqa: FBT001  # the dialog's result
            if confirmed:
                self.app.exit()

        self.app.push_screen(quit_dialog(self.state), leave)
