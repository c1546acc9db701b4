"""Moving up and down in what is longer than the screen: one set of keys, one rule for the ends."""

from __future__ import annotations

from textual.binding import Binding, BindingType

#: As far as to either end of anything.
_FAR = 1_000_000


def scroll_bindings(action: str, page: int = 8, *, forward: str = "pagedown,ctrl+d") -> list[BindingType]:
    """Bindings of the list's own keys to `action(BY)`, BY in lines and negative for up.

    :param page: how far the page keys go.
    :param forward: the keys that go a page forward.
    """
    by_keys = {
        "j,down": 1,
        "k,up": -1,
        forward: page,
        "pageup,ctrl+u": -page,
        "g,home": -_FAR,
        "G,end": _FAR,
    }
    return [Binding(keys, f"{action}({by})", show=False) for keys, by in by_keys.items()]


def scroll_position(top: int, by: int, lines: int, room: int, *, keep_visible: int | None = None) -> int:
    """The first line to show after scrolling by `by`, stopping at the ends.

    :param seen: a line that must be among those shown.
    """
    top = min(max(0, top + by), max(0, lines - room))
    if keep_visible is not None:
        top = min(max(top, keep_visible - room + 1), keep_visible)
    return top
