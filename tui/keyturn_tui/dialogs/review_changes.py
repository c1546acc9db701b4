"""Review of the changes that adopt or release will write."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Protocol

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from keyturn.model.profile import Plan
from keyturn.model.text import safe
from keyturn_tui.dialogs.base import FramedScreen, error_text, key_line
from keyturn_tui.rendering.layout import TOO_SMALL
from keyturn_tui.rendering.profile_cells import Line, join_names, marked_paragraph, paragraph
from keyturn_tui.state import AppState
from keyturn_tui.widgets.cursor import scroll_bindings, scroll_position
from keyturn_tui.widgets.styled_lines import StyledLines

_SIGN_ROLES = {"+": "added", "-": "removed", "@": "heading", " ": "muted"}


def review_lines(plan: Plan, width: int, mark: str) -> list[Line]:
    """Return a plan as lines: included profiles, warnings, the diff, and the secrets that move."""
    lines: list[Line] = []
    if plan.dependants:
        names_text = ", ".join(safe(name, 60) for name in plan.dependants)
        lines += [*paragraph(f"Also included (linked by source_profile): {names_text}", width, "soon"), ()]
    for warning in plan.warnings:
        lines += marked_paragraph(mark, warning, width, "due")
    if plan.warnings:
        lines.append(())
    for diff in plan.diff:
        role = _SIGN_ROLES.get(diff.sign, "text")
        if diff.sign == "@":
            lines += paragraph(diff.text, width, role)
        else:
            lines += marked_paragraph(f"  {diff.sign}", diff.text, width, role)
    if plan.secrets:
        heading = (
            "Moved into the vault"
            if plan.action == "adopt"
            else "Moved out of the vault, into the file as plaintext"
        )
        lines += [(), ((heading, "heading"),)]
        for secret in plan.secrets:
            lines += marked_paragraph("  +" if plan.action == "adopt" else "  -", secret, width, "text")
    return lines


class Replan(Protocol):
    """Plans the same adoption with another value of `session_none`."""

    def __call__(self, *, session_none: bool) -> Plan: ...


class ReviewScreen(FramedScreen[Plan | Exception]):
    """Enter closes with the plan shown, which is then written; Esc writes nothing. `s` switches between
    delivering a session and the key itself.

    :param replan: plans again for a value of `session_none`; None if there is no such choice.
    :param note: reason that the review is shown again.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "write", show=False),
        Binding("s", "deliver_other", show=False),
        *scroll_bindings("scroll", 10, forward="pagedown,ctrl+d,space"),
    ]
    DEFAULT_CSS = """
    ReviewScreen { background: $background; }
    ReviewScreen > #box { width: 100%; height: 100%; }
    ReviewScreen #text { height: 1fr; }
    ReviewScreen #status, ReviewScreen #keys { height: 1; }
    """

    def __init__(self, state: AppState, plan: Plan, *, replan: Replan | None = None, note: str = "") -> None:
        super().__init__(state)
        self._plan = plan
        self._replan = replan
        self._note = note
        self._top = 0
        self._is_replanning = False
        self._lines: list[Line] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="box", classes="framed") as box:
            names = join_names(self._plan.names, 2)
            box.border_title = Content(f"{self._plan.action.capitalize()} {names}: review")
            yield StyledLines(id="text")
            yield StyledLines(id="status")
            yield StyledLines(id="keys")

    def action_write(self) -> None:
        """Confirm the plan."""
        if not self._is_replanning and not self.is_too_small:
            self.dismiss(self._plan)

    def action_deliver_other(self) -> None:
        """Switch between delivering a session and the key itself."""
        if self._replan is not None and not self._is_replanning:
            self._is_replanning = True
            self._replan_delivery(self._replan)

    def action_scroll(self, by: int) -> None:
        room = self.query_one("#text", StyledLines).size.height
        self._top = scroll_position(self._top, by, len(self._lines), room)
        self._paint()

    @work
    async def _replan_delivery(self, replan: Replan) -> None:
        try:
            self._plan = await self.state.workers.run(
                partial(replan, session_none=not self._plan.session_none)
            )
            self._note = ""
        except Exception as error:  # noqa: BLE001  # boundary of the dialog's operation
            self._note = error_text(error)
        finally:
            self._is_replanning = False
        self.draw()

    def draw(self) -> None:
        width = max(20, self.app.size.width - 4)
        self._lines = []
        if self._note:
            self._lines += [*paragraph(self._note, width, "soon"), ()]
        self._lines += review_lines(self._plan, width, self.state.terminal.glyphs.due)
        self.action_scroll(0)

    def _paint(self) -> None:
        text = self.query_one("#text", StyledLines)
        room = text.size.height
        text.show(self._lines[self._top : self._top + room])
        lines_below = len(self._lines) - self._top - room
        if self.is_too_small:
            text.show([((TOO_SMALL, "soon"),)])
        hint = f"{lines_below} more lines below (j)" if lines_below > 0 else self._undo_hint()
        self.query_one("#status", StyledLines).show([((hint, "soon" if lines_below > 0 else "muted"),)])
        keys = [("Enter", "Write"), ("Esc", "Cancel, write nothing")]
        if self._replan is not None:
            current = "a session" if self._plan.session_none else "the key itself"
            keys.insert(1, ("s", f"Deliver {current} instead"))
        self.query_one("#keys", StyledLines).show([key_line(*keys)])

    def _undo_hint(self) -> str:
        if self._plan.action == "adopt":
            return "To undo it later, press m or run keyturn release."
        return "The file gets back what adopt removed from it."
