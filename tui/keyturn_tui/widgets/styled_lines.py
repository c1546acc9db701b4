"""Lines of styled text. They repaint only what changed and never interpret markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import zip_longest

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from keyturn.model.text import safe
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.theme import role_class


def set_border_text(widget: Widget, title: str, subtitle: str = "", /) -> None:
    """Set title and subtitle of a border if they differ from those shown, because each change repaints the
    whole widget. They are not read as markup."""
    shown = widget.border_title or "", widget.border_subtitle or ""
    if shown != (Content(title).markup, Content(subtitle).markup):
        widget.border_title = Content(title)
        widget.border_subtitle = Content(subtitle)


class RoleStyles(Widget):
    """A widget that draws in roles.

    The styles of the roles belong to the app, because Textual recomputes a widget's own component styles
    whenever its screen comes to the front, which is slow with twenty roles and twenty widgets.
    """

    def style_of(self, role: str) -> Style:
        """Return the style of a role in the current theme, on this widget's background."""
        styles = self._role_styles
        if role not in styles:
            styles[role] = (
                self.rich_style + self.app.get_component_styles(role_class(role)).partial_rich_style
            )
        return styles[role]

    def notify_style_update(self) -> None:
        self._role_styles.clear()
        super().notify_style_update()

    @cached_property
    def _role_styles(self) -> dict[str, Style]:
        return {}


def line_strip(line: Line, width: int, style_of: Callable[[str], Style], base: Style) -> Strip:
    """Return a line as a strip, padded or cut to `width`. Neighbours of one role are merged and the last one
    takes the padding, because each segment costs about forty bytes."""
    merged: list[list[str]] = []
    for text, role in line:
        if merged and merged[-1][1] == role:
            merged[-1][0] += text
        else:
            merged.append([text, role])
    segments = [Segment(safe(text), style_of(role)) for text, role in merged if text]
    strip = Strip(segments)
    if segments and strip.cell_length < width:
        text, style, _ = segments[-1]
        if style is not None and not style.underline and not style.reverse and style.bgcolor == base.bgcolor:
            segments[-1] = Segment(text + " " * (width - strip.cell_length), style)
            strip = Strip(segments)
    return strip.adjust_cell_length(width, base)


class StyledLines(RoleStyles):
    """Lines of text in roles. Text is never read as markup, and control characters are escaped."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "StyledLines { height: 1; }"

    def __init__(
        self,
        lines: Sequence[Line] = (),
        *,
        id: str | None = None,  # noqa: A002  # Textual's name
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: tuple[Line, ...] = tuple(lines)

    @property
    def lines(self) -> tuple[Line, ...]:
        return self._lines

    @property
    def plain(self) -> str:
        """The text without roles."""
        return "\n".join(safe("".join(text for text, _ in line)) for line in self._lines)

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the lines; only cells that differ are repainted."""
        old, self._lines = self._lines, tuple(lines)
        if len(old) != len(self._lines) and self.styles.height is not None and self.styles.height.is_auto:
            self.refresh(layout=True)
            return
        regions = [
            Region(0, y, changed_width(before, after), 1)
            for y, (before, after) in enumerate(zip_longest(old, self._lines, fillvalue=()))
            if before != after
        ]
        if regions:
            self.refresh(*regions)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        del viewport
        widest = max((sum(cell_len(safe(text)) for text, _ in line) for line in self._lines), default=0)
        return min(widest, container.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        del container, viewport, width
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        if y >= len(self._lines):
            return Strip.blank(self.size.width, base)
        return line_strip(self._lines[y], self.size.width, self.style_of, base)


def changed_width(before: Line, after: Line) -> int:
    """Return the number of cells from the left up to the last that differs. A repaint always starts at the
    left edge."""
    pairs = enumerate(zip_longest(_cells(before), _cells(after), fillvalue=(" ", "")), 1)
    return max((width for width, (old, new) in pairs if old != new), default=0)


def _cells(line: Line) -> list[tuple[str, str]]:
    cells: list[tuple[str, str]] = []
    for text, role in line:
        for ch in safe(text):
            cells.append((ch, role))
            if cell_len(ch) == 2:
                cells.append(("", role))
    return cells
