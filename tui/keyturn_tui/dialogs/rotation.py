"""Dialog of a key rotation: steps done, the current wait, and the state of the keys if it stops now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from keyturn_tui.controllers.rotation import RotationController
from keyturn_tui.dialogs.base import Dialog, key_line
from keyturn_tui.dialogs.confirm import ConfirmScreen
from keyturn_tui.rendering.profile_cells import Line, paragraph
from keyturn_tui.rendering.rotation_steps import Phase, available_keys, dialog_lines, dialog_title
from keyturn_tui.state import AppState
from keyturn_tui.terminal.output_filters import expand_ellipsis
from keyturn_tui.widgets.styled_lines import set_border_text


class RotationScreen(Dialog[None]):
    """Shows a `RotationController` and passes keys to it. Nothing happens before Enter. Esc stops after the
    running step; a second Esc closes the dialog and lets that step finish in the background."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "press('Enter')", show=False),
        Binding("u", "press('u')", show=False),
        Binding("D", "press('D')", show=False),
    ]
    WIDTH = 78

    def __init__(self, state: AppState, rotation: RotationController) -> None:
        super().__init__(state, "Rotate access key")
        self._rotation = rotation

    def on_mount(self) -> None:
        """Redraw every second while waiting for AWS."""
        self._rotation.attach(self._show)
        self.set_interval(1.0, self._tick)

    def draw(self) -> None:
        """Draw, with the progress in the title."""
        text, role = self._rotation.status
        self._status = paragraph(text, self.text_width, role) if text else [()]
        super().draw()
        title = dialog_title(self._rotation.view, self.text_width, self.state.terminal.glyphs)
        set_border_text(self.query_one("#box"), title)

    def body(self) -> Sequence[Line]:
        glyphs = self.state.terminal.glyphs
        return dialog_lines(self._rotation.view, self.state.now(), self.text_width, self.body_height, glyphs)

    def keys(self) -> Sequence[Line]:
        glyphs = self.state.terminal.glyphs
        return (
            key_line(
                *((key, expand_ellipsis(label, glyphs)) for key, label in available_keys(self._rotation.view))
            ),
        )

    def action_press(self, key: str) -> None:
        """Run the command of a key, if the dialog shows that key."""
        if key not in dict(available_keys(self._rotation.view)):
            return
        if key == "Enter" and self._rotation.view.is_over:
            self.action_cancel()
        elif key == "Enter":
            self._rotation.advance()
        elif key == "u":
            self._rotation.undo()
        else:
            self._rotation.delete()

    def action_cancel(self) -> None:
        """Stop the rotation; close the dialog if there is nothing to stop."""
        if not self._rotation.stop():
            self._rotation.detach()
            self.dismiss(None)

    def _show(self) -> None:
        if self.is_attached:
            self.draw()

    def _tick(self) -> None:
        if self._rotation.view.phase is Phase.WAITING:
            self._show()


def quit_dialog(state: AppState) -> ConfirmScreen:
    """Return the question that `q` asks while a rotation step is running."""
    names = ", ".join(sorted(state.rotating))
    promise = "In any case a working key is kept, and R resumes the rotation next time."
    question = [
        f"A rotation step of {names} is running.",
        "",
        f"keyturn waits for it, at most 10 seconds. {promise}",
    ]
    return ConfirmScreen(state, "Quit during a rotation step?", question, "quit", keep_label="Stay")
