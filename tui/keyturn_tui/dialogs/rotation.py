"""A key replaced step by step: what was done, what AWS is waited for, and what stands if one stops here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from keyturn_tui.controllers.rotation import RotationController
from keyturn_tui.dialogs.base import Dialog, key_line, paragraph
from keyturn_tui.dialogs.confirm import ConfirmScreen
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.rendering.rotation_steps import Phase, available_keys, dialog_lines, dialog_title
from keyturn_tui.state import AppState
from keyturn_tui.terminal.output_filters import expand_ellipsis


class RotationScreen(Dialog[None]):
    """Shows a `Turning` and hands it the keys. Nothing happens before Enter; Esc stops after the step in flight, and a
    second one leaves that step to end by itself."""

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
        """A wait counts down."""
        super().on_mount()
        self._rotation.attach(self._show)
        self.set_interval(1.0, self._tick)

    def draw(self) -> None:
        """The title tells how far it is."""
        text, role = self._rotation.status
        self._status = paragraph(text, self.text_width, role) if text else [()]
        super().draw()
        title = dialog_title(self._rotation.view, self.text_width, self.state.terminal.glyphs)
        box = self.query_one("#box")
        if str(box.border_title) != title:
            box.border_title = Content(title)

    def body(self) -> Sequence[Line]:
        """As much as there is room for."""
        glyphs = self.state.terminal.glyphs
        return dialog_lines(self._rotation.view, self.state.now(), self.text_width, self.body_height, glyphs)

    def keys(self) -> Sequence[Line]:
        """Those that make sense now."""
        glyphs = self.state.terminal.glyphs
        return (
            key_line(
                *((key, expand_ellipsis(label, glyphs)) for key, label in available_keys(self._rotation.view))
            ),
        )

    def action_press(self, key: str) -> None:
        """A key does what stands beside it, or nothing."""
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
        """Esc."""
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
    """The question before leaving while a rotation's step is in flight."""
    names = ", ".join(sorted(state.rotating))
    question = [
        f"A step of the rotation of {names} is under way.",
        "",
        "Leaving waits for it, for ten seconds at most. However it ends, a key that works is kept, and R goes on with the rotation next time.",
    ]
    return ConfirmScreen(state, "Leave in the middle of a step?", question, "leave", keep_label="Stay")
