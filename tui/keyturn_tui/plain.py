"""For terminals that show ASCII only: the last thing that every line passes."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_KNOWN = {
    **dict.fromkeys("─━═▔▁▄▀", "-"),
    **dict.fromkeys("│┃║▎▌▊▐", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼", "+"),
    "…": ".",
    "•": "*",
    "▸": ">",
    "↑": "^",
    "↓": "v",
    "█": "#",
    "░": ".",
}


def ascii_only(text: str) -> str:
    """`text` in as many cells, with a stand-in for every character that is not ASCII."""
    if text.isascii():
        return text
    return "".join(ch if ch.isascii() else _KNOWN.get(ch, "?" * cell_len(ch)) for ch in text)


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
