"""Review of the changes that adopt or release will write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from keyturn.model.labels import undo_command
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
    if plan.remaining:
        names_text = ", ".join(safe(name, 60) for name in plan.remaining)
        lines += [*paragraph(f"Stay managed, with sessions from here: {names_text}", width, "soon"), ()]
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


@dataclass(frozen=True, slots=True)
class Choice:
    """A key that switches the review to another plan for the same profiles and back."""

    key: str
    label: Callable[[Plan], str]
    """Returns what the key would do."""
    replan: Callable[[Plan], Plan]
    """Returns the other plan. Called in a worker."""


def session_none_choice(plan_adopt: Callable[..., Plan]) -> Choice:
    """Return the choice between delivering a session and the key itself.

    :param plan_adopt: plans for a value of `session_none`.
    """
    return Choice(
        "s",
        lambda plan: f"Deliver {'a session' if plan.session_none else 'the key itself'} instead",
        lambda plan: plan_adopt(session_none=not plan.session_none),
    )


def dependents_choice(plan_release: Callable[..., Plan]) -> Choice:
    """Return the choice between a profile alone and all that depend on it.

    :param plan_release: plans for a value of `with_dependents`.
    """

    def label(plan: Plan) -> str:
        return "Release it alone" if plan.dependants else f"Release {len(plan.remaining)} dependents too"

    return Choice("d", label, lambda plan: plan_release(with_dependents=not plan.dependants))


class ReviewScreen(FramedScreen[Plan | Exception]):
    """Enter closes with the plan shown, which is then written; Esc writes nothing. The key of `choice`
    switches to another plan and back.

    :param choice: None if there is none.
    :param note: reason that the review is shown again.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "write", show=False),
        Binding("s", "choose('s')", show=False),
        Binding("d", "choose('d')", show=False),
        *scroll_bindings("scroll", 10, forward="pagedown,ctrl+d,space"),
    ]
    DEFAULT_CSS = """
    ReviewScreen { background: $background; }
    ReviewScreen > #box { width: 100%; height: 100%; }
    ReviewScreen #text { height: 1fr; }
    ReviewScreen #status, ReviewScreen #keys { height: 1; }
    """

    def __init__(self, state: AppState, plan: Plan, *, choice: Choice | None = None, note: str = "") -> None:
        super().__init__(state)
        self._plan = plan
        self._choice = choice
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

    def action_choose(self, key: str) -> None:
        """Switch to the other plan."""
        if self._choice is not None and self._choice.key == key and not self._is_replanning:
            self._is_replanning = True
            self._replan(self._choice)

    def action_scroll(self, by: int) -> None:
        room = self.query_one("#text", StyledLines).size.height
        self._top = scroll_position(self._top, by, len(self._lines), room)
        self._paint()

    @work
    async def _replan(self, choice: Choice) -> None:
        try:
            self._plan = await self.state.workers.run(partial(choice.replan, self._plan))
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
        if self._choice is not None:
            keys.insert(1, (self._choice.key, self._choice.label(self._plan)))
        self.query_one("#keys", StyledLines).show([key_line(*keys)])

    def _undo_hint(self) -> str:
        if self._plan.action == "adopt":
            return f"To undo it later, press m or run: {undo_command(self._plan)}"
        return "The file gets back what adopt removed from it."
