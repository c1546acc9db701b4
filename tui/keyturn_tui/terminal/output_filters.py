"""The last thing that every line passes: nothing for the terminal to obey, and ASCII only where it shows no more."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from keyturn.model.text import ASCII, Glyphs, is_safe

_ASCII_EQUIVALENTS = {
    **dict.fromkeys("─━═▔▁▄▀", "-"),
    **dict.fromkeys("│┃║▎▌▊▐", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
    "…": "~",
    "•": "*",
    "▸": ">",
    "↑": "^",
    "↓": "v",
    "←": "<",
    "→": ">",
    "█": "#",
    "░": ".",
}


def expand_ellipsis(text: str, glyphs: Glyphs) -> str:
    """`text` with `...` for `…` where there is only ASCII and room for three cells; :func:`ascii_only` must keep to one."""
    return text.replace("…", "...") if glyphs is ASCII else text


def ascii_only(text: str) -> str:
    """`text` in as many cells, with a stand-in for every character that is not ASCII."""
    if text.isascii():
        return text
    return "".join(ch if ch.isascii() else _ASCII_EQUIVALENTS.get(ch, "?" * cell_len(ch)) for ch in text)


class ControlFilter(LineFilter):
    """For what Textual's own widgets show raw: text that was pasted into a field, or came by `--filter`.

    Our own lines are harmless before, with the foreign characters written out; here no cell may move.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments; what could harm shows as `?`, or not at all where it takes no cell."""
        del background
        return [
            segment
            if segment.control or (segment.text.isascii() and segment.text.isprintable())
            else Segment(neutralize(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@lru_cache(4096)
def neutralize(text: str) -> str:
    """`text` in as many cells, with nothing that a terminal could obey."""
    if is_safe(text):
        return text
    result = "".join(ch if is_safe(f"-{ch}") else "?" * cell_len(ch) for ch in text)
    if not is_safe(result):  # marks that pile up, or begin it
        result = "".join(ch for ch in result if cell_len(ch))
    return result + " " * (cell_len(text) - cell_len(result))


class AsciiFilter(LineFilter):
    """Textual applies it to every line of every widget, its own borders and toasts included."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments in ASCII."""
        del background
        return [
            segment
            if segment.text.isascii()
            else Segment(ascii_only(segment.text), segment.style, segment.control)
            for segment in segments
        ]
