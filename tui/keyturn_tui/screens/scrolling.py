"""Scrolling of text that is longer than the screen."""

from __future__ import annotations

from textual.binding import Binding, BindingType

#: More lines than any text has.
_FAR = 1_000_000


def scroll_bindings(action: str, page: int = 8, *, forward: str = "pagedown,ctrl+d") -> list[BindingType]:
    """Return bindings of the scroll keys to `action(BY)`; BY is in lines, negative is up.

    :param page: lines of a page.
    :param forward: keys that scroll down by a page.
    """
    by_keys = {"j,down": 1, "k,up": -1, forward: page, "pageup,ctrl+u": -page, "g,home": -_FAR, "G,end": _FAR}
    return [Binding(keys, f"{action}({by})", show=False) for keys, by in by_keys.items()]


def scroll_position(top: int, by: int, lines: int, room: int, *, keep_visible: int | None = None) -> int:
    """Return the first line to show after scrolling by `by`, clamped to both ends.

    :param keep_visible: a line that must stay visible.
    """
    top = min(max(0, top + by), max(0, lines - room))
    if keep_visible is not None:
        top = min(max(top, keep_visible - room + 1), keep_visible)
    return top
