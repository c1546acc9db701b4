"""Filters that every line passes before it reaches the terminal: no control characters, and ASCII only if
needed."""

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
    """Replace `…` with `...` on an ASCII terminal. :func:`ascii_only` cannot, because it must keep the
    width."""
    return text.replace("…", "...") if glyphs is ASCII else text


def ascii_only(text: str) -> str:
    """Replace every character that is not ASCII with a stand-in of the same width."""
    if text.isascii():
        return text
    return "".join(ch if ch.isascii() else _ASCII_EQUIVALENTS.get(ch, "?" * cell_len(ch)) for ch in text)


class ControlFilter(LineFilter):
    """Cleans text that Textual's own widgets show raw: pasted text, or the value of `--filter`.

    keyturn's own lines are already safe, with foreign characters escaped; here the width must not change.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Replace unsafe characters with `?`; drop those of zero width."""
        del background
        return [
            segment
            if segment.control or (segment.text.isascii() and segment.text.isprintable())
            else Segment(neutralize(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@lru_cache(4096)
def neutralize(text: str) -> str:
    """Return `text` in the same number of cells without anything that controls the terminal."""
    if is_safe(text):
        return text
    result = "".join(ch if is_safe(f"-{ch}") else "?" * cell_len(ch) for ch in text)
    if not is_safe(result):  # combining characters that accumulate, or that start the text
        result = "".join(ch for ch in result if cell_len(ch))
    return result + " " * (cell_len(text) - cell_len(result))


class AsciiFilter(LineFilter):
    """Replaces characters that are not ASCII in all widgets, including Textual's borders and toasts."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        del background
        return [
            segment
            if segment.text.isascii()
            else Segment(ascii_only(segment.text), segment.style, segment.control)
            for segment in segments
        ]
